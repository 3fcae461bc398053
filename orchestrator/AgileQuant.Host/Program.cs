Console.Error.WriteLine("not assembled yet");
return 1;

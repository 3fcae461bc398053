using AgileQuant.Host.Cli;

return await BenchCommand.RunAsync(args);

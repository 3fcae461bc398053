using AgileQuant.Dashboard.Tests.Fakes;

// `--serve [port]` shows the dashboard over the fakes, for a look at it; anything else runs the tests.
if (args is ["--serve", ..])
{
    await using var host = await DevHost.StartAsync(port: args.Length > 1 ? int.Parse(args[1]) : 0);
    Console.WriteLine(await host.SignInLinkAsync());
    await host.WaitForShutdownAsync();
    return 0;
}

return await Xunit.Runner.InProc.SystemConsole.ConsoleRunner.Run(args);

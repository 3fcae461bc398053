using System.Text.Json;
using AgileQuant.Host.Api;
using AgileQuant.Host.Client;
using AgileQuant.Host.Node;
using Spectre.Console;

namespace AgileQuant.Host.Cli;

/// <summary>Where a command writes. Results go to standard output, everything else to standard error.</summary>
internal sealed class CliIo
{
    private const int WideEnough = 240;
    private static readonly TimeSpan StartingNode = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan AnsweringNode = TimeSpan.FromSeconds(15);

    public CliIo(bool json)
    {
        Json = json;
        Home = BenchHome.Resolve();
        Out = Console(System.Console.Out, System.Console.IsOutputRedirected);
        Error = Console(System.Console.Error, System.Console.IsErrorRedirected);
    }

    public bool Json { get; }

    public BenchHome Home { get; }

    public IAnsiConsole Out { get; }

    public IAnsiConsole Error { get; }

    /// <summary>A person can answer questions here.</summary>
    public bool Interactive => !System.Console.IsInputRedirected && !System.Console.IsErrorRedirected && !Json;

    /// <summary>A live table can be drawn here.</summary>
    public bool Live => !System.Console.IsOutputRedirected && !Json && Out.Profile.Capabilities.Ansi;

    /// <summary>A bar of progress can be drawn on standard error.</summary>
    public bool HasBars => Interactive && Error.Profile.Capabilities.Ansi;

    /// <summary>A line for people; on standard error, so that it never mixes with results.</summary>
    public void Note(string text) => Error.WriteLine(text);

    /// <summary>A line of the result; left out with --json.</summary>
    public void Say(string text)
    {
        if (!Json)
            Out.WriteLine(text);
    }

    /// <summary>The result as JSON, or for people as <paramref name="draw"/> does it.</summary>
    public void Result<T>(T value, Action<T> draw)
    {
        if (Json)
            System.Console.Out.WriteLine(JsonSerializer.Serialize(value, ApiJson.Indented));
        else
            draw(value);
    }

    /// <summary>A client of the local node; starts the node when none runs, and says so.</summary>
    public async Task<BenchClient> ConnectAsync(CancellationToken ct)
    {
        if (await NodeLauncher.TryReachAsync(Home, ct) is null)
            await StartNodeAsync(ct);
        return new BenchClient(Home);
    }

    private async Task StartNodeAsync(CancellationToken ct)
    {
        if (NodeLock.IsHeld(Home))
        {
            var started = NodeHost.ReadInfo(Home) is not null; // a node writes it when it is up and removes it when it starts
            Note(started ? "the node does not answer; waiting for it" : "a node is starting; waiting for it");
            var waited = System.Diagnostics.Stopwatch.StartNew();
            while (waited.Elapsed < (started ? AnsweringNode : StartingNode))
            {
                if (await NodeLauncher.TryReachAsync(Home, ct) is not null)
                    return;
                await Task.Delay(TimeSpan.FromMilliseconds(200), ct);
            }

            throw new BenchException($"a node holds {Home.Lock} but does not answer; look into {Home.NodeLog}, or end it with `bench down`");
        }

        Note("no node runs here: starting the local one (`bench down` stops it)");
        await NodeLauncher.StartAsync(NodeOptions.Defaults(Home, dashboard: true, NodeSettings.DefaultPort), ct);
    }

    private static IAnsiConsole Console(TextWriter writer, bool redirected)
    {
        var console = AnsiConsole.Create(new AnsiConsoleSettings
        {
            Out = new AnsiConsoleOutput(writer),
            Ansi = redirected ? AnsiSupport.No : AnsiSupport.Detect,
            ColorSystem = redirected || Environment.GetEnvironmentVariable("NO_COLOR") is { Length: > 0 }
                ? ColorSystemSupport.NoColors : ColorSystemSupport.Detect,
            Interactive = InteractionSupport.Detect,
        });
        if (redirected)
            console.Profile.Width = WideEnough; // a file has no edge: lines must not be folded
        return console;
    }
}

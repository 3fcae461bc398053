using System.Globalization;
using System.Runtime.CompilerServices;
using System.Text;
using System.Text.Json;
using System.Threading.Channels;
using AgileQuant.Agent.Protocol;

namespace AgileQuant.Agent;

/// <summary>The engine on one board: docs/engine-protocol.md, "Commands". Holds no state of its own; every call can be
/// repeated over another connection.</summary>
public sealed class BoardEngine
{
    private const int ExitLost = 3;
    private const int ExitTimeUp = 4;

    private readonly IRemoteShell _shell;
    private readonly BoardPaths _paths;
    private readonly string _program;

    /// <param name="shell">Connection to the board.</param>
    /// <param name="engineSha256">The engine's artifact, already pushed.</param>
    /// <param name="root">Our folder on the board; null: <c>~/.agilequant</c>.</param>
    public BoardEngine(IRemoteShell shell, string engineSha256, string? root = null)
    {
        ArgumentNullException.ThrowIfNull(shell);
        _shell = shell;
        _paths = root is null ? BoardPaths.In(shell) : new BoardPaths(root);
        _program = _paths.Artifact(engineSha256);
    }

    /// <summary>Version, CPU and chosen kernels.</summary>
    public async Task<EngineInfo> InfoAsync(CancellationToken cancellationToken = default) =>
        ProtocolJson.ParseInfo(await OutputAsync(["info"], RunOptions.DefaultTimeout, cancellationToken));

    /// <summary>Compares every kernel this CPU would use with the scalar one.</summary>
    public async Task<SelfTestReport> SelfTestAsync(bool quick = false, CancellationToken cancellationToken = default)
    {
        string[] command = quick ? [_program, "selftest", "--quick"] : [_program, "selftest"];
        var result = await _shell.RunAsync(command, new RunOptions { Timeout = TimeSpan.FromMinutes(10) }, cancellationToken);
        if (result.ExitCode is not (0 or 1))
            throw Failure("aqengine selftest", result);
        var events = new JournalReader().Append(Encoding.UTF8.GetBytes(result.Stdout)).Select(e => e.Event).ToList();
        var kernels = events.OfType<SelfTestEvent>().ToList();
        return new SelfTestReport(result.ExitCode == 0 && kernels.Count > 0 && kernels.All(k => k.Ok), kernels);
    }

    /// <summary>State of the board now; with <paramref name="loop"/> also a short integer loop's time.</summary>
    public async Task<TelemetryEvent> SampleAsync(
        TimeSpan duration, bool loop = false, CancellationToken cancellationToken = default)
    {
        List<string> arguments = ["sample", "--ms", Number((long)duration.TotalMilliseconds)];
        if (loop)
            arguments.Add("--loop");
        return ProtocolJson.ParseTelemetry(await OutputAsync(arguments, duration + RunOptions.DefaultTimeout, cancellationToken));
    }

    /// <summary>Memory bandwidth and multiply rates, as the engine prints them.</summary>
    public async Task<JsonElement> RooflineAsync(int? threads = null, CancellationToken cancellationToken = default)
    {
        string[] arguments = threads is { } n ? ["roofline", "--threads", Number(n)] : ["roofline"];
        return ProtocolJson.ParseObject(await OutputAsync(arguments, TimeSpan.FromMinutes(5), cancellationToken), "aqengine roofline");
    }

    /// <summary>Creates the attempt's folder and writes its plan, whole or not at all.</summary>
    public Task PrepareJobAsync(JobPlan plan, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(plan);
        return PrepareJobAsync(plan.Attempt, plan.ToText(), cancellationToken);
    }

    /// <summary>The same with a plan that was written down before, to start its attempt again.</summary>
    public async Task PrepareJobAsync(string attempt, string plan, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(plan);
        var text = Encoding.UTF8.GetBytes(plan);
        if (text.Length > JobPlan.MaxBytes)
            throw new InvalidOperationException($"The plan has {text.Length} bytes, at most {JobPlan.MaxBytes}: use fewer blocks.");
        const string Script = "umask 077; mkdir -p -- \"$1\" && cat > \"$1/plan.part\" && mv -f -- \"$1/plan.part\" \"$1/plan\"";
        await ScriptAsync("Writing the plan", Script, [_paths.Job(Names.RequireAttempt(attempt))], text, cancellationToken);
    }

    /// <summary>Starts the prepared attempt detached from this connection.</summary>
    /// <exception cref="RemoteCommandException">The engine failed in another way than those of <see cref="StartResult"/>.</exception>
    public async Task<StartOutcome> StartAsync(
        string attempt, string clusterId, long epoch, CancellationToken cancellationToken = default)
    {
        string[] command =
        [
            _program, "start", "--root", _paths.Root, "--job", Names.RequireAttempt(attempt),
            "--cluster", Names.RequireAttempt(clusterId), "--epoch", Number(epoch),
        ];
        var result = await _shell.RunAsync(command, null, cancellationToken);
        StartResult? outcome = result.ExitCode switch
        {
            0 => StartResult.Started,
            10 => StartResult.EpochRefused,
            11 => StartResult.OtherCluster,
            12 => StartResult.Busy,
            13 => StartResult.BadPlan,
            _ => null,
        };
        return outcome is { } known
            ? new StartOutcome(known, (known == StartResult.Started ? result.Stdout : result.Stderr).Trim())
            : throw Failure("aqengine start", result);
    }

    /// <summary>
    /// The journal from <paramref name="offset"/> on, event by event as it is written, for at most <paramref name="timeout"/>.
    /// The last item says why it ended. A break of the connection throws; go on from the last item's offset.
    /// </summary>
    /// <exception cref="ConnectionLostException">The connection broke.</exception>
    public async IAsyncEnumerable<FollowItem> FollowAsync(
        string attempt, long offset, TimeSpan timeout, [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        var seconds = Math.Max(1, (long)Math.Ceiling(timeout.TotalSeconds));
        string[] command =
        [
            _program, "follow", "--root", _paths.Root, "--job", Names.RequireAttempt(attempt),
            "--offset", Number(offset), "--timeout", Number(seconds),
        ];
        // The engine ends a follow by itself; our own bound only catches a board that stopped answering.
        var bound = TimeSpan.FromSeconds(seconds) + RunOptions.DefaultTimeout;
        var items = Channel.CreateBounded<FollowItem>(new BoundedChannelOptions(1024) { SingleReader = true, SingleWriter = true });
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var pump = PumpAsync(command, new JournalReader(offset), bound, items.Writer, stop.Token);
        try
        {
            await foreach (var item in items.Reader.ReadAllAsync(cancellationToken))
                yield return item;
        }
        finally
        {
            await stop.CancelAsync();
            await pump;
        }
    }

    /// <summary>Asks the attempt to stop, waits, then kills. False: something still runs.</summary>
    public async Task<bool> StopAsync(string attempt, TimeSpan wait, CancellationToken cancellationToken = default)
    {
        string[] command =
        [
            _program, "stop", "--root", _paths.Root, "--job", Names.RequireAttempt(attempt),
            "--wait", Number((long)Math.Ceiling(wait.TotalSeconds)),
        ];
        var options = new RunOptions { Timeout = wait + RunOptions.DefaultTimeout };
        var result = await _shell.RunAsync(command, options, cancellationToken);
        return result.ExitCode is 0 or 1 ? result.Succeeded : throw Failure("aqengine stop", result);
    }

    /// <summary>Owner, running attempt and job folders; with <paramref name="attempt"/> that folder only.</summary>
    public async Task<EngineStatus> StatusAsync(string? attempt = null, CancellationToken cancellationToken = default)
    {
        List<string> arguments = ["status", "--root", _paths.Root];
        if (attempt is not null)
            arguments.AddRange(["--job", Names.RequireAttempt(attempt)]);
        return ProtocolJson.ParseStatus(await OutputAsync(arguments, RunOptions.DefaultTimeout, cancellationToken));
    }

    /// <summary>Makes this cluster the board's owner. False: an engine runs, stop it or wait.</summary>
    public async Task<bool> AdoptAsync(string clusterId, long epoch, CancellationToken cancellationToken = default)
    {
        string[] command =
        [
            _program, "adopt", "--root", _paths.Root, "--cluster", Names.RequireAttempt(clusterId), "--epoch", Number(epoch),
        ];
        var result = await _shell.RunAsync(command, null, cancellationToken);
        return result.ExitCode is 0 or 12 ? result.Succeeded : throw Failure("aqengine adopt", result);
    }

    /// <summary>Fetches result.json, the journal and all NLL files into a local folder and verifies them.</summary>
    public Task<CollectedResult> CollectAsync(string attempt, string localFolder, CancellationToken cancellationToken = default) =>
        ResultCollector.CollectAsync(_shell, _paths.Job(attempt), attempt, localFolder, cancellationToken);

    /// <summary>The end of the attempt's log file, for an error report; empty when there is none.</summary>
    public async Task<string> LogTailAsync(string attempt, int maxBytes = 4096, CancellationToken cancellationToken = default)
    {
        string[] command = ["tail", "-c", Number(maxBytes), "--", _paths.Job(attempt) + "/log"];
        var result = await _shell.RunAsync(command, new RunOptions { MaxStdoutBytes = maxBytes }, cancellationToken);
        return result.Stdout;
    }

    /// <summary>Removes the attempt's folder. Refuses while its engine runs.</summary>
    public async Task CleanAsync(string attempt, CancellationToken cancellationToken = default)
    {
        var folder = _paths.Job(attempt);
        var status = await StatusAsync(attempt, cancellationToken);
        if (status.Running == attempt || status.Jobs.Any(j => j.Attempt == attempt && j.State == "running"))
            throw new InvalidOperationException($"Attempt {attempt} still runs on {_shell.Address}: stop it before its folder is removed.");
        await ScriptAsync("Removing the job folder", "rm -rf -- \"$1\"", [folder], default, cancellationToken);
    }

    private static string Number(long value) => value.ToString(CultureInfo.InvariantCulture);

    private async Task PumpAsync(
        string[] command, JournalReader reader, TimeSpan bound, ChannelWriter<FollowItem> items, CancellationToken cancellationToken)
    {
        try
        {
            var exitCode = await _shell.StreamAsync(command, ForwardAsync, bound, cancellationToken);
            FollowResult? result = exitCode switch
            {
                0 => FollowResult.Ended,
                ExitLost => FollowResult.Lost,
                ExitTimeUp => FollowResult.TimedOut,
                _ => null,
            };
            if (result is null)
                throw new RemoteCommandException(_shell.Address, "aqengine follow", exitCode, "");
            await items.WriteAsync(new FollowItem.Finished(result.Value) { NextOffset = reader.Offset }, cancellationToken);
            items.Complete();
        }
        catch (Exception e)
        {
            items.Complete(e);
        }

        async ValueTask ForwardAsync(ReadOnlyMemory<byte> chunk, CancellationToken token)
        {
            foreach (var entry in reader.Append(chunk.Span))
                await items.WriteAsync(new FollowItem.Line(entry.Event) { NextOffset = entry.NextOffset }, token);
        }
    }

    private async Task<byte[]> OutputAsync(IEnumerable<string> arguments, TimeSpan timeout, CancellationToken cancellationToken)
    {
        string[] command = [_program, .. arguments];
        var result = await _shell.RunAsync(command, new RunOptions { Timeout = timeout }, cancellationToken);
        return result.Succeeded ? Encoding.UTF8.GetBytes(result.Stdout) : throw Failure($"aqengine {command[1]}", result);
    }

    private async Task ScriptAsync(
        string what, string script, string[] arguments, ReadOnlyMemory<byte> stdin, CancellationToken cancellationToken)
    {
        string[] command = ["sh", "-c", script, "sh", .. arguments];
        var result = await _shell.RunAsync(command, new RunOptions { Stdin = stdin }, cancellationToken);
        if (!result.Succeeded)
            throw Failure(what, result);
    }

    private RemoteCommandException Failure(string what, RemoteResult result) =>
        new(_shell.Address, what, result.ExitCode, result.Stderr);
}

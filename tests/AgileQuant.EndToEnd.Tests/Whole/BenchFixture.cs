using System.Diagnostics;
using System.Net.Sockets;
using AgileQuant.EndToEnd.Tests.Whole;
using AgileQuant.Host;
using AgileQuant.Host.Api;
using AgileQuant.Host.Client;
using AgileQuant.Host.Node;
using AgileQuant.Infra.Boards;
using AgileQuant.Infra.Postgres;
using AgileQuant.Orchestrator.Contracts;
using Npgsql;
using Xunit;

[assembly: AssemblyFixture(typeof(BenchFixture))]

namespace AgileQuant.EndToEnd.Tests.Whole;

/// <summary>
/// The whole product, once for all tests: a node process with its own home and Postgres, a board behind a real sshd, the native
/// engine, the sample model and its text. Started at first use; what is missing on this machine is a named reason to skip.
/// </summary>
public sealed class BenchFixture : IAsyncLifetime
{
    private static readonly TimeSpan ReadyLimit = TimeSpan.FromMinutes(3);
    private const string AcceptedSql = "select kind::text from result where run_id = $1 and accepted order by kind::text";
    private static readonly TimeSpan Look = TimeSpan.FromMilliseconds(250);
    private readonly SemaphoreSlim _turn = new(1, 1);
    private bool _started;

    /// <summary>Why the whole product cannot run on this machine; null when it can.</summary>
    public string? Missing { get; private set; }

    public BenchHome Home { get; } = new(Path.Combine(Path.GetTempPath(), $"aq-e2e-{Environment.ProcessId}-{Guid.NewGuid().ToString("N")[..6]}"));

    internal BenchProcess Bench => new(Home);

    internal BenchClient Client { get; private set; } = null!;

    /// <summary>The board all tests share; cutting its sessions is fine, stopping it is not.</summary>
    public LocalSshd Board { get; private set; } = null!;

    /// <summary>Collection of all tests that share the node: one of them kills it.</summary>
    public const string OneAtATime = "the node";

    public const string BoardName = "board";
    public const string Model = "docs-llama";
    public const string Dataset = "docs-heldout";

    public ValueTask InitializeAsync() => ValueTask.CompletedTask;

    /// <summary>Starts everything at first use, or skips the test with the reason.</summary>
    public async Task NeedAsync(CancellationToken ct)
    {
        await _turn.WaitAsync(ct);
        try
        {
            if (!_started)
            {
                Missing = WhyNot();
                if (Missing is null)
                    await StartAsync(ct);
                _started = true;
            }
        }
        finally
        {
            _turn.Release();
        }

        Assert.SkipWhen(Missing is not null, Missing ?? "");
    }

    /// <summary>Kills the node as a power cut would; its board, its Postgres and the job on the board live on.</summary>
    public async Task KillNodeAsync(CancellationToken ct)
    {
        var info = NodeHost.ReadInfo(Home) ?? throw new InvalidOperationException("no node runs");
        using (var process = Process.GetProcessById(info.Pid))
        {
            process.Kill();
            await process.WaitForExitAsync(ct);
        }
    }

    /// <summary>Waits until the matrix has ended.</summary>
    internal async Task<MatrixView> WaitForEndAsync(string matrix, TimeSpan limit, CancellationToken ct) =>
        await UntilAsync(matrix, v => MatrixEndpoints.IsOver(v, DateTimeOffset.UtcNow), limit, ct);

    /// <summary>Waits until the matrix is as wanted; fails with what it was at last.</summary>
    internal async Task<MatrixView> UntilAsync(string matrix, Func<MatrixView, bool> wanted, TimeSpan limit, CancellationToken ct)
    {
        var watch = Stopwatch.StartNew();
        while (true)
        {
            var view = await Client.GetMatrixAsync(matrix, ct);
            if (wanted(view))
                return view;
            if (watch.Elapsed > limit)
                throw new TimeoutException($"after {limit.TotalSeconds:0} s the matrix is {Describe(view)}\n{await DevicesAsync(ct)}\n{NodeLogTail()}");
            await Task.Delay(Look, ct);
        }
    }

    /// <summary>Where the dashboard is.</summary>
    internal async Task<string> DashboardUrlAsync(CancellationToken ct)
    {
        await NeedAsync(ct);
        return NodeHost.ReadInfo(Home)?.DashboardUrl ?? throw new InvalidOperationException("the node has no dashboard");
    }

    /// <summary>The OpenAPI document as the node serves it.</summary>
    internal async Task<string> OpenApiAsync(CancellationToken ct)
    {
        using var handler = new SocketsHttpHandler { ConnectCallback = async (_, token) => await LocalStreamAsync(token) };
        using var http = new HttpClient(handler) { BaseAddress = new Uri("http://localhost") };
        return await http.GetStringAsync("/openapi/v1.json", ct);
    }

    /// <summary>Kinds of accepted results of a run, straight from the database, sorted.</summary>
    internal async Task<IReadOnlyList<string>> AcceptedAsync(Guid run, CancellationToken ct)
    {
        await using var postgres = await EmbeddedPostgres.StartAsync(Home.PostgresFolder, new EmbeddedPostgresOptions { LeaveRunning = true }, ct);
        await using var source = NpgsqlDataSource.Create(postgres.ConnectionString);
        await using var command = source.CreateCommand(AcceptedSql);
        command.Parameters.AddWithValue(run);
        var kinds = new List<string>();
        await using var reader = await command.ExecuteReaderAsync(ct);
        while (await reader.ReadAsync(ct))
            kinds.Add(reader.GetString(0));
        return kinds;
    }

    private async Task<Stream> LocalStreamAsync(CancellationToken ct)
    {
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        await socket.ConnectAsync(new UnixDomainSocketEndPoint(Home.Socket), ct);
        return new NetworkStream(socket, ownsSocket: true);
    }

    internal static string Describe(MatrixView view) =>
        $"{view.Summary.State}; runs: {string.Join(", ", view.Runs.Select(r => $"{r.Model} {r.Precision} {r.Workload} {r.State} {r.Reason}"))}; "
        + $"jobs: {string.Join(", ", view.Jobs.Select(j => $"{j.Kind} {j.Precision} {j.State} {j.Reason}"))}";

    private async Task<string> DevicesAsync(CancellationToken ct) => string.Join("; ", (await Client.ListDevicesAsync(ct))
        .Select(d => $"{d.Name} {d.State} {d.StateReason}, owner {d.Owner}, epoch {d.Epoch}, job {d.CurrentJob}"));

    internal string NodeLogTail()
    {
        var log = File.Exists(Home.NodeLog) ? File.ReadAllText(Home.NodeLog) : "";
        return log.Length > 4000 ? log[^4000..] : log;
    }

    public async ValueTask DisposeAsync()
    {
        if (_started && Missing is null)
        {
            Client.Dispose();
            await NodeLauncher.StopAsync(Home, CancellationToken.None);
            await Board.StopAsync();
        }

        _turn.Dispose();
        if (Directory.Exists(Home.Folder))
            Directory.Delete(Home.Folder, recursive: true);
    }

    private static string? WhyNot()
    {
        if (!LocalSshd.IsAvailable(out var reason))
            return reason;
        return NativeEngine.FindBuilt("linux-x64") is null ? "the native engine is not built: run `./bench test`, or engine/native/build.sh" : null;
    }

    private async Task StartAsync(CancellationToken ct)
    {
        Home.Create();
        Directory.CreateDirectory(Home.BoardFolder);
        Board = await LocalSshd.StartAsync(new LocalSshdOptions { Folder = Path.Combine(Home.Folder, "board"), KeepRunning = true }, ct);
        await Bench.MustRunAsync("up", "--port", "18580");
        Client = new BenchClient(Home);
        await Client.AddEngineAsync(NativeEngine.FindBuilt("linux-x64")!, ct);
        await Client.AddDeviceAsync(new AddDeviceRequest(BoardName, Board.Address, Board.HostKeyFingerprint, Board.IdentityFile), ct);
        var samples = Path.Combine(Repository.Root, "infra", "samples");
        await Client.ImportModelAsync(new ImportModelRequest(Path.Combine(samples, Model), Model), null, ct);
        var text = Engine.HeldOutText.Rebuild(Path.Combine(samples, "heldout.hashes"));
        var file = Path.Combine(Home.Folder, "heldout.txt");
        await File.WriteAllTextAsync(file, text.Text, ct);
        HeldOutComplete = text.Missing == 0;
        await Client.ImportDatasetAsync(new ImportDatasetRequest(file, Dataset), ct);
        await ReadyAsync(BoardName, ct);
    }

    /// <summary>The text is the one the model cards speak of: no sentence is missing in this SDK.</summary>
    public bool HeldOutComplete { get; private set; }

    /// <summary>Waits until a device is usable.</summary>
    internal async Task<DeviceView> ReadyAsync(string name, CancellationToken ct)
    {
        var watch = Stopwatch.StartNew();
        while (true)
        {
            var device = await Client.GetDeviceAsync(name, ct);
            if (device.State is DeviceState.Ready or DeviceState.Busy or DeviceState.Cooling)
                return device;
            if (device.State == DeviceState.Bad || watch.Elapsed > ReadyLimit)
                throw new InvalidOperationException($"{name} is {device.State}: {device.StateReason}\n{NodeLogTail()}");
            await Task.Delay(Look, ct);
        }
    }
}

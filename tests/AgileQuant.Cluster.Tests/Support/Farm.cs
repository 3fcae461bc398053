using System.Diagnostics;
using AgileQuant.Host.Api;
using AgileQuant.Host.Client;
using AgileQuant.Infra.Boards;
using AgileQuant.Infra.Postgres;
using AgileQuant.Orchestrator.Contracts;
using Dapper;
using Npgsql;
using Shouldly;
using Xunit;

namespace AgileQuant.Cluster.Tests.Support;

/// <summary>
/// One test's cluster: a database, four boards behind sshds of their own, and nodes that are processes with homes and ways to
/// Postgres of their own. Each board sees a boot id of its own, as four machines would; else their timing jobs would take turns.
/// </summary>
internal sealed class Farm : IAsyncDisposable
{
    public const int Boards = 4;

    /// <summary>Short, so that a test sees several; everything in the product scales with it.</summary>
    public static readonly TimeSpan Lease = TimeSpan.FromSeconds(5);

    private const string Model = "docs-llama";
    private const string Text = "heldout";
    private const int TextLength = 20_000;
    private static readonly string[] Precisions = ["fp16", "w8a8", "w4a4"];
    private static readonly TimeSpan ReadyLimit = TimeSpan.FromMinutes(3);
    private static readonly TimeSpan MatrixLimit = TimeSpan.FromMinutes(5);
    private static readonly TimeSpan Look = TimeSpan.FromMilliseconds(50);

    private readonly string _root = Path.Combine(Path.GetTempPath(), $"aqc-{Environment.ProcessId}-{Guid.NewGuid().ToString("N")[..6]}");
    private readonly Flavour _flavour;
    private readonly List<LocalSshd> _boards = [];
    private readonly List<NodeProcess> _nodes = [];
    private readonly Dictionary<string, PostgresRelay> _relays = new(StringComparer.Ordinal);
    private TestDatabase _database = null!;
    private NpgsqlDataSource _source = null!;

    private Farm(Flavour flavour) => _flavour = flavour;

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    public EngineWatch Engines { get; private set; } = null!;

    /// <summary>Boards, one node, and the sample model with its text; skips the test with the reason when this machine lacks something.</summary>
    public static async Task<Farm> StartAsync(Flavour flavour)
    {
        Assert.SkipUnless(LocalSshd.IsAvailable(out var reason), reason ?? "");
        Assert.SkipWhen(NativeEngine.FindBuilt("linux-x64") is null, "the native engine is not built: run `./bench test`, or engine/native/build.sh");
        var farm = new Farm(flavour);
        try
        {
            await farm.PrepareAsync();
            return farm;
        }
        catch
        {
            await farm.DisposeAsync();
            throw;
        }
    }

    public NodeProcess Node(string name) => _nodes.Single(n => n.Name == name);

    public PostgresRelay Relay(string name) => _relays[name];

    /// <summary>Starts another node.</summary>
    public async Task<NodeProcess> AddNodeAsync(string name)
    {
        var database = new NpgsqlConnectionStringBuilder(_database.ConnectionString);
        var relay = new PostgresRelay(Path.Combine(_root, name + "-pg"), database.Host!);
        _relays[name] = relay;
        database.Host = relay.Folder;
        var node = await NodeProcess.StartAsync(name, Path.Combine(_root, name), database.ConnectionString, _flavour, Lease, Ct);
        _nodes.Add(node);
        return node;
    }

    /// <summary>Starts a matrix over all boards, long enough to be disturbed.</summary>
    public Task<Guid> StartMatrixAsync(NodeProcess through, string name, int rounds = 8) => through.Client.StartMatrixAsync(
        new MatrixSpec(name, [.. _boards.Select((_, i) => BoardName(i))], [Model], Precisions,
            [new WorkloadSpec("both", [], 32, 8, 1, Text, "llama.cpp-512", 1)],
            new PolicySpec(Rounds: rounds, MinRepetitions: 3, MaxRepetitions: 3, WarmupMax: 1, CoolDownTimeoutSeconds: 0)), Ct);

    /// <summary>Waits until an engine runs on every board.</summary>
    public async Task UntilAllBoardsRunAsync(Guid matrix) => await UntilAsync(
        () => ScalarAsync<long>("select count(distinct device_id) from job where matrix_id = @matrix and state = 'running' and progress > 0", new { matrix }),
        n => n == Boards, MatrixLimit, "boards that run");

    /// <summary>How long it takes until every board with open jobs has a driver on a node that lives.</summary>
    /// <param name="without">A node that does not count.</param>
    public async Task<TimeSpan> UntilAllBoardsHaveDriversAsync(string without, TimeSpan limit)
    {
        var watch = Stopwatch.StartNew();
        await UntilAsync(
            () => ScalarAsync<long>(
                """
                select count(*) from device d left join node n on n.id = d.lease_node
                where exists (select 1 from job j where j.device_id = d.id and j.state in ('waiting', 'running'))
                  and (n.id is null or n.name = @without or d.lease_until < clock_timestamp())
                """,
                new { without }),
            n => n == 0, limit, "boards without a driver");
        return watch.Elapsed;
    }

    /// <summary>Waits until nodes hold that many devices, given as <c>a:2 b:2</c>.</summary>
    public Task UntilSharedAsync(string expected, TimeSpan limit) => UntilAsync(SharesAsync, s => s == expected, limit, "devices by node");

    public async Task<string> SharesAsync() => await ScalarAsync<string>(
        """
        select coalesce(string_agg(format('%s:%s', name, devices), ' ' order by name), '') from (
            select n.name, count(*) as devices from device d join node n on n.id = d.lease_node where d.lease_until > clock_timestamp() group by n.name) x
        """) ?? "";

    /// <summary>Waits for the end and checks what must hold whatever happened: nothing is lost, nothing counts twice, nothing ran twice at once.</summary>
    public async Task CompleteAsync(Guid matrix)
    {
        await UntilAsync(
            () => ScalarAsync<string>("select case when finished_at is null then 'open' else 'over' end from matrix where id = @matrix", new { matrix }),
            s => s == "over", MatrixLimit, "the matrix");
        (await QueryAsync<string>("select coalesce(reason, state) from run where matrix_id = @matrix and state <> 'complete'", new { matrix }))
            .ShouldBeEmpty(await LogsAsync());
        var accepted = await QueryAsync<string>(
            """
            select string_agg(r.kind, ' ' order by r.kind) from run join result r on r.run_id = run.id and r.accepted
            where run.matrix_id = @matrix group by run.id
            """,
            new { matrix });
        accepted.Count.ShouldBe(Boards * Precisions.Length, "no run is lost");
        accepted.ShouldAllBe(kinds => kinds == "perplexity speed");
        (await ScalarAsync<long>("select count(*) from attempt where state in ('starting', 'running')")).ShouldBe(0);
        Engines.Attempts.Count.ShouldBeGreaterThanOrEqualTo(Boards, "else the watch saw nothing");
        Engines.MostAtOnce.ShouldBe(1, "two engines on one board at once");
    }

    public async Task<T?> ScalarAsync<T>(string sql, object? parameters = null)
    {
        await using var connection = await _source.OpenConnectionAsync(Ct);
        return await connection.QueryFirstOrDefaultAsync<T>(new CommandDefinition(sql, parameters, cancellationToken: Ct));
    }

    public async Task<List<T>> QueryAsync<T>(string sql, object? parameters = null)
    {
        await using var connection = await _source.OpenConnectionAsync(Ct);
        return (await connection.QueryAsync<T>(new CommandDefinition(sql, parameters, cancellationToken: Ct))).AsList();
    }

    public async Task UntilAsync<T>(Func<Task<T>> read, Func<T, bool> wanted, TimeSpan limit, string what)
    {
        var watch = Stopwatch.StartNew();
        while (true)
        {
            var value = await read();
            if (wanted(value))
                return;
            if (watch.Elapsed > limit)
                throw new TimeoutException($"{what}: still {value} after {limit.TotalSeconds:0} s\n{await StateAsync()}\n{await LogsAsync()}");
            await Task.Delay(Look, Ct);
        }
    }

    public async ValueTask DisposeAsync()
    {
        if (Engines is not null)
            await Engines.DisposeAsync();
        foreach (var relay in _relays.Values)
            relay.Mend();
        foreach (var node in _nodes)
            await node.DisposeAsync();
        foreach (var relay in _relays.Values)
            await relay.DisposeAsync();
        foreach (var board in _boards)
            await board.DisposeAsync();
        if (_source is not null)
            await _source.DisposeAsync();
        if (_database is not null)
            await _database.DisposeAsync();
        if (Directory.Exists(_root))
            Directory.Delete(_root, true);
    }

    private static string BoardName(int index) => $"board{index + 1}";

    private async Task PrepareAsync()
    {
        Directory.CreateDirectory(_root);
        _database = await TestDatabase.CreateAsync(Ct);
        _source = NpgsqlDataSource.Create(_database.ConnectionString);
        for (var i = 0; i < Boards; i++)
        {
            var shell = await MakeShellAsync(BoardName(i));
            _boards.Add(await LocalSshd.StartAsync(new LocalSshdOptions { Folder = Path.Combine(_root, BoardName(i)), Shell = shell }, Ct));
        }

        Engines = new EngineWatch([.. _boards.Select(b => b.HomeFolder)]);
        var first = await AddNodeAsync("a");
        await first.Client.AddEngineAsync(NativeEngine.FindBuilt("linux-x64")!, Ct);
        for (var i = 0; i < Boards; i++)
        {
            await first.Client.AddDeviceAsync(
                new AddDeviceRequest(BoardName(i), _boards[i].Address, _boards[i].HostKeyFingerprint, _boards[i].IdentityFile), Ct);
        }

        var samples = Path.Combine(Repository.Root, "infra", "samples");
        await first.Client.ImportModelAsync(new ImportModelRequest(Path.Combine(samples, Model), Model), null, Ct);
        var text = Path.Combine(_root, "heldout.txt");
        var whole = Engine.HeldOutText.Rebuild(Path.Combine(samples, "heldout.hashes")).Text;
        await File.WriteAllTextAsync(text, whole[..Math.Min(whole.Length, TextLength)], Ct); // the nodes score all of it, which is not what is tested here
        await first.Client.ImportDatasetAsync(new ImportDatasetRequest(text, Text), Ct);
        await UntilAsync(
            () => ScalarAsync<long>("select count(*) from device where state = 'ready'"), n => n == Boards, ReadyLimit, "boards that are ready");
    }

    /// <summary>A shell in a mount namespace of its own, where the kernel's boot id is another.</summary>
    private async Task<string> MakeShellAsync(string board)
    {
        var (shell, boot) = (Path.Combine(_root, board + ".sh"), Path.Combine(_root, board + ".boot"));
        await File.WriteAllTextAsync(boot, $"{Guid.NewGuid()}\n", Ct);
        var unshare = Environment.IsPrivilegedProcess ? "unshare -m" : "unshare -rm";
        await File.WriteAllTextAsync(
            shell,
            $"""
            #!/bin/sh
            exec {unshare} sh -c 'mount --bind "$0" /proc/sys/kernel/random/boot_id && exec /bin/sh "$@"' '{boot}' "$@"

            """,
            Ct);
        File.SetUnixFileMode(shell, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        return shell;
    }

    private async Task<string> StateAsync() => string.Join('\n', (await QueryAsync<string>(
        """
        select format('%s %s (%s), driver %s, jobs: %s', d.name, d.state, d.state_reason, n.name,
            (select string_agg(format('%s %s %s', j.kind, j.state, j.reason), '; ') from job j where j.device_id = d.id and j.state <> 'done'))
        from device d left join node n on n.id = d.lease_node and d.lease_until > clock_timestamp() order by d.name
        """)).Concat(await QueryAsync<string>("select format('%s %s: %s', kind, state, reason) from node_job where state <> 'done'")));

    private async Task<string> LogsAsync() => string.Join('\n', await Task.WhenAll(_nodes.Select(n => n.LogTailAsync())));
}

using System.Diagnostics;
using System.Globalization;
using System.Runtime.Versioning;
using AgileQuant.Infra.Postgres;
using Npgsql;
using Shouldly;
using Xunit;

namespace AgileQuant.Infra.Tests.Postgres;

/// <summary>Against the Postgres programs of this machine.</summary>
[SupportedOSPlatform("linux")]
public sealed class EmbeddedPostgresTests : IAsyncLifetime
{
    private static readonly EmbeddedPostgresOptions Fast = new() { Durable = false };

    private readonly string _root = Path.Combine(Path.GetTempPath(), "agilequant-infra-" + Guid.NewGuid().ToString("N"));

    private string Folder => Path.Combine(_root, "postgres");

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        Directory.CreateDirectory(_root);
        try
        {
            await PostgresBinaries.FindAsync(null, null, Token);
        }
        catch (EmbeddedPostgresException e)
        {
            Assert.Skip(e.Message);
        }
    }

    public async ValueTask DisposeAsync()
    {
        await EmbeddedPostgres.StopAsync(Folder, Fast, CancellationToken.None);
        Directory.Delete(_root, recursive: true);
    }

    [Fact]
    public async Task A_cluster_keeps_its_data_from_one_start_to_the_next_and_opens_no_port()
    {
        await using (var first = await EmbeddedPostgres.StartAsync(Folder, Fast, Token))
        {
            first.WasRunning.ShouldBeFalse();
            await ScalarAsync(first.ConnectionString, "CREATE TABLE t (x int); INSERT INTO t VALUES (42)");
            (await ScalarAsync(first.ConnectionString, "SHOW listen_addresses")).ShouldBe("");
            (await ScalarAsync(first.ConnectionString, "SHOW server_encoding")).ShouldBe("UTF8");
        }

        File.Exists(Path.Combine(Folder, "data", "postmaster.pid")).ShouldBeFalse();
        await using var second = await EmbeddedPostgres.StartAsync(Folder, Fast, Token);
        (await ScalarAsync(second.ConnectionString, "SELECT x FROM t")).ShouldBe(42);
    }

    [Fact]
    public async Task Only_its_account_can_enter_the_socket_folder()
    {
        await using var cluster = await EmbeddedPostgres.StartAsync(Folder, Fast, Token);
        var socket = new NpgsqlConnectionStringBuilder(cluster.ConnectionString).Host!;
        (File.GetUnixFileMode(socket) & (UnixFileMode)0x1FF)
            .ShouldBe(UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        File.Exists(Path.Combine(socket, ".s.PGSQL.5432")).ShouldBeTrue();
    }

    [Fact]
    public async Task A_running_cluster_is_taken_over_not_started_twice()
    {
        await using var left = await EmbeddedPostgres.StartAsync(Folder, Fast with { LeaveRunning = true }, Token);
        await left.DisposeAsync();
        var pid = PostmasterPid.Read(Path.Combine(Folder, "data", "postmaster.pid")).ShouldNotBeNull().Pid;

        await using var again = await EmbeddedPostgres.StartAsync(Folder, Fast, Token);
        again.WasRunning.ShouldBeTrue();
        PostmasterPid.Read(Path.Combine(Folder, "data", "postmaster.pid")).ShouldNotBeNull().Pid.ShouldBe(pid);
        (await ScalarAsync(again.ConnectionString, "SELECT 1")).ShouldBe(1);
    }

    [Fact]
    public async Task Simultaneous_starts_share_one_cluster()
    {
        var starts = await Task.WhenAll(Enumerable.Range(0, 3).Select(
            _ => EmbeddedPostgres.StartAsync(Folder, Fast with { LeaveRunning = true }, Token)));
        starts.Count(c => !c.WasRunning).ShouldBe(1);
        starts.Select(c => c.ConnectionString).Distinct().Count().ShouldBe(1);
    }

    [Fact]
    public async Task It_recovers_from_the_pid_file_of_a_crash()
    {
        await using (await EmbeddedPostgres.StartAsync(Folder, Fast, Token))
        {
        }

        // As after a power cut: the file names a number that another program has now.
        var file = Path.Combine(Folder, "data", "postmaster.pid");
        var self = Environment.ProcessId.ToString(CultureInfo.InvariantCulture);
        await File.WriteAllTextAsync(file, $"{self}\n{Folder}/data\n1700000000\n5432\n{Folder}/socket\n\n0 0\nready\n", Token);
        await using var cluster = await EmbeddedPostgres.StartAsync(Folder, Fast, Token);
        cluster.WasRunning.ShouldBeFalse();
        (await ScalarAsync(cluster.ConnectionString, "SELECT 1")).ShouldBe(1);
    }

    [Fact]
    public async Task It_recovers_from_kill_minus_9()
    {
        await using var first = await EmbeddedPostgres.StartAsync(Folder, Fast with { LeaveRunning = true }, Token);
        var pid = PostmasterPid.Read(Path.Combine(Folder, "data", "postmaster.pid")).ShouldNotBeNull();
        using (var postmaster = Process.GetProcessById(pid.Pid))
        {
            postmaster.Kill();
            await postmaster.WaitForExitAsync(Token);
        }

        await using var second = await EmbeddedPostgres.StartAsync(Folder, Fast, Token);
        second.WasRunning.ShouldBeFalse();
        (await ScalarAsync(second.ConnectionString, "SELECT 1")).ShouldBe(1);
    }

    [Fact]
    public async Task An_initdb_that_was_cut_off_is_done_again()
    {
        await using (await EmbeddedPostgres.StartAsync(Folder, Fast, Token))
        {
        }

        Directory.Delete(Path.Combine(Folder, "data"), recursive: true);
        Directory.CreateDirectory(Path.Combine(Folder, "data.new"));
        await File.WriteAllTextAsync(Path.Combine(Folder, "data.new", "half"), "x", Token);
        await using var cluster = await EmbeddedPostgres.StartAsync(Folder, Fast, Token);
        (await ScalarAsync(cluster.ConnectionString, "SELECT 1")).ShouldBe(1);
    }

    [Fact]
    public async Task A_path_too_long_for_a_socket_works()
    {
        var folder = Path.Combine(_root, new string('d', 100));
        await using var cluster = await EmbeddedPostgres.StartAsync(folder, Fast with { Disposable = true }, Token);
        var socket = new NpgsqlConnectionStringBuilder(cluster.ConnectionString).Host!;
        socket.ShouldNotStartWith(folder);
        (await ScalarAsync(cluster.ConnectionString, "SELECT 1")).ShouldBe(1);
        await cluster.DisposeAsync();
        Directory.Exists(socket).ShouldBeFalse();
    }

    [Fact]
    public async Task A_disposable_cluster_leaves_nothing_behind()
    {
        var cluster = await EmbeddedPostgres.StartAsync(Folder, Fast with { Disposable = true }, Token);
        var pid = PostmasterPid.Read(Path.Combine(Folder, "data", "postmaster.pid")).ShouldNotBeNull();
        await cluster.DisposeAsync();
        pid.IsAlive().ShouldBeFalse();
        Directory.Exists(Folder).ShouldBeFalse();
    }

    [Fact]
    public async Task A_folder_that_others_can_enter_is_refused()
    {
        Directory.CreateDirectory(Folder, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute | UnixFileMode.OtherExecute);
        var refused = await Should.ThrowAsync<EmbeddedPostgresException>(EmbeddedPostgres.StartAsync(Folder, Fast, Token));
        refused.Message.ShouldContain("mode 700");
    }

    [Fact]
    public async Task Root_is_told_which_folder_the_account_cannot_enter()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "only root switches accounts");
        File.SetUnixFileMode(_root, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        var refused = await Should.ThrowAsync<EmbeddedPostgresException>(EmbeddedPostgres.StartAsync(Folder, Fast, Token));
        refused.Message.ShouldContain($"chmod o+x {_root}");
    }

    [Theory]
    [InlineData("Upper")]
    [InlineData("a\"; DROP TABLE x; --")]
    [InlineData("a\n")]
    [InlineData("")]
    public async Task A_database_name_that_would_need_quoting_is_refused(string name) =>
        await Should.ThrowAsync<ArgumentException>(
            EmbeddedPostgres.StartAsync(Folder, Fast with { Database = name }, Token));

    [Fact]
    public async Task Test_databases_are_apart_and_empty()
    {
        await using var one = await TestDatabase.CreateAsync(Token);
        await using var two = await TestDatabase.CreateAsync(Token);
        await ScalarAsync(one.ConnectionString, "CREATE TABLE t (x int)");
        (await ScalarAsync(two.ConnectionString, "SELECT count(*) FROM pg_tables WHERE tablename = 't'")).ShouldBe(0L);
    }

    private static async Task<object?> ScalarAsync(string connectionString, string sql)
    {
        await using var connection = new NpgsqlConnection(connectionString);
        await connection.OpenAsync(Token);
        await using var command = new NpgsqlCommand(sql, connection);
        return await command.ExecuteScalarAsync(Token);
    }
}

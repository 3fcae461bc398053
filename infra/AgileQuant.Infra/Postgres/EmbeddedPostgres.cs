using System.Diagnostics;
using System.Globalization;
using System.Text.RegularExpressions;
using Npgsql;

namespace AgileQuant.Infra.Postgres;

/// <summary>
/// A private Postgres cluster from the system's Postgres programs: its own data folder, a Unix socket in a folder
/// that only its account can enter, no TCP port. <c>docs/security.md</c> says who can connect.
/// </summary>
public sealed partial class EmbeddedPostgres : IAsyncDisposable
{
    private ClusterLayout _layout;
    private readonly EmbeddedPostgresOptions _options;
    private readonly PostgresAccount _account;
    private readonly PostgresBinaries _binaries;
    private Process? _guard;

    private EmbeddedPostgres(
        ClusterLayout layout, EmbeddedPostgresOptions options, PostgresAccount account, PostgresBinaries binaries)
    {
        _layout = layout;
        _options = options;
        _account = account;
        _binaries = binaries;
    }

    /// <summary>For Npgsql; names the socket folder, so it stays valid as long as the cluster runs.</summary>
    public string ConnectionString => ConnectionStringFor(_options.Database);

    /// <summary>Version of the server programs, for instance 15.</summary>
    public int MajorVersion => _binaries.Major;

    /// <summary>Whether the cluster ran already and was taken over.</summary>
    public bool WasRunning { get; private set; }

    /// <summary>The server's log, for error messages.</summary>
    public string LogFile => _layout.Log;

    /// <summary>
    /// Starts the cluster in <paramref name="folder"/>, creating it at first use, or takes over the one that runs there.
    /// Calls for the same folder, from any process, take turns.
    /// </summary>
    /// <exception cref="EmbeddedPostgresException">It cannot start; the message says what to do.</exception>
    public static async Task<EmbeddedPostgres> StartAsync(
        string folder, EmbeddedPostgresOptions? options = null, CancellationToken cancellation = default)
    {
        options ??= new EmbeddedPostgresOptions();
        RequireName(options.Database);
        var cluster = await OpenAsync(folder, options, cancellation);
        Directory.CreateDirectory(Path.GetDirectoryName(cluster._layout.Folder)!);
        await using (await TakeTurnAsync(cluster._layout.Lock, options.StepTimeout, cancellation))
        {
            await cluster._account.MakePrivateFolderAsync(cluster._layout.Folder, cancellation);
            await cluster._account.RequireReachableAsync(cluster._layout.Folder, cancellation);
            if (options.Disposable)
            {
                cluster.StartGuard(); // first, so that nothing stays behind if this process is killed while starting
            }

            try
            {
                await cluster.EnsureRunningAsync(cancellation);
                await cluster.EnsureDatabaseAsync(options.Database, cancellation);
                return cluster;
            }
            catch when (options.Disposable)
            {
                await cluster.DisposeAsync();
                throw;
            }
        }
    }

    /// <summary>Stops the cluster in a folder, if one runs there, whoever started it.</summary>
    /// <returns>Whether one ran.</returns>
    public static async Task<bool> StopAsync(
        string folder, EmbeddedPostgresOptions? options = null, CancellationToken cancellation = default)
    {
        if (!File.Exists(Path.Combine(folder, "data", "postmaster.pid")))
        {
            return false;
        }

        var cluster = await OpenAsync(folder, options ?? new EmbeddedPostgresOptions(), cancellation);
        var ran = PostmasterPid.Read(cluster._layout.PidFile)?.IsAlive() == true;
        await cluster.StopAsync(cancellation);
        return ran;
    }

    /// <summary>Ends all connections and stops the cluster; does nothing when it does not run.</summary>
    public async Task StopAsync(CancellationToken cancellation = default)
    {
        if (PostmasterPid.Read(_layout.PidFile)?.IsAlive() != true)
        {
            return;
        }

        ForgetPooledConnections();
        var fast = await PgCtlAsync(["stop", "-m", "fast", "-w", "-t", Seconds(_options.StepTimeout / 2)], cancellation);
        if (fast.ExitCode != 0 && PostmasterPid.Read(_layout.PidFile)?.IsAlive() == true)
        {
            await PgCtlAsync(["stop", "-m", "immediate", "-w", "-t", Seconds(_options.StepTimeout / 2)], cancellation);
        }
    }

    /// <summary>Creates an empty database; its name is made of a-z, 0-9 and _, at most 63 characters.</summary>
    /// <returns>Its connection string.</returns>
    public async Task<string> CreateDatabaseAsync(string name, CancellationToken cancellation = default)
    {
        RequireName(name);
        await ExecuteAsync($"CREATE DATABASE \"{name}\"", cancellation);
        return ConnectionStringFor(name);
    }

    /// <summary>Ends the connections to a database and drops it, if it exists.</summary>
    public async Task DropDatabaseAsync(string name, CancellationToken cancellation = default)
    {
        RequireName(name);
        await ExecuteAsync($"DROP DATABASE IF EXISTS \"{name}\" WITH (FORCE)", cancellation);
    }

    /// <summary>Stops the cluster unless it is to be left running; deletes it when it is disposable.</summary>
    public async ValueTask DisposeAsync()
    {
        if (_options.LeaveRunning)
        {
            return;
        }

        if (_guard is null)
        {
            await StopAsync(CancellationToken.None);
            return;
        }

        // The guard stops the cluster and deletes the folder as soon as its input closes.
        _guard.StandardInput.Close();
        using var bound = new CancellationTokenSource(_options.StepTimeout);
        await _guard.WaitForExitAsync(bound.Token);
        _guard.Dispose();
        _guard = null;
    }

    private static async Task<EmbeddedPostgres> OpenAsync(
        string folder, EmbeddedPostgresOptions options, CancellationToken cancellation)
    {
        if (!OperatingSystem.IsLinux())
        {
            throw new EmbeddedPostgresException("the embedded Postgres runs on Linux only: give a connection string instead.");
        }

        var account = await PostgresAccount.ResolveAsync(options.AccountForRoot, cancellation);
        // Root's runtime folder is closed to the account that runs Postgres.
        var runtime = account.Switches ? null : Environment.GetEnvironmentVariable("XDG_RUNTIME_DIR");
        var layout = ClusterLayout.For(folder, account.Uid, runtime);
        var binaries = await PostgresBinaries.FindAsync(options.BinaryFolder, DataMajor(layout.Data), cancellation);
        return new EmbeddedPostgres(layout, options, account, binaries);
    }

    private async Task EnsureRunningAsync(CancellationToken cancellation)
    {
        if (!File.Exists(Path.Combine(_layout.Data, "PG_VERSION")))
        {
            await InitializeAsync(cancellation);
        }

        if (PostmasterPid.Read(_layout.PidFile) is { } pid)
        {
            if (pid.IsAlive())
            {
                // Started with another runtime folder, perhaps: what it says itself counts.
                _layout = pid.SocketFolder.Length > 0 ? _layout with { SocketFolder = pid.SocketFolder } : _layout;
                await WaitReadyAsync(cancellation);
                WasRunning = true;
                return;
            }

            File.Delete(_layout.PidFile);
        }

        ForgetPooledConnections();
        await _account.MakePrivateFolderAsync(_layout.SocketFolder, cancellation);
        await WriteAsAccountAsync(Path.Combine(_layout.Data, "agilequant.conf"), _layout.Settings(_options.Durable), cancellation);
        var started = await PgCtlAsync(
            ["start", "-w", "-t", Seconds(_options.StepTimeout), "-l", _layout.Log], cancellation);
        if (started.ExitCode != 0)
        {
            throw new EmbeddedPostgresException(
                $"Postgres {_binaries.Major} did not start: {started.Text}\nThe end of {_layout.Log}:\n{LogTail()}");
        }
    }

    private async Task InitializeAsync(CancellationToken cancellation)
    {
        if (Directory.Exists(_layout.NewData))
        {
            Directory.Delete(_layout.NewData, recursive: true); // an initdb that was cut off
        }

        var command = _account.Command(
            _binaries.Path("initdb"), "-D", _layout.NewData, "-U", ClusterLayout.Superuser, "-E", "UTF8", "--locale=C",
            "--auth-local=peer", "--auth-host=reject", _options.Durable ? "--data-checksums" : "--no-sync");
        var result = await Command.RunAsync(command, _options.StepTimeout, cancellation);
        if (result.ExitCode != 0)
        {
            throw new EmbeddedPostgresException($"initdb failed: {result.Text}");
        }

        await WriteAsAccountAsync(Path.Combine(_layout.NewData, "pg_hba.conf"), ClusterLayout.HostBasedAccess, cancellation);
        await WriteAsAccountAsync(Path.Combine(_layout.NewData, "pg_ident.conf"), ClusterLayout.UserMap(_account.Name), cancellation);
        await File.AppendAllTextAsync(
            Path.Combine(_layout.NewData, "postgresql.conf"), "\ninclude 'agilequant.conf'\n", cancellation);
        Directory.Move(_layout.NewData, _layout.Data);
    }

    /// <summary>Writes beside and renames, then hands the file to the account.</summary>
    private async Task WriteAsAccountAsync(string file, string text, CancellationToken cancellation)
    {
        await File.WriteAllTextAsync(file + ".tmp", text, cancellation);
        if (_account.Switches)
        {
            await Command.RunAsync(["chown", "--", _account.Uid, file + ".tmp"], _options.StepTimeout, cancellation);
        }

        File.Move(file + ".tmp", file, overwrite: true);
    }

    private async Task WaitReadyAsync(CancellationToken cancellation)
    {
        var waited = Stopwatch.StartNew();
        while (true)
        {
            try
            {
                await using var connection = new NpgsqlConnection(ConnectionStringFor("postgres", pooling: false));
                await connection.OpenAsync(cancellation);
                return;
            }
            catch (NpgsqlException e) when (waited.Elapsed < _options.StepTimeout && IsStarting(e))
            {
                await Task.Delay(100, cancellation);
            }
            catch (NpgsqlException e)
            {
                throw new EmbeddedPostgresException(
                    $"Postgres runs in {_layout.Folder} but does not answer on its socket: {e.Message}\n"
                    + $"Stop it with `./bench down`, then try again. The end of {_layout.Log}:\n{LogTail()}", e);
            }
        }
    }

    /// <summary>57P03 is "the database system is starting up"; no state means that the socket does not answer yet.</summary>
    private static bool IsStarting(NpgsqlException e) => e is not PostgresException p || p.SqlState == "57P03";

    private async Task EnsureDatabaseAsync(string name, CancellationToken cancellation)
    {
        await using var connection = new NpgsqlConnection(ConnectionStringFor("postgres", pooling: false));
        await connection.OpenAsync(cancellation);
        await using var exists = new NpgsqlCommand("SELECT 1 FROM pg_database WHERE datname = $1", connection)
        {
            Parameters = { new() { Value = name } },
        };
        if (await exists.ExecuteScalarAsync(cancellation) is null)
        {
            await using var create = new NpgsqlCommand($"CREATE DATABASE \"{name}\"", connection);
            await create.ExecuteNonQueryAsync(cancellation);
        }
    }

    private async Task ExecuteAsync(string sql, CancellationToken cancellation)
    {
        await using var connection = new NpgsqlConnection(ConnectionStringFor("postgres", pooling: false));
        await connection.OpenAsync(cancellation);
        await using var command = new NpgsqlCommand(sql, connection);
        await command.ExecuteNonQueryAsync(cancellation);
    }

    /// <summary>
    /// A shell that waits on a pipe from this process. The kernel closes the pipe when this process ends, in whatever
    /// way, and the shell then stops the cluster and deletes its folders.
    /// </summary>
    private void StartGuard()
    {
        const string script = "trap '' INT TERM HUP; read -r _; stop=$1; data=$2; shift 2; "
            + "if [ -f \"$data/postmaster.pid\" ]; then \"$@\" \"$stop\" stop -D \"$data\" -m immediate -w -t 30; fi; "
            + "rm -rf -- \"$FOLDER\" \"$FOLDER.lock\" \"$SOCKETS\"";
        var start = new ProcessStartInfo("setsid")
        {
            UseShellExecute = false,
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            WorkingDirectory = "/",
        };
        string[] arguments = ["sh", "-c", $"exec >/dev/null 2>&1; {script}", "guard", _binaries.Path("pg_ctl"), _layout.Data];
        foreach (var argument in arguments.Concat(_account.Switches ? _account.Prefix : ["env"]))
        {
            start.ArgumentList.Add(argument);
        }

        start.Environment["FOLDER"] = _layout.Folder;
        start.Environment["SOCKETS"] = _layout.SocketFolder;
        _guard = Process.Start(start);
    }

    private Task<CommandResult> PgCtlAsync(string[] action, CancellationToken cancellation)
    {
        var command = _account.Command([_binaries.Path("pg_ctl"), "-D", _layout.Data, .. action]);
        return Command.RunAsync(command, _options.StepTimeout + TimeSpan.FromSeconds(15), cancellation);
    }

    private string ConnectionStringFor(string database, bool pooling = true) => new NpgsqlConnectionStringBuilder
    {
        Host = _layout.SocketFolder,
        Username = ClusterLayout.Superuser,
        Database = database,
        Pooling = pooling,
        ApplicationName = "agilequant-bench",
    }.ConnectionString;

    /// <summary>Connections pooled before a stop or a crash would fail at their next use.</summary>
    private void ForgetPooledConnections()
    {
        using var connection = new NpgsqlConnection(ConnectionString);
        NpgsqlConnection.ClearPool(connection);
    }

    private string LogTail()
    {
        try
        {
            return string.Join('\n', File.ReadLines(_layout.Log).TakeLast(15));
        }
        catch (IOException)
        {
            return "(no log)";
        }
    }

    private static int? DataMajor(string data)
    {
        var file = Path.Combine(data, "PG_VERSION");
        return File.Exists(file) && int.TryParse(
            File.ReadAllText(file).Trim(), NumberStyles.None, CultureInfo.InvariantCulture, out var major) ? major : null;
    }

    private static async Task<FileStream> TakeTurnAsync(string file, TimeSpan timeout, CancellationToken cancellation)
    {
        var waited = Stopwatch.StartNew();
        while (true)
        {
            try
            {
                return new FileStream(file, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
            }
            catch (IOException) when (waited.Elapsed < timeout)
            {
                await Task.Delay(50, cancellation);
            }
            catch (IOException e)
            {
                throw new EmbeddedPostgresException(
                    $"another process has been starting Postgres for {timeout.TotalSeconds:0} s; it holds {file}.", e);
            }
        }
    }

    private static string Seconds(TimeSpan time) => ((int)time.TotalSeconds).ToString(CultureInfo.InvariantCulture);

    private static void RequireName(string name)
    {
        if (!DatabaseName().IsMatch(name))
        {
            throw new ArgumentException(
                $"'{name}' is no database name: use a lower-case letter, then up to 62 of a-z, 0-9 and _.", nameof(name));
        }
    }

    [GeneratedRegex("^[a-z][a-z0-9_]{0,62}\\z", RegexOptions.NonBacktracking)]
    private static partial Regex DatabaseName();
}

namespace AgileQuant.Infra.Postgres;

/// <summary>
/// The operating-system account the cluster runs as: the user of this process, or another one when that is root,
/// because Postgres refuses to run as root.
/// </summary>
/// <param name="Name">Account name.</param>
/// <param name="Prefix">Command prefix that switches to it; empty when no switch is needed.</param>
/// <param name="Uid">Numeric user id, as text.</param>
internal sealed record PostgresAccount(string Name, IReadOnlyList<string> Prefix, string Uid)
{
    private static readonly TimeSpan Quick = TimeSpan.FromSeconds(10);

    public bool Switches => Prefix.Count > 0;

    public IReadOnlyList<string> Command(params IEnumerable<string> command) => [.. Prefix, .. command];

    /// <exception cref="EmbeddedPostgresException">This process is root and the account does not exist.</exception>
    public static async Task<PostgresAccount> ResolveAsync(string accountForRoot, CancellationToken cancellation)
    {
        if (!Environment.IsPrivilegedProcess)
        {
            return new PostgresAccount(Environment.UserName, [], await IdAsync("-u", null, cancellation) ?? "");
        }

        var uid = await IdAsync("-u", accountForRoot, cancellation);
        var gid = await IdAsync("-g", accountForRoot, cancellation);
        if (uid is null || gid is null)
        {
            throw new EmbeddedPostgresException(
                $"Postgres refuses to run as root, and there is no account '{accountForRoot}' to run it as. "
                + "Run `./bench setup` (the Debian and Ubuntu packages create it), or run as an ordinary user.");
        }

        // setpriv executes in place: no PAM session, no shell, no second process.
        string[] prefix = ["setpriv", "--reuid", uid, "--regid", gid, "--init-groups", "--"];
        return new PostgresAccount(accountForRoot, prefix, uid);
    }

    /// <summary>Makes a folder that only this account (and root) can enter; an existing one must be like that already.</summary>
    /// <exception cref="EmbeddedPostgresException">It exists and belongs to someone else, or is a link.</exception>
    public async Task MakePrivateFolderAsync(string folder, CancellationToken cancellation)
    {
        if (!Path.Exists(folder))
        {
            var made = await Postgres.Command.RunAsync(["mkdir", "-m", "0700", "--", folder], Quick, cancellation);
            Require(made, $"cannot create {folder}");
            if (Switches)
            {
                Require(await Postgres.Command.RunAsync(["chown", "--", Uid, folder], Quick, cancellation), $"cannot give {folder} to {Name}");
            }
        }

        // stat does not follow links, so a link planted in a shared folder is refused too.
        var state = await Postgres.Command.RunAsync(["stat", "-c", "%F|%u|%a", "--", folder], Quick, cancellation);
        if (state.Output.Trim() != $"directory|{Uid}|700")
        {
            throw new EmbeddedPostgresException(
                $"{folder} must be a folder that belongs to {Name} with mode 700, but is: {state.Text}. Remove it, or fix its owner and mode.");
        }
    }

    /// <summary>Checks that this account can enter every folder down to <paramref name="folder"/>.</summary>
    /// <exception cref="EmbeddedPostgresException">It cannot; the message names the first closed folder.</exception>
    public async Task RequireReachableAsync(string folder, CancellationToken cancellation)
    {
        var parts = Path.GetFullPath(folder).Split('/', StringSplitOptions.RemoveEmptyEntries);
        for (var depth = 0; Switches && depth <= parts.Length; depth++)
        {
            var path = "/" + string.Join('/', parts.Take(depth));
            if ((await Postgres.Command.RunAsync(Command("test", "-x", path), Quick, cancellation)).ExitCode != 0)
            {
                throw new EmbeddedPostgresException(
                    $"the account {Name}, which runs Postgres for root, cannot enter {path}. "
                    + $"Choose another place with BENCH_HOME (for root: /var/lib/agilequant-bench), or run: chmod o+x {path}");
            }
        }
    }

    private static async Task<string?> IdAsync(string what, string? account, CancellationToken cancellation)
    {
        string[] command = account is null ? ["id", what] : ["id", what, "--", account];
        var result = await Postgres.Command.RunAsync(command, Quick, cancellation);
        return result.ExitCode == 0 ? result.Output.Trim() : null;
    }

    private static void Require(CommandResult result, string what)
    {
        if (result.ExitCode != 0)
        {
            throw new EmbeddedPostgresException($"{what}: {result.Text}");
        }
    }
}

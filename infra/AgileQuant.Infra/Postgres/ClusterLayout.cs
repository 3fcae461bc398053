using System.Security.Cryptography;
using System.Text;

namespace AgileQuant.Infra.Postgres;

/// <summary>Where the parts of a cluster lie, and what its configuration files say. All pure.</summary>
internal sealed record ClusterLayout(string Folder, string SocketFolder)
{
    /// <summary>The user that the bootstrap superuser of every cluster is called.</summary>
    public const string Superuser = "agilequant";

    /// <summary>Linux allows 107 bytes; the file's own name takes 14 of them.</summary>
    private const int LongestSocketFolder = 100 - 15;

    /// <summary>Held while a process starts the cluster; beside the folder, because it must exist before it.</summary>
    public string Lock => Folder + ".lock";

    public string Data => Path.Combine(Folder, "data");

    /// <summary>initdb works here; renamed to <see cref="Data"/> when complete.</summary>
    public string NewData => Path.Combine(Folder, "data.new");

    public string Log => Path.Combine(Folder, "postgres.log");

    public string PidFile => Path.Combine(Data, "postmaster.pid");

    /// <summary>
    /// The socket folder stands in the cluster's folder, or, when that path is too long for a Unix socket, in
    /// <paramref name="runtimeFolder"/> (or /tmp) under a name made from the account and the cluster's path.
    /// </summary>
    public static ClusterLayout For(string folder, string uid, string? runtimeFolder)
    {
        var full = Path.TrimEndingDirectorySeparator(Path.GetFullPath(folder));
        var beside = Path.Combine(full, "socket");
        if (Encoding.UTF8.GetByteCount(beside) <= LongestSocketFolder)
        {
            return new ClusterLayout(full, beside);
        }

        var hash = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(full)))[..16];
        var parent = runtimeFolder is { Length: > 0 and < 50 } ? runtimeFolder : "/tmp";
        return new ClusterLayout(full, Path.Combine(parent, $"agilequant-pg-{uid}-{hash}"));
    }

    /// <summary>The settings that differ from Postgres's own.</summary>
    public string Settings(bool durable)
    {
        var onOff = durable ? "on" : "off";
        return $"""
            # Written by AgileQuant.Bench at every start: changes here are lost; put yours in postgresql.conf below the include.
            listen_addresses = ''
            unix_socket_directories = '{SocketFolder.Replace("'", "''")}'
            unix_socket_permissions = 0700
            max_connections = 100
            shared_buffers = 64MB
            timezone = 'UTC'
            log_timezone = 'UTC'
            logging_collector = off
            log_line_prefix = '%m [%p] '
            fsync = {onOff}
            synchronous_commit = {onOff}
            full_page_writes = {onOff}

            """;
    }

    /// <summary>
    /// Only the account that runs the cluster, and root, may connect, as the superuser: the kernel tells Postgres
    /// who is at the other end of the socket.
    /// </summary>
    public static string HostBasedAccess => $"local all {Superuser} peer map=bench\n";

    public static string UserMap(string account) => string.Join('\n',
        new[] { account, "root" }.Distinct(StringComparer.Ordinal).Select(user => $"bench \"{user}\" {Superuser}")) + "\n";
}

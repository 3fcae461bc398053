using AgileQuant.Agent;
using AgileQuant.Agent.OpenSsh;
using AgileQuant.Host.Client;
#if WITH_SSHNET
using AgileQuant.Agent.SshNet;
#endif

namespace AgileQuant.Host.Node;

/// <summary>A way to reach boards that this program knows.</summary>
/// <param name="Key">What <c>--transport</c> and <c>BENCH_TRANSPORT</c> call it.</param>
/// <param name="Name">What people read.</param>
internal sealed record Transport(string Key, string Name, Func<IRemoteShellFactory> Make);

/// <summary>The transports that are built in, and the choice between them.</summary>
internal static class Transports
{
    public const string Variable = "BENCH_TRANSPORT";

    /// <summary>Passphrases of encrypted keys, for SSH.NET; the OpenSSH client has its agent.</summary>
    public const string PassphraseVariable = "BENCH_SSH_PASSPHRASE_FILE";

    private const string SshNetKey = "sshnet";

    private static readonly Transport OpenSsh = new("openssh", "OpenSSH", () => new OpenSshShellFactory());

    /// <summary>The default one first.</summary>
    public static IReadOnlyList<Transport> BuiltIn { get; } =
    [
#if WITH_SSHNET
        new(SshNetKey, "SSH.NET", () => new SshNetShellFactory(new SshNetOptions
        {
            PassphraseFile = Environment.GetEnvironmentVariable(PassphraseVariable) is { Length: > 0 } file ? file : null,
        })),
#endif
        OpenSsh,
    ];

    /// <summary>The one that is asked for, or the default.</summary>
    /// <param name="asked">Its key; null: <see cref="Variable"/> says, if set.</param>
    /// <exception cref="BenchException">It is not built in, or there is none of that name.</exception>
    public static Transport Choose(string? asked)
    {
        var variable = Environment.GetEnvironmentVariable(Variable) is { Length: > 0 } given ? given : null;
        if ((asked ?? variable) is not { } key)
            return BuiltIn[0];
        if (BuiltIn.FirstOrDefault(t => t.Key == key) is { } found)
            return found;
        var source = asked is null ? $"{Variable}={key}" : $"--transport {key}";
        throw new BenchException(key == SshNetKey
            ? $"{source}: SSH.NET is not built in. Run `bench setup` where its package restores, or build with -p:WithSshNet=true; without it, use openssh."
            : $"{source}: there is no such transport; built in: {string.Join(", ", BuiltIn.Select(t => t.Key))}");
    }
}

using System.Net;
using AgileQuant.Orchestrator.Contracts;

namespace AgileQuant.Orchestrator.Orleans.Silo;

/// <summary>How this node's silo talks to the others.</summary>
public sealed record SiloSettings
{
    /// <summary>Where other silos reach this one, and where it listens. Loopback: nodes of this machine only.</summary>
    public IPAddress Address { get; init; } = IPAddress.Loopback;

    /// <summary>TCP port; 0: any free one.</summary>
    public int Port { get; init; }

    /// <summary>Null: no TLS.</summary>
    public SiloTls? Tls { get; init; }

    /// <summary>Allows a silo without TLS on an address that other machines reach.</summary>
    public bool AllowPlaintext { get; init; }

    /// <exception cref="UserErrorException">Other machines could reach a silo that believes everybody.</exception>
    public void Check()
    {
        if (Address.Equals(IPAddress.Any) || Address.Equals(IPAddress.IPv6Any))
            throw new UserErrorException("the silo needs the address under which other nodes reach this machine, not a wildcard; set BENCH_SILO_ADDRESS");
        if (!IPAddress.IsLoopback(Address) && Tls is null && !AllowPlaintext)
        {
            throw new UserErrorException(
                $"the silo would listen on {Address} without TLS, and whoever reaches it could drive the boards. Give it a certificate with "
                + "BENCH_SILO_CERTIFICATE and BENCH_SILO_CA, or, in a network that you trust, set BENCH_SILO_PLAINTEXT=1");
        }
    }

    /// <summary>Reads <c>BENCH_SILO_*</c>.</summary>
    /// <param name="variable">Value of an environment variable; null when it is not set.</param>
    /// <param name="advertised">Address under which the node is known to others, when it has one.</param>
    /// <exception cref="UserErrorException">A variable has no usable value.</exception>
    public static SiloSettings Read(Func<string, string?> variable, IPAddress? advertised = null) => new()
    {
        Address = ReadAddress(variable("BENCH_SILO_ADDRESS")) ?? advertised ?? IPAddress.Loopback,
        Port = ReadPort(variable("BENCH_SILO_PORT")),
        Tls = SiloTls.Read(variable),
        AllowPlaintext = variable("BENCH_SILO_PLAINTEXT") is "1" or "true",
    };

    private static IPAddress? ReadAddress(string? text) =>
        string.IsNullOrEmpty(text) ? null
        : IPAddress.TryParse(text, out var address) ? address
        : throw new UserErrorException($"BENCH_SILO_ADDRESS must be an IP address of this machine, not '{text}'");

    private static int ReadPort(string? text) =>
        string.IsNullOrEmpty(text) ? 0
        : int.TryParse(text, out var port) && port is > 0 and <= IPEndPoint.MaxPort ? port
        : throw new UserErrorException($"BENCH_SILO_PORT must be from 1 to {IPEndPoint.MaxPort}, not '{text}'");
}

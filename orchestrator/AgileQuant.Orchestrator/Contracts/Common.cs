namespace AgileQuant.Orchestrator.Contracts;

/// <summary>The user's mistake or a state they can change: the message says what to do. Shown as it is; REST answers 4xx.</summary>
public class UserErrorException : Exception
{
    /// <summary>What a damaged file puts into a message has no end.</summary>
    private const int Longest = 2000;

    public UserErrorException() { }

    /// <param name="message">What is wrong and what to do about it.</param>
    public UserErrorException(string message) : base(Shorten(message)) { }

    public UserErrorException(string message, Exception innerException) : base(Shorten(message), innerException) { }

    private static string Shorten(string message) => message.Length <= Longest ? message : message[..Longest] + " ...";
}

/// <summary>Something changed; readers fetch again. Batched by the feed (at most one a 100 ms and topic).</summary>
/// <param name="Topic"><c>device</c>, <c>matrix</c>, <c>model</c>, <c>dataset</c>, <c>node</c> or <c>engine</c>.</param>
/// <param name="Id">The row that changed; <see cref="Guid.Empty"/>: events may have been missed, read the whole topic again.</param>
public sealed record ChangeEvent(string Topic, Guid Id);

/// <summary>Live changes from all nodes (Postgres notifications with polling behind).</summary>
public interface IChangeFeed
{
    /// <summary>Subscribes until cancelled. The buffer is bounded: a slow reader loses old events, never blocks a writer.</summary>
    IAsyncEnumerable<ChangeEvent> SubscribeAsync(CancellationToken ct = default);
}

/// <summary>A node of the cluster.</summary>
/// <param name="Host">Name of its machine.</param>
/// <param name="Ownership">Ownership implementation it uses; all nodes of a cluster should use the same.</param>
/// <param name="Transport">Remote-shell implementation it uses.</param>
/// <param name="Peer">Where it serves artifacts to other nodes; null: it does not.</param>
/// <param name="Devices">Names of the devices it drives now.</param>
/// <param name="Work">What it packs, tokenizes and scores now, in words.</param>
public sealed record NodeView(
    Guid Id, string Name, string Host, string Version, string Ownership, string Transport, string? Peer, DateTimeOffset StartedAt,
    DateTimeOffset LastSeenAt, bool Alive, IReadOnlyList<string> Devices, IReadOnlyList<string> Work);

/// <summary>What runs this cluster: shown on the status page and in every report.</summary>
/// <param name="Ownership">Ownership implementation in use, for instance <c>Postgres leases</c>.</param>
/// <param name="Transport">Remote-shell implementation in use, for instance <c>openssh</c>; an attempt names what really carried it.</param>
public sealed record StatusView(
    string Version, Guid ClusterId, string Ownership, string Transport, IReadOnlyList<string> BuiltIn, string Database, IReadOnlyList<NodeView> Nodes);

/// <summary>The cluster's own state.</summary>
public interface IStatusService
{
    Task<StatusView> GetAsync(CancellationToken ct = default);
}

/// <summary>Sign-in by a one-time link, then by a session cookie.</summary>
public interface ISignInService
{
    /// <summary>Makes a one-time token, valid for <paramref name="lifetime"/>. Only its hash is stored.</summary>
    Task<string> CreateOneTimeTokenAsync(TimeSpan lifetime, CancellationToken ct = default);

    /// <summary>Redeems a token exactly once; false when it is unknown, used or too old.</summary>
    Task<bool> RedeemAsync(string token, CancellationToken ct = default);
}

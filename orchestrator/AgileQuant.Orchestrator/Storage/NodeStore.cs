using AgileQuant.Orchestrator.Ownership;

namespace AgileQuant.Orchestrator.Storage;

/// <summary>What a node tells the others about itself when it starts.</summary>
/// <param name="Ownership">Ownership implementation in use.</param>
/// <param name="Transport">Remote-shell implementation in use.</param>
/// <param name="Peer">How others fetch its artifacts; null: they cannot.</param>
public sealed record NodeDescription(string Ownership, string Transport, PeerEndpoint? Peer);

/// <summary>Where a node serves its artifacts to other nodes.</summary>
/// <param name="Url">For instance <c>https://10.0.0.5:41234</c>.</param>
/// <param name="CertificateSha256">Of the node's own certificate, lower-case hex; nothing else is accepted there.</param>
/// <param name="Token">Known to nodes through the database only; made anew at each start.</param>
public sealed record PeerEndpoint(string Url, string CertificateSha256, string Token);

/// <summary>Rows of nodes: who is alive. A node counts as alive for one of its own lease times after each beat.</summary>
public sealed class NodeStore(Database database, OrchestratorOptions options)
{
    public Task StartAsync(NodeIdentity node, NodeDescription description, CancellationToken ct) =>
        database.ExecuteAsync(
            """
            insert into node (id, name, version, boot_id, host, ownership, transport, peer_url, peer_certificate_sha256, peer_token, alive_until)
            values (@Id, @Name, @Version, @BootId, @host, @Ownership, @Transport, @Url, @CertificateSha256, @Token, clock_timestamp() + @lease)
            """,
            new
            {
                node.Id,
                node.Name,
                options.Version,
                node.BootId,
                host = Environment.MachineName,
                description.Ownership,
                description.Transport,
                description.Peer?.Url,
                description.Peer?.CertificateSha256,
                description.Peer?.Token,
                lease = options.Lease,
            },
            ct);

    public Task BeatAsync(NodeIdentity node, CancellationToken ct) =>
        database.ExecuteAsync(
            "update node set last_seen_at = clock_timestamp(), alive_until = clock_timestamp() + @lease where id = @Id",
            new { node.Id, lease = options.Lease }, ct);

    /// <summary>Marks the node as stopped and gives back whatever it still holds.</summary>
    public Task StopAsync(NodeIdentity node, CancellationToken ct) =>
        database.ExecuteAsync(
            """
            with released as (update device set lease_node = null, lease_until = null where lease_node = @Id),
                 jobs as (update node_job set lease_until = clock_timestamp() where lease_node = @Id and state = 'running')
            update node set stopped_at = clock_timestamp(), peer_token = null where id = @Id
            """,
            new { node.Id }, ct);

    /// <summary>Other live nodes that serve artifacts.</summary>
    public Task<List<PeerRow>> PeersAsync(NodeIdentity self, CancellationToken ct) =>
        database.QueryAsync<PeerRow>(
            """
            select id, name, peer_url as url, peer_certificate_sha256 as certificate_sha256, peer_token as token
            from live_node where id <> @Id and peer_url is not null and peer_token is not null order by last_seen_at desc
            """,
            new { self.Id }, ct);
}

/// <summary>A node that serves artifacts.</summary>
public sealed class PeerRow
{
    public Guid Id { get; init; }
    public string Name { get; init; } = "";
    public string Url { get; init; } = "";
    public string CertificateSha256 { get; init; } = "";
    public string Token { get; init; } = "";
}

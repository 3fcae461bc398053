using AgileQuant.Orchestrator.Ownership;

namespace AgileQuant.Orchestrator.Storage;

/// <summary>Rows of nodes: who is alive.</summary>
public sealed class NodeStore(Database database, OrchestratorOptions options)
{
    public Task StartAsync(NodeIdentity node, CancellationToken ct) =>
        database.ExecuteAsync(
            "insert into node (id, name, version, boot_id) values (@Id, @Name, @Version, @BootId)",
            new { node.Id, node.Name, options.Version, node.BootId }, ct);

    public Task BeatAsync(NodeIdentity node, CancellationToken ct) =>
        database.ExecuteAsync("update node set last_seen_at = clock_timestamp() where id = @Id", new { node.Id }, ct);

    /// <summary>Marks the node as stopped and gives back whatever it still holds.</summary>
    public Task StopAsync(NodeIdentity node, CancellationToken ct) =>
        database.ExecuteAsync(
            """
            with released as (update device set lease_node = null, lease_until = null where lease_node = @Id),
                 jobs as (update node_job set lease_until = clock_timestamp() where lease_node = @Id and state = 'running'),
                 host as (delete from host_use where holder = @Id)
            update node set stopped_at = clock_timestamp() where id = @Id
            """,
            new { node.Id }, ct);
}

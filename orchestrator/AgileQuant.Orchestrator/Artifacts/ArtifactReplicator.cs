using AgileQuant.Orchestrator.Driving;
using AgileQuant.Orchestrator.Storage;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace AgileQuant.Orchestrator.Artifacts;

/// <summary>
/// Brings what unfinished matrices need to this node before it needs it, so that the end of the only node that had a file does not
/// stop the work of the others. Does nothing while this node is alone.
/// </summary>
public sealed partial class ArtifactReplicator(
    Database database, ArtifactStore store, ArtifactFetcher fetcher, OrchestratorOptions options, WakeSignal wake, ILogger<ArtifactReplicator> logger)
    : BackgroundService
{
    private const string NeededSql = """
        with open as (select r.model_id, r.pack_id, r.token_file_id from run r join matrix m on m.id = r.matrix_id where m.finished_at is null)
        select e.sha256 from engine e where e.current and exists (select 1 from open)
        union select x.sha256 from model x join open o on o.model_id = x.id
        union select p.sha256 from pack p join open o on o.pack_id = p.id where p.sha256 is not null
        union select t.sha256 from token_file t join open o on o.token_file_id = t.id where t.sha256 is not null
        union select d.sha256 from dataset d join token_file t on t.dataset_id = d.id join open o on o.token_file_id = t.id
        """;

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        while (!stoppingToken.IsCancellationRequested)
        {
            try
            {
                await BringAsync(stoppingToken);
            }
            catch (Exception e) when (!stoppingToken.IsCancellationRequested)
            {
                LogFailed(e.Message);
            }
            catch (OperationCanceledException)
            {
                return;
            }

            await wake.WaitAsync(options.PollInterval, stoppingToken);
        }
    }

    private async Task BringAsync(CancellationToken ct)
    {
        if (!await database.FirstAsync<bool>("select count(*) > 1 from live_node", null, ct))
            return;
        foreach (var sha in (await database.QueryAsync<string>(NeededSql, null, ct)).Where(s => !store.Contains(s)))
        {
            try
            {
                await fetcher.PathAsync(sha, ct);
            }
            catch (FileNotFoundException e)
            {
                LogFailed(e.Message); // whoever needs it says so where people look
            }
        }
    }

    [LoggerMessage(LogLevel.Warning, "Not copied from another node: {Reason}")]
    private partial void LogFailed(string reason);
}

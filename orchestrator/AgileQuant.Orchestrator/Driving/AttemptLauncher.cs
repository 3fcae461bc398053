using AgileQuant.Agent;
using AgileQuant.Orchestrator.Domain;
using AgileQuant.Orchestrator.Ownership;
using AgileQuant.Orchestrator.Storage;
using Microsoft.Extensions.Logging;

namespace AgileQuant.Orchestrator.Driving;

/// <summary>Starts the engine of an attempt whose row is written: for the first time, or again after the connection broke before it ran.</summary>
public sealed partial class AttemptLauncher(DriverServices services, DeviceLease lease, BoardSession session, ILogger logger)
{
    private static readonly TimeSpan StopWait = TimeSpan.FromSeconds(10);

    /// <summary>Prepares and starts the engine. False: it does not run and the attempt is ended.</summary>
    public async Task<bool> LaunchAsync(string device, JobRow job, Guid attempt, string engineSha, string plan, CancellationToken ct)
    {
        var cluster = (await services.Database.ClusterIdAsync(ct)).ToString();
        var outcome = await session.RetryAsync(
            async token =>
            {
                var engine = await session.EngineAsync(engineSha, token);
                await engine.PrepareJobAsync(attempt.ToString(), plan, token);
                var answer = await engine.StartAsync(attempt.ToString(), cluster, lease.Epoch, token);
                // A repeated start of our own attempt, whose first answer was lost, finds itself running.
                return answer.Result == StartResult.Busy && (await engine.StatusAsync(null, token)).Running == attempt.ToString()
                    ? answer with { Result = StartResult.Started }
                    : answer;
            },
            ct);
        if (outcome.Result == StartResult.Started)
        {
            await services.Attempts.RunningAsync(lease, attempt, ct);
            return true;
        }

        LogNotStarted(device, outcome.Result, outcome.Message);
        var reason = outcome.Result switch
        {
            StartResult.EpochRefused => throw new LeaseLostException(lease),
            StartResult.OtherCluster => DeviceChecker.OtherCluster(device),
            StartResult.Busy => "an engine runs there already: " + outcome.Message,
            _ => "the engine refused the plan: " + outcome.Message,
        };
        await services.Attempts.AcceptAsync(lease, attempt, "failed", reason, RetryWait(job), ct);
        if (outcome.Result == StartResult.OtherCluster)
            throw new BoardUnfitException(reason);
        if (outcome.Result == StartResult.Busy)
            await StopStrangerAsync(engineSha, ct);
        return false;
    }

    /// <summary>Stops an attempt of this cluster that nobody accounts for, so that the device is not blocked for ever.</summary>
    private async Task StopStrangerAsync(string engineSha, CancellationToken ct)
    {
        var engine = await session.EngineAsync(engineSha, ct);
        if ((await engine.StatusAsync(null, ct)).Running is { } running)
            await engine.StopAsync(running, StopWait, ct);
    }

    private TimeSpan RetryWait(JobRow job) => Backoff.After(job.Attempts + 1, services.Options.RetryFirst, services.Options.RetryMax, Random.Shared.NextDouble());

    [LoggerMessage(LogLevel.Warning, "{Device}: the engine was not started ({Result}): {Message}")]
    private partial void LogNotStarted(string device, StartResult result, string message);
}

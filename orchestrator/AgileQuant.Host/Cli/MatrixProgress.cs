using AgileQuant.Host.Api;
using AgileQuant.Host.Client;
using AgileQuant.Orchestrator.Contracts;
using Spectre.Console;

namespace AgileQuant.Host.Cli;

/// <summary>Follows a matrix: a live table on a terminal, a line a change otherwise. Outlives a restart of the node.</summary>
internal static class MatrixProgress
{
    private const int Reconnects = 60;
    private static readonly TimeSpan Pause = TimeSpan.FromSeconds(1);

    /// <summary>Returns the matrix as it ended.</summary>
    public static async Task<MatrixView> FollowAsync(CliIo io, BenchClient client, string matrix, CancellationToken ct)
    {
        if (!io.Live)
            return await FollowAsync(client, matrix, new Lines(io).Show, io.Note, ct);
        MatrixView? last = null;
        await io.Out.Live(new Text("waiting for the node")).AutoClear(true).StartAsync(async live =>
            last = await FollowAsync(client, matrix, view => live.UpdateTarget(Draw(view)), _ => { }, ct));
        return last!;
    }

    private static async Task<MatrixView> FollowAsync(
        BenchClient client, string matrix, Action<MatrixView> show, Action<string> note, CancellationToken ct)
    {
        MatrixView? last = null;
        for (var broken = 0; broken < Reconnects; broken++)
        {
            try
            {
                await foreach (var view in client.WatchMatrixAsync(matrix, ct))
                {
                    show(last = view);
                    broken = 0;
                }
            }
            catch (BenchException) when (last is not null && !MatrixEndpoints.IsOver(last, DateTimeOffset.UtcNow))
            {
                // the node restarts; the matrix goes on by itself
            }

            if (last is not null && MatrixEndpoints.IsOver(last, DateTimeOffset.UtcNow))
                return last;
            if (broken == 0)
                note("the node went away; waiting for it");
            await Task.Delay(Pause, ct);
        }

        throw new BenchException($"the node does not answer any more; `bench up` starts it, then `bench matrix watch {matrix}` goes on");
    }

    private static Rows Draw(MatrixView view)
    {
        var s = view.Summary;
        var table = Tables.New("Job", "Device", "Model", "Precision", "State", "Progress");
        foreach (var job in view.Jobs.Where(j => j.State is not ("done" or "complete" or "waiting" or "cancelled" or "skipped")).Take(20))
        {
            table.AddRow(Tables.Cells(job.Kind, job.Device ?? "node", job.Model, job.Precision ?? "all",
                job.State + (job.Attempts > 1 ? $" (attempt {job.Attempts})" : "") + (string.IsNullOrEmpty(job.Reason) ? "" : $": {job.Reason}"), $"{job.Progress:P0}"));
        }

        return new Rows(new Text($"{s.Name}: {MatrixCommands.Counts(s)}, {s.Failed} failed (Ctrl-C leaves it running)"), table);
    }

    /// <summary>One line for each job whose state changed; nothing when nothing did.</summary>
    private sealed class Lines(CliIo io)
    {
        private readonly Dictionary<Guid, string> _seen = [];
        private (int Complete, int Skipped) _ended = (-1, 0);

        public void Show(MatrixView view)
        {
            foreach (var job in view.Jobs)
            {
                var state = string.IsNullOrEmpty(job.Reason) ? job.State : $"{job.State}: {job.Reason}";
                if (_seen.TryGetValue(job.Id, out var before) && before == state)
                    continue;
                _seen[job.Id] = state;
                if (before is not null || job.StartedAt is not null)
                    io.Note($"  {job.Kind} {job.Device ?? "node"} {job.Model} {job.Precision}: {state}".Replace("  :", ":", StringComparison.Ordinal));
            }

            var ended = (view.Summary.Complete, view.Summary.Skipped);
            if (ended != _ended)
                io.Note(MatrixCommands.Counts(view.Summary));
            _ended = ended;
        }
    }
}

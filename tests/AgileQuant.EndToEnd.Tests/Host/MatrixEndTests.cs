using AgileQuant.Host.Api;
using AgileQuant.Orchestrator.Contracts;
using Shouldly;
using Xunit;

namespace AgileQuant.EndToEnd.Tests.Host;

public class MatrixEndTests
{
    private static readonly DateTimeOffset Ended = Reports.SampleReport.At;

    [Fact]
    public void A_complete_matrix_is_over_when_the_nodes_own_jobs_are_too()
    {
        MatrixEndpoints.IsOver(View(MatrixState.Complete, "done"), Ended).ShouldBeTrue();
        MatrixEndpoints.IsOver(View(MatrixState.Complete, "running"), Ended).ShouldBeFalse();
        MatrixEndpoints.IsOver(View(MatrixState.Incomplete, "waiting"), Ended).ShouldBeFalse();
        MatrixEndpoints.IsOver(View(MatrixState.Running, "done"), Ended).ShouldBeFalse();
    }

    [Fact]
    public void A_cancelled_matrix_waits_for_nothing()
    {
        MatrixEndpoints.IsOver(View(MatrixState.Cancelled, "waiting"), Ended).ShouldBeTrue();
        MatrixEndpoints.IsOver(View(MatrixState.Cancelling, "done"), Ended).ShouldBeFalse();
    }

    [Fact]
    public void The_comparison_with_the_node_is_waited_for_but_not_for_ever()
    {
        var view = View(MatrixState.Complete, "done");
        var run = view.Runs.First(r => r.Perplexity?.Full is not null);
        var uncompared = view with { Runs = [run with { Perplexity = run.Perplexity! with { NodeAgreement = null } }] };

        MatrixEndpoints.IsOver(uncompared, Ended.AddSeconds(5)).ShouldBeFalse();
        MatrixEndpoints.IsOver(uncompared, Ended.AddMinutes(5)).ShouldBeTrue();
    }

    private static MatrixView View(MatrixState state, string job)
    {
        var matrix = Reports.SampleReport.Create().Matrix;
        return matrix with
        {
            Summary = matrix.Summary with { State = state, FinishedAt = Ended },
            Jobs = [new JobView(Guid.Empty, "score", null, "docs", "fp16", job, null, 1, 1, Ended, Ended, Ended)],
        };
    }
}

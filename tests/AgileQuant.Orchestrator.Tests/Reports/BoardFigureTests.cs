using AgileQuant.Orchestrator.Contracts;
using AgileQuant.Orchestrator.Reports;

namespace AgileQuant.Orchestrator.Tests.Reports;

public sealed class BoardFigureTests
{
    private static RunSummaryView Run(string precision, double? nodeAgreement) => new(
        Guid.Empty, Guid.Empty, Guid.Empty, "pi4", DeviceKind.Real, "model", false, precision, "quality", RunState.Complete, null, null,
        new PerplexityView("llama.cpp-512[0:2]", 43.66, null, null, null, nodeAgreement, null), null, null);

    [Theory]
    [InlineData("w4a8", null, "43.6600 on llama.cpp-512[0:2]; not compared", "43.6600 [0:2], not compared")]
    [InlineData("w4a8", 0.0, "43.6600 on llama.cpp-512[0:2]; equal to the node's, token by token", "43.6600 [0:2], equal to node")]
    [InlineData("w4a8", 0.001, "43.6600 on llama.cpp-512[0:2]; ≤ 1.0e-3 nat from node", "43.6600 [0:2], ≤ 1.0e-3 nat from node")]
    [InlineData("w4a8", 0.5, "43.6600 on llama.cpp-512[0:2]; DISAGREES with the node by 0.5 nat", "43.6600 [0:2], DISAGREES with the node by 0.5 nat")]
    [InlineData("w4a4", 0.5, "43.6600 on llama.cpp-512[0:2]; ≤ 0.5 nat from node", "43.6600 [0:2], ≤ 0.5 nat from node")]
    [InlineData("w4a4", 3.2, "43.6600 on llama.cpp-512[0:2]; DISAGREES with the node by 3.2 nat", "43.6600 [0:2], DISAGREES with the node by 3.2 nat")]
    public void A_boards_perplexity_says_how_it_agrees_with_the_nodes(string precision, double? nats, string words, string inTable)
    {
        Figures.Board(Run(precision, nats)).ShouldBe(words);
        Figures.BoardShort(Run(precision, nats)).ShouldBe(inTable);
    }
}

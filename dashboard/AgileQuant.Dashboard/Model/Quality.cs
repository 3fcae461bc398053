using AgileQuant.Orchestrator.Contracts;
using AgileQuant.Orchestrator.Domain;

namespace AgileQuant.Dashboard.Model;

/// <summary>
/// The perplexity that pages lead with, as reports do: the whole text's, scored once on a node, as soon as it is there; until then
/// that of the few windows that the board computed, which says little about a model but proves that the board computes it right.
/// </summary>
/// <param name="Name">Convention and windows.</param>
/// <param name="StandardError">In perplexity units.</param>
/// <param name="DeltaPercent">Against fp16 on the same windows; null: fp16 itself, or nothing to compare with.</param>
/// <param name="Extent">How much of the text it covers, for a small line; null: the board's windows.</param>
/// <param name="OnBoard">A sentence about the board's own windows, with a space before it; empty where they are the figure.</param>
internal sealed record Quality(
    string Name, double Value, double? StandardError, double? DeltaPercent, double? DeltaStandardErrorPercent, SurvivorView? Survivors, string? Extent, string OnBoard)
{
    /// <summary>Null: nothing was scored yet.</summary>
    public static Quality? Of(RunSummaryView run)
    {
        if (run.Perplexity is not { } board)
        {
            return null;
        }

        return board.Full is { } full && (full.DeltaPercent is not null || PrecisionNames.IsBaseline(run.Precision))
            ? new(full.Name, full.Value, full.StandardError, full.DeltaPercent, full.DeltaStandardErrorPercent, full.Survivors, "whole text",
                $" Scored once on a node; the board computed {board.Name}: {Format.Perplexity(board.Value)}.")
            : new(board.Name, board.Value, board.StandardError, board.DeltaPercent, board.DeltaStandardErrorPercent, board.Survivors, null, "");
    }

    /// <summary>The small line under a figure: its error and what it covers.</summary>
    public string? Detail(string? error) => error is null ? Extent : Extent is null ? $"± {error}" : $"± {error}, {Extent}";
}

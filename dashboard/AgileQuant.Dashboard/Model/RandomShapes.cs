using AgileQuant.Orchestrator.Contracts;

namespace AgileQuant.Dashboard.Model;

/// <summary>The words of the dialog that creates random models.</summary>
internal static class RandomShapes
{
    /// <summary>Chosen when the dialog opens: larger than any cache of a board, small enough for all of them.</summary>
    internal const string First = "demo-150m";

    /// <summary>The name that is proposed for a model: <c>demo-150m</c> is <c>random-150m</c>.</summary>
    internal static string NameOf(string shape) =>
        "random-" + (shape.StartsWith("demo-", StringComparison.Ordinal) ? shape["demo-".Length..] : shape);

    /// <summary>One line of the list.</summary>
    internal static string Option(RandomShapeView shape) =>
        $"{shape.Name}: {Format.Parameters(shape.Parameters)} parameters, {Format.FileSize(shape.FileBytes)} on disk"
        + (shape.Problem is null ? "" : ", no room for it");

    /// <summary>What the chosen one takes.</summary>
    internal static string Needs(RandomShapeView shape) =>
        $"{Title(shape.Architecture)}. {Format.FileSize(shape.FileBytes)} on the node's disk, and each pack of it on top; "
        + $"an fp16 run of 512 tokens needs {Format.Memory(shape.MemoryBytes)} of memory on the board.";

    private static string Title(string architecture) => architecture switch
    {
        "llama" => "LLaMA",
        _ => architecture.ToUpperInvariant(),
    };
}

namespace AgileQuant.Engine;

/// <summary>Ways to choose the layers for <c>prune</c> or <c>low</c>, compared on calibration text.</summary>
/// <param name="What"><c>prune</c> or <c>low</c>.</param>
/// <param name="Ids">Calibration ids that they were scored on.</param>
/// <param name="Options">Those compared; the first is what is taken without a measurement.</param>
public sealed record SearchExplanation(string What, int Ids, IReadOnlyList<SearchedOption> Options);

/// <summary>One of them.</summary>
/// <param name="Layers">Where it acts, for people: <c>2-3: 10.6% each</c>.</param>
/// <param name="Loss">Mean NLL of every target, pruned ones included, above that of the recipe without <c>prune</c> and <c>low</c>; linears rounded to nearest.</param>
/// <param name="Work">Share of the multiply-adds of a prompt's linears that is left (<c>prune</c>), or of those that are 4-bit (<c>low</c>).</param>
/// <param name="Chosen">The one taken: the least loss.</param>
public sealed record SearchedOption(string Layers, double Loss, double Work, bool Chosen);

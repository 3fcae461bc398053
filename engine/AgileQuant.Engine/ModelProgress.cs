namespace AgileQuant.Engine;

/// <summary>How far a model file is written; told after every chunk.</summary>
/// <param name="Share">Of the bytes of all tensors, 0 to 1.</param>
/// <param name="Tensor">Name of the tensor at work.</param>
/// <param name="Number">Its place among all, from 1.</param>
/// <param name="Count">How many tensors there are.</param>
public sealed record ModelProgress(double Share, string Tensor, int Number, int Count);

namespace AgileQuant.Host.Fuzz;

/// <summary>An input that a reader did not take well.</summary>
/// <param name="What">Exception and place, "slow", or "memory".</param>
/// <param name="File">The input; `bench fuzz TARGET --replay FILE` runs it again.</param>
internal sealed record FuzzFinding(string What, string File);

/// <summary>One target's run.</summary>
/// <param name="Coverage">Edges reached (C targets, libFuzzer's count), or different outcomes seen (C#: results and refusals).</param>
/// <param name="Corpus">Inputs that reached something new.</param>
internal sealed record FuzzResult(
    string Target, string Kind, long Executions, double Seconds, long Coverage, int Corpus, IReadOnlyList<FuzzFinding> Findings);

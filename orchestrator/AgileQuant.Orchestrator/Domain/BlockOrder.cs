namespace AgileQuant.Orchestrator.Domain;

/// <summary>In which order a timing job visits its precisions.</summary>
public static class BlockOrder
{
    /// <summary>
    /// Rounds that mirror each other (A B C, C B A, A B C, …), so that slow drift of a board's speed hits all precisions
    /// alike. Each precision has, in each round, one block of each kind, beside each other, so that its pack is loaded once.
    /// </summary>
    public static IEnumerable<(int Round, string Precision, string Kind)> Rounds(
        IReadOnlyList<string> precisions, IReadOnlyList<string> kinds, int rounds)
    {
        for (var round = 0; round < rounds; round++)
        {
            foreach (var precision in round % 2 == 0 ? precisions : precisions.Reverse())
            {
                foreach (var kind in kinds)
                    yield return (round, precision, kind);
            }
        }
    }
}

namespace AgileQuant.Orchestrator.Domain;

/// <summary>How long to wait before something is tried again.</summary>
public static class Backoff
{
    /// <summary>
    /// <paramref name="first"/> doubled for each earlier failure, at most <paramref name="longest"/>, with up to 20% taken off by
    /// <paramref name="jitter"/> (0 to 1) so that many boards behind one switch do not return in step.
    /// </summary>
    public static TimeSpan After(int failures, TimeSpan first, TimeSpan longest, double jitter)
    {
        var doubled = first * Math.Pow(2, Math.Clamp(failures - 1, 0, 20));
        return (doubled < longest ? doubled : longest) * (1 - 0.2 * Math.Clamp(jitter, 0, 1));
    }
}

using Orleans.Configuration;

namespace AgileQuant.Orchestrator.Orleans.Silo;

/// <summary>Orleans' own intervals, all derived from the lease: a dead silo is declared dead within one.</summary>
internal static class SiloTiming
{
    private const int MissedProbes = 3;

    /// <summary>Three probes are missed after at most four probe times and a wait for the next one: five sixths of a lease.</summary>
    public static void Apply(ClusterMembershipOptions options, TimeSpan lease)
    {
        options.ProbeTimeout = lease / 6;
        options.MinProbeTimeout = lease / 12;
        options.MaxProbeTimeout = lease / 6;
        options.NumMissedProbesLimit = MissedProbes;
        options.ExtendProbeTimeoutDuringDegradation = false;
        options.TableRefreshTimeout = lease / 3;
        options.IAmAliveTablePublishTimeout = lease / 3;
        options.NumMissedTableIAmAliveLimit = 3;
        options.DeathVoteExpirationTimeout = lease * 4;
        options.MaxJoinAttemptTime = lease * 4;
        options.DefunctSiloExpiration = TimeSpan.FromHours(1);
        options.DefunctSiloCleanupPeriod = TimeSpan.FromMinutes(10);
    }

    /// <summary>A call to a silo that does not answer fails after this long.</summary>
    public static TimeSpan CallTimeout(TimeSpan lease) => lease / 3;
}

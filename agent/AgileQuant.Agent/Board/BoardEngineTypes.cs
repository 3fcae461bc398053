using AgileQuant.Agent.Protocol;

namespace AgileQuant.Agent;

/// <summary>What <c>aqengine start</c> answered.</summary>
public enum StartResult
{
    Started,

    /// <summary>The board has seen a higher epoch: another node owns it now.</summary>
    EpochRefused,

    /// <summary>The board belongs to another cluster: <c>bench device adopt</c>.</summary>
    OtherCluster,

    /// <summary>An engine runs already.</summary>
    Busy,

    /// <summary>The engine refuses the plan.</summary>
    BadPlan,
}

/// <summary>Answer to a start and the engine's own words about it.</summary>
public sealed record StartOutcome(StartResult Result, string Message);

public enum FollowResult
{
    /// <summary>The journal's <c>end</c> event was read.</summary>
    Ended,

    /// <summary>No engine runs and there is no <c>end</c>: killed, or the board rebooted.</summary>
    Lost,

    /// <summary>The time is up; follow again from the last offset.</summary>
    TimedOut,
}

/// <summary>What <see cref="BoardEngine.FollowAsync"/> yields.</summary>
public abstract record FollowItem
{
    /// <summary>Journal offset in bytes to go on from; store it with what the event caused.</summary>
    public required long NextOffset { get; init; }

    /// <summary>One journal line.</summary>
    public sealed record Line(EngineEvent Event) : FollowItem;

    /// <summary>Always the last item.</summary>
    public sealed record Finished(FollowResult Result) : FollowItem;
}

/// <summary>Files of a finished attempt, now on this machine, each verified by its SHA-256.</summary>
/// <param name="Result">result.json, parsed.</param>
/// <param name="ResultPath">Where result.json is.</param>
/// <param name="JournalPath">Where the whole events.jsonl is.</param>
/// <param name="NllFiles">By block index.</param>
/// <param name="SurvivorFiles">By block index, of pruned packs.</param>
public sealed record CollectedResult(
    EngineResult Result, string ResultPath, string JournalPath, IReadOnlyDictionary<int, string> NllFiles,
    IReadOnlyDictionary<int, string> SurvivorFiles);

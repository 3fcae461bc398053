using AgileQuant.Engine;
using AgileQuant.Orchestrator.Contracts;

namespace AgileQuant.Dashboard.Model;

/// <summary>A state's word and tone; the tone picks the chip's colour, the word always stands beside it.</summary>
public readonly record struct Chip(string Text, string Tone, string Explanation);

/// <summary>Words for states. They are the glossary's.</summary>
internal static class Words
{
    internal const string EmulatedOnly = "emulated: numerics only";
    internal const string SimulatedOnly = "simulated: numerics only";
    internal const string RandomOnly = "random weights: speed only";

    internal static Chip Of(DeviceState state) => state switch
    {
        DeviceState.Registering => new("registering", "busy", "Being connected, probed and self-tested for the first time"),
        DeviceState.Ready => new("ready", "good", "Checked, idle, and free for the next job"),
        DeviceState.Busy => new("busy", "busy", "A job runs on it"),
        DeviceState.Cooling => new("cooling", "warm", "Waits until it is near its idle temperature, so that the next figures are not measured hot"),
        DeviceState.Offline => new("offline", "quiet", "Does not answer; tried again by itself"),
        DeviceState.Bad => new("bad", "bad", "A check failed; its figures are not accepted until a check passes"),
        DeviceState.Retired => new("retired", "quiet", "Removed; its results stay"),
        _ => new(Lower(state), "quiet", ""),
    };

    internal static Chip Of(RunState state) => state switch
    {
        RunState.Waiting => new("waiting", "quiet", "Its device or its pack is not there yet"),
        RunState.Packing => new("packing", "busy", "The model is being quantized and packed on a node"),
        RunState.Queued => new("queued", "quiet", "Ready to run; its device runs one job at a time"),
        RunState.Running => new("running", "busy", "Its job runs on the board"),
        RunState.Complete => new("complete", "good", "Every result that its workload asks for is accepted"),
        RunState.Incomplete => new("incomplete", "bad", "It ended without all its results; the reason says why"),
        RunState.Cancelled => new("cancelled", "quiet", "Cancelled before it was complete; what was accepted stays"),
        RunState.Skipped => new("skipped", "quiet", "Left out for a reason that was known beforehand; the matrix is complete without it"),
        _ => new(Lower(state), "quiet", ""),
    };

    internal static Chip Of(MatrixState state) => state switch
    {
        MatrixState.Running => new("running", "busy", "Some runs are still open"),
        MatrixState.Cancelling => new("cancelling", "warm", "Boards are stopping; finished results stay"),
        MatrixState.Cancelled => new("cancelled", "quiet", "Cancelled; finished results stay"),
        MatrixState.Complete => new("complete", "good", "Every run has all its results, or was skipped for a reason known beforehand"),
        MatrixState.Incomplete => new("incomplete", "bad", "It ended, and some runs lack results; each says why"),
        _ => new(Lower(state), "quiet", ""),
    };

    /// <summary>Job, attempt and pack states come as text from the database.</summary>
    internal static Chip OfText(string state) => new(state, state switch
    {
        "done" or "ready" or "complete" or "accepted" => "good",
        "running" or "packing" or "started" or "pushing" => "busy",
        "failed" or "lost" or "bad" => "bad",
        "cooling" or "stopping" or "retrying" => "warm",
        _ => "quiet",
    }, "");

    internal static string Of(DeviceKind kind) => Lower(kind);

    /// <summary>Why a device of this kind shows no speed; null for a real one.</summary>
    internal static string? NoSpeed(DeviceKind kind) => kind switch
    {
        DeviceKind.Emulated => EmulatedOnly,
        DeviceKind.Simulated => SimulatedOnly,
        _ => null,
    };

    /// <summary>Whether a board refuses us because it obeys another cluster; its driver says so in the reason.</summary>
    internal static bool BelongsToAnotherCluster(DeviceView device) =>
        device.StateReason?.Contains("another cluster", StringComparison.Ordinal) == true;

    internal static string GradeMeaning(char grade) => grade switch
    {
        'A' => "Steady, cool and undisturbed: publish it.",
        'B' => "Good; something small was not ideal, or the board shows no temperature.",
        'C' => "Usable with its reasons beside it.",
        _ => "Do not compare with this figure; measure again.",
    };

    /// <summary>What an import is at; empty before it has begun.</summary>
    internal static string Of(ModelProgress? at) => at is null ? "" : $"Tensor {at.Number} of {at.Count}: {at.Tensor}";

    /// <summary>The reason of a skipped run in few words, for a cell: its part before the semicolon.</summary>
    internal static string InShort(string reason) => reason.IndexOf(';', StringComparison.Ordinal) is > 0 and var at ? reason[..at] : reason;

    internal static bool Open(RunState state) => state is RunState.Waiting or RunState.Packing or RunState.Queued or RunState.Running;

    /// <summary>The paper's way of scoring a pruned run, as a sentence; empty where nothing is pruned.</summary>
    internal static string Survivors(SurvivorView? survivors) => survivors is null ? ""
        : $" Survivors only ({Format.Percent(survivors.Share)} of tokens): {Format.Perplexity(survivors.Value)}"
            + (survivors.BaselineValue is { } fp16 ? $"; fp16 on the same tokens: {Format.Perplexity(fp16)}." : "; fp16 on the same tokens is not there yet.");

    private static string Lower<T>(T value) where T : struct, Enum => value.ToString().ToLowerInvariant();
}

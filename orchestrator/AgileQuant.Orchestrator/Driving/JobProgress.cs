using AgileQuant.Agent.Protocol;
using AgileQuant.Orchestrator.Contracts;

namespace AgileQuant.Orchestrator.Driving;

/// <summary>Folds journal events into progress and telemetry. Pure but for its own counters.</summary>
/// <param name="started">When the attempt started, for telemetry's times.</param>
/// <param name="blocks">Blocks of the attempt's plan.</param>
/// <param name="windows">Windows of a perplexity block; 0 for timing.</param>
/// <param name="resumed">Progress when the attempt was taken over.</param>
public sealed class JobProgress(DateTimeOffset started, int blocks, int windows, double resumed = 0)
{
    private const int MaxPoints = 64;
    private readonly List<TelemetryPoint> _points = [];
    private int _done = (int)Math.Floor(resumed * blocks);
    private int _windows;

    /// <summary>0 to 1; never falls.</summary>
    public double Value { get; private set; } = resumed;

    /// <summary>The engine's own description, once it was read.</summary>
    public JobEvent? Job { get; private set; }

    /// <summary>True when enough is collected to be written down.</summary>
    public bool IsDue => _points.Count >= MaxPoints;

    public void Apply(EngineEvent e)
    {
        switch (e)
        {
            case JobEvent job:
                Job = job;
                break;
            case TelemetryEvent telemetry:
                _points.Add(TelemetryReading.ToPoint(telemetry, started));
                break;
            case WindowEvent:
                _windows++;
                Raise(_done + Math.Min(1, _windows / (double)Math.Max(1, windows)));
                break;
            case BlockEvent { State: "done" or "failed" }:
                _done++;
                _windows = 0;
                Raise(_done);
                break;
        }
    }

    /// <summary>Telemetry since the last call.</summary>
    public IReadOnlyList<TelemetryPoint> TakePoints()
    {
        TelemetryPoint[] points = [.. _points];
        _points.Clear();
        return points;
    }

    private void Raise(double blocksDone) => Value = Math.Max(Value, Math.Min(1, blocksDone / Math.Max(1, blocks)));
}

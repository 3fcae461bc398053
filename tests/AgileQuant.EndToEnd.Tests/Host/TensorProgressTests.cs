using AgileQuant.Engine;
using AgileQuant.Host.Cli;
using Shouldly;
using Xunit;

namespace AgileQuant.EndToEnd.Tests.Host;

public sealed class TensorProgressTests
{
    private readonly Clock _clock = new();
    private readonly List<string> _said = [];

    [Fact]
    public void Without_a_terminal_tensors_are_named_at_most_once_a_second_and_never_twice()
    {
        var lines = new TensorProgress.Lines(_said.Add, "importing", _clock);

        At(0.0, lines, 1);
        At(0.9, lines, 2); // a small model is through by now and says nothing
        At(1.0, lines, 3);
        At(1.5, lines, 4);
        At(2.5, lines, 5);
        At(4.0, lines, 5); // still the same tensor
        At(4.1, lines, 6);

        _said.ShouldBe(
            ["importing tensor 3 of 10: blk.3 (30%)", "importing tensor 5 of 10: blk.5 (50%)", "importing tensor 6 of 10: blk.6 (60%)"]);
    }

    private void At(double seconds, TensorProgress.Lines lines, int tensor)
    {
        _clock.Seconds = seconds;
        lines.Report(new ModelProgress(tensor / 10.0, $"blk.{tensor}", tensor, 10));
    }

    private sealed class Clock : TimeProvider
    {
        public double Seconds { get; set; }

        public override long TimestampFrequency => 1000;

        public override long GetTimestamp() => (long)(Seconds * 1000);
    }
}

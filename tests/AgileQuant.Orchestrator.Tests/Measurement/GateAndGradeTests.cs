using AgileQuant.Orchestrator.Measurement;

namespace AgileQuant.Orchestrator.Tests.Measurement;

public sealed class GateAndGradeTests
{
    private static readonly TimeSpan Timeout = TimeSpan.FromMinutes(5);
    private static readonly GateReference Known = new(40, 1000);

    private static GateReading Reading(double? celsius = 41, double? busy = 0.01, long? loop = null) => new(celsius, busy, loop, null, null);

    [Fact]
    public void A_cool_and_quiet_board_starts_at_once() =>
        Gate.Decide(Reading(), Known, 5, TimeSpan.Zero, Timeout).ShouldBe(new GateDecision(true, null));

    [Fact]
    public void A_hot_board_waits_and_says_why()
    {
        var decision = Gate.Decide(Reading(celsius: 52), Known, 5, TimeSpan.Zero, Timeout);
        decision.Start.ShouldBeFalse();
        decision.Reason.ShouldNotBeNull().ShouldContain("52.0 °C, idle is 40.0 °C");
    }

    [Fact]
    public void After_the_timeout_it_starts_all_the_same_and_says_so()
    {
        var decision = Gate.Decide(Reading(celsius: 52), Known, 5, Timeout, Timeout);
        decision.Start.ShouldBeTrue();
        decision.Reason.ShouldNotBeNull().ShouldContain("although");
    }

    [Fact]
    public void Background_load_is_waited_for_a_minute_only()
    {
        var busy = Reading(busy: 0.5);
        Gate.Decide(busy, Known, 5, TimeSpan.FromSeconds(59), Timeout).Start.ShouldBeFalse();
        Gate.Decide(busy, Known, 5, TimeSpan.FromSeconds(60), Timeout).Start.ShouldBeTrue();
    }

    [Fact]
    public void Without_a_temperature_the_reference_loop_decides()
    {
        Gate.Decide(Reading(celsius: null, loop: 1040), Known, 5, TimeSpan.Zero, Timeout).Start.ShouldBeTrue();
        Gate.Decide(Reading(celsius: null, loop: 1100), Known, 5, TimeSpan.Zero, Timeout).Start.ShouldBeFalse();
        Gate.Decide(Reading(celsius: null), new GateReference(null, null), 5, TimeSpan.Zero, Timeout).Start.ShouldBeTrue("nothing is known");
    }

    private static readonly GradeInput Perfect = new(1, 0.5, 6, 1, true, 1, 0.01, false, null);

    [Fact]
    public void A_clean_measurement_is_an_A_with_a_reason() => TrustGrade.Of(Perfect).Grade.ShouldBe('A');

    public static TheoryData<string, GradeInput, char, string> Worse => new()
    {
        { "spread", Perfect with { MadPercent = 4 }, 'B', "spread" },
        { "much spread", Perfect with { MadPercent = 11 }, 'D', "spread" },
        { "no number", Perfect with { MadPercent = double.NaN }, 'D', "spread" },
        { "drift", Perfect with { DriftPercent = -7 }, 'C', "drifted" },
        { "clocks", Perfect with { ClockResidency = 0.85 }, 'B', "clock" },
        { "warm", Perfect with { StartAboveIdle = 15 }, 'C', "above idle" },
        { "load", Perfect with { BackgroundBusy = 0.4 }, 'D', "cores" },
        { "throttled", Perfect with { Throttled = true }, 'C', "throttled" },
        { "few", Perfect with { Repetitions = 2 }, 'C', "2 repetitions" },
        { "no temperature", Perfect with { HasTemperature = false, StartAboveIdle = null }, 'B', "no temperature" },
        { "gate", Perfect with { GateNote = "started although" }, 'B', "started although" },
    };

    [Theory]
    [MemberData(nameof(Worse))]
    public void Every_defect_lowers_the_grade_and_is_named(string what, GradeInput input, char grade, string words)
    {
        what.ShouldNotBeEmpty();
        var view = TrustGrade.Of(input);
        view.Grade.ShouldBe(grade);
        view.Reasons.ShouldContain(r => r.Contains(words));
    }

    [Fact]
    public void Drift_compares_the_first_with_the_last_third()
    {
        TrustGrade.DriftPercent([100, 100, 95, 95, 90, 90]).ShouldBe(-10, 1e-9);
        TrustGrade.DriftPercent([100, 90]).ShouldBe(0);
    }

    [Fact]
    public void Clock_residency_is_the_share_near_the_maximum()
    {
        TrustGrade.ClockResidency([1500, 1500, 1000, 600], 1500).ShouldBe(0.5);
        TrustGrade.ClockResidency([1500, 1500, 1000, 600], null).ShouldBe(0.5, "the highest reading stands in for an unknown maximum");
        TrustGrade.ClockResidency([], 1500).ShouldBeNull();
    }
}

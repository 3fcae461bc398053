using AgileQuant.Dashboard.Hosting;
using AgileQuant.Dashboard.Model;
using AgileQuant.Dashboard.Tests.Fakes;
using AgileQuant.Orchestrator.Contracts;
using Microsoft.Extensions.Logging.Abstractions;
using Shouldly;
using Xunit;

namespace AgileQuant.Dashboard.Tests.Model;

public sealed class SmallModelTests
{
    [Fact]
    public void Axes_tick_at_round_values_within_their_range()
    {
        var ticks = new Axis(93.2, 201.7, 0, 100).Ticks();
        ticks.ShouldBe([100, 150, 200]);
    }

    [Theory]
    [InlineData("belongs to another cluster: bench device adopt pi4", true)]
    [InlineData("an engine of another cluster runs: stop it there, then adopt again", true)]
    [InlineData("self-test failed", false)]
    [InlineData(null, false)]
    public void Taking_over_is_offered_for_a_board_of_another_cluster_only(string? reason, bool offered)
    {
        var device = FakeDevices.Device("pi4", "pi@10.0.4.11", DeviceState.Bad, reason, null, null);

        Words.BelongsToAnotherCluster(device).ShouldBe(offered);
    }

    [Fact]
    public void A_mistake_of_the_user_is_told_in_its_own_words_and_a_defect_sends_to_the_log()
    {
        Problem.Of(new UserErrorException("choose another name"), NullLogger.Instance, "The import").ShouldBe("choose another name");

        Problem.Of(new InvalidOperationException("secret detail"), NullLogger.Instance, "The import").ShouldContain("log says why");
        Problem.Of(new InvalidOperationException("secret detail"), NullLogger.Instance, "The import").ShouldNotContain("secret detail");
    }

    [Fact]
    public void A_shape_of_random_models_says_what_it_takes_and_proposes_a_name()
    {
        var shape = new RandomShapeView("opt-125m", "opt", 125_237_760, 251_000_000, 400L << 20, null);

        RandomShapes.Option(shape).ShouldBe("opt-125m: 125M parameters, 251 MB on disk");
        RandomShapes.Option(shape with { Problem = "full" }).ShouldEndWith(", no room for it");
        RandomShapes.Needs(shape).ShouldBe(
            "OPT. 251 MB on the node's disk, and each pack of it on top; an fp16 run of 512 tokens needs 400 MiB of memory on the board.");
        RandomShapes.NameOf("demo-150m").ShouldBe("random-150m");
        RandomShapes.NameOf("opt-125m").ShouldBe("random-opt-125m");
    }

    [Fact]
    public void An_axis_over_one_value_or_none_still_has_a_height()
    {
        Axis.Over([5], 0, 100).At(5).ShouldBe(50, 1);
        var none = Axis.Over([], 0, 100);
        (none.High > none.Low).ShouldBeTrue();
    }

    [Fact]
    public void A_line_breaks_where_a_reading_is_missing()
    {
        var axis = new Axis(0, 10, 0, 10);
        Charts.Line([(0, 1), (1, 2), (2, null), (3, 4)], axis, axis).ShouldBe("M0 1L1 2M3 4");
    }

    [Fact]
    public void Long_series_are_thinned_with_first_and_last_kept()
    {
        var thin = Charts.Thin([.. Enumerable.Range(0, 10_000)]);
        (thin.Count, thin[0], thin[^1]).ShouldBe((Charts.MaxPoints, 0, 9999));
    }

    [Theory]
    [InlineData("pi@pi4.local:2222", "pi4")]
    [InlineData("pi@10.0.0.4", "")]
    [InlineData("", "")]
    [InlineData("pi@Lab-2", "lab-2")]
    public void A_name_is_suggested_from_the_host(string address, string expected) => DeviceNaming.Suggest(address).ShouldBe(expected);

    [Theory]
    [InlineData("Pi4")]
    [InlineData("4pi")]
    [InlineData("pi 4")]
    [InlineData("pi4\n")]
    [InlineData("")]
    public void A_name_that_cannot_be_used_is_refused_with_an_example(string name) =>
        Should.Throw<UserErrorException>(() => DeviceNaming.Check(name)).Message.ShouldContain("pi4");

    [Theory]
    [InlineData("ssh-ed25519", "ed25519")]
    [InlineData("ecdsa-sha2-nistp256", "ecdsa")]
    [InlineData("rsa-sha2-512", "rsa")]
    public void The_board_is_asked_for_the_key_of_the_same_algorithm(string algorithm, string file) =>
        DeviceNaming.FingerprintCommand(algorithm).ShouldBe($"ssh-keygen -lf /etc/ssh/ssh_host_{file}_key.pub");

    [Theory]
    [InlineData("/matrices/x?metric=perplexity", "/matrices/x?metric=perplexity")]
    [InlineData("//evil.example", "/")]
    [InlineData("/\\evil.example", "/")]
    [InlineData("https://evil.example", "/")]
    [InlineData("/a\r\nSet-Cookie: x", "/")]
    [InlineData(null, "/")]
    public void Sign_in_returns_to_this_site_only(string? url, string expected) => DashboardAuth.LocalOrHome(url).ShouldBe(expected);

    [Fact]
    public void Every_state_has_a_word_and_an_explanation()
    {
        foreach (var chip in Enum.GetValues<DeviceState>().Select(Words.Of)
            .Concat(Enum.GetValues<RunState>().Select(Words.Of)).Concat(Enum.GetValues<MatrixState>().Select(Words.Of)))
        {
            chip.Text.ShouldNotBeNullOrWhiteSpace();
            chip.Explanation.ShouldNotBeNullOrWhiteSpace();
        }
    }
}

using AgileQuant.Dashboard.Model;
using AgileQuant.Dashboard.Tests.Fakes;
using Shouldly;
using Xunit;

namespace AgileQuant.Dashboard.Tests.Model;

public sealed class SpecDraftTests
{
    private readonly SpecDraft _draft = new() { Name = " shelf " };

    [Fact]
    public void An_empty_form_says_what_to_pick_first() =>
        _draft.Missing(FakeAssets.Models()).ShouldBe(["Pick at least one device.", "Pick at least one model."]);

    [Fact]
    public void A_form_that_measures_nothing_is_not_ready()
    {
        _draft.Devices.Add("pi5");
        _draft.Models.Add("sample-llama");
        (_draft.Prompt, _draft.Generate) = (null, null);
        _draft.Missing(FakeAssets.Models()).ShouldHaveSingleItem().ShouldContain("Set a prompt or generated length");
    }

    [Fact]
    public void Random_weights_take_no_part_in_perplexity()
    {
        _draft.Devices.Add("pi5");
        _draft.Models.Add("random-150m");
        _draft.Models.Add("sample-llama");
        _draft.Dataset = "sdk-heldout";
        var spec = _draft.ToSpec(FakeAssets.Models());
        spec.Name.ShouldBe("shelf");
        spec.Workloads.Count.ShouldBe(2);
        spec.Workloads.Single(w => w.Dataset is not null).Models.ShouldBe(["sample-llama"]);
        spec.Workloads.Single(w => w.Models.Contains("random-150m")).Convention.ShouldBeNull();
    }

    [Fact]
    public void One_kind_of_model_makes_one_workload_called_main()
    {
        _draft.Devices.Add("pi5");
        _draft.Models.Add("random-150m");
        _draft.Dataset = "sdk-heldout";
        var workload = _draft.ToSpec(FakeAssets.Models()).Workloads.ShouldHaveSingleItem();
        (workload.Name, workload.Dataset, workload.Prompt).ShouldBe(("main", null, 512));
    }

    [Fact]
    public void Precisions_keep_their_natural_order_however_they_were_picked()
    {
        _draft.Precisions.Clear();
        foreach (var precision in new[] { "w4a4", "fp16", "w4a8+gptq" })
        {
            _draft.Precisions.Add(precision);
        }

        _draft.ToSpec([]).Precisions.ShouldBe(["fp16", "w4a8+gptq", "w4a4"]);
    }

    [Fact]
    public void A_precision_that_needs_it_asks_for_a_calibration_text_and_only_then_the_spec_has_one()
    {
        _draft.Devices.Add("pi5");
        _draft.Models.Add("sample-llama");
        _draft.Calibration = "sdk-train";
        _draft.ToSpec(FakeAssets.Models()).Calibration.ShouldBeNull();
        _draft.Add("W4A8+TRIP+gptq").ShouldBeNull();
        _draft.Added.ShouldBe(["w4a8+gptq+trip"]);
        _draft.ToSpec(FakeAssets.Models()).Calibration.ShouldBe("sdk-train");
        _draft.Calibration = null;
        _draft.Missing(FakeAssets.Models()).ShouldHaveSingleItem().ShouldContain("w4a8+gptq+trip needs one");
    }

    [Fact]
    public void A_precision_that_does_not_exist_is_refused_in_words_and_not_picked()
    {
        _draft.Add("w4a8+fast").ShouldNotBeNull().ShouldContain("'fast' is unknown");
        _draft.Added.ShouldBeEmpty();
        _draft.Precisions.ShouldBe(["fp16", "w8a8", "w4a8", "w4a4"], ignoreOrder: true);
    }

    [Fact]
    public void Numbers_out_of_range_are_named()
    {
        _draft.Devices.Add("pi5");
        _draft.Models.Add("sample-llama");
        (_draft.Rounds, _draft.Prompt) = (0, 0);
        _draft.Missing(FakeAssets.Models()).Count.ShouldBe(2);
    }
}

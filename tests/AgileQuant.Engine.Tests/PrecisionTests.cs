using FsCheck;
using FsCheck.Fluent;
using Shouldly;

namespace AgileQuant.Engine.Tests;

public sealed class PrecisionTests
{
    [Theory]
    [InlineData("fp16", "fp16", 16, 16)]
    [InlineData("bf16", "bf16", 16, 16)]
    [InlineData("W4A8 ", "w4a8", 4, 8)]
    [InlineData("w4a4+trip+gptq", "w4a4+gptq+trip", 4, 4)]
    [InlineData("w4a8+low0.50", "w4a8+low0.5", 4, 8)]
    [InlineData("w8a8+kv8+prune0.2+log2", "w8a8+log2+prune0.2+kv8", 8, 8)]
    [InlineData("w4a4+prune-paper0.25+uniform+mixed+trip-static+asym", "w4a4+asym+trip-static+mixed+uniform+prune-paper0.25", 4, 4)]
    [InlineData("w4a4+log2", "w4a4", 4, 4)]
    [InlineData("w4a8+softmax", "w4a8", 4, 8)]
    [InlineData("fp16+kv8", "fp16+kv8", 16, 16)]
    public void Names_have_one_canonical_form(string text, string canonical, int weights, int activations)
    {
        var precision = Precision.Parse(text);

        precision.ToString().ShouldBe(canonical);
        (precision.WeightBits, precision.ActivationBits).ShouldBe((weights, activations));
        precision.IsBaseline.ShouldBe(canonical == "fp16");
        precision.Is16Bit.ShouldBe(weights == 16);
        precision.Base.ToString().ShouldBe(canonical.Split('+')[0]);
        precision.Base.With(precision.Options).ShouldBe(precision);
    }

    [Theory]
    [InlineData("w2a8", "this version supports fp16, bf16, w8a8, w4a8, w4a4")]
    [InlineData("", "unknown precision")]
    [InlineData("w4a4+", "the option '' is unknown; there are gptq,")]
    [InlineData("w4a4+fast", "the option 'fast' is unknown; there are gptq,")]
    [InlineData("w4a4+gptq+gptq", "'gptq' stands twice")]
    [InlineData("w4a4+trip+trip-static", "exclude each other")]
    [InlineData("w4a4+uniform+softmax", "uniform and softmax exclude each other")]
    [InlineData("w4a8+prune0.2+prune-paper0.2", "prune and prune-paper exclude each other")]
    [InlineData("w4a8+prune0.2+prune0.3", "prune stands twice")]
    [InlineData("w8a8+asym", "asym is for int4 weights")]
    [InlineData("w8a8+mixed", "has 8 bits already")]
    [InlineData("w4a4+low0.5", "low is for 8-bit activations")]
    [InlineData("w4a8+low0.5+trip-static", "low needs a scale for each token")]
    [InlineData("fp16+gptq", "fp16 takes no option but kv8")]
    [InlineData("bf16+prune0.2", "bf16 takes no option but kv8")]
    [InlineData("w4a8+low", "needs a share above 0 and at most 0.9")]
    [InlineData("w4a8+low0", "needs a share")]
    [InlineData("w4a8+low0.95", "needs a share")]
    [InlineData("w4a8+prune-0.1", "needs a share")]
    [InlineData("w4a8+prune0.12345", "at most three decimals")]
    public void What_is_wrong_with_a_name_is_said(string text, string said)
    {
        Precision.TryParse(text, out _).ShouldBeFalse();
        Should.Throw<FormatException>(() => Precision.Parse(text)).Message.ShouldContain(said);
    }

    [Fact]
    public void Every_precision_reads_its_own_name_in_any_order()
    {
        var options =
            from gptq in Gen.Elements(true, false)
            from asym in Gen.Elements(true, false)
            from trip in Gen.Elements(Enum.GetValues<TripMode>())
            from mixed in Gen.Elements(true, false)
            from probabilities in Gen.Elements<ProbabilityFormat?>(null, ProbabilityFormat.Full, ProbabilityFormat.Log2, ProbabilityFormat.Uniform)
            from low in Gen.Choose(0, 900)
            from prune in Gen.Elements(Enum.GetValues<PruneMode>())
            from share in Gen.Choose(1, 900)
            from kv8 in Gen.Elements(true, false)
            from b in Gen.Elements(Precision.W8A8, Precision.W4A8, Precision.W4A4)
            select b.With(new PrecisionOptions
            {
                Gptq = gptq,
                Asymmetric = asym && b.WeightBits == 4,
                Trip = trip,
                Mixed = mixed && b.WeightBits == 4,
                Probabilities = probabilities,
                LowRatio = b.ActivationBits == 8 && trip != TripMode.Static ? low / 1000m : 0,
                Prune = prune,
                PruneRatio = prune == PruneMode.None ? 0 : share / 1000m,
                Int8KeyValues = kv8,
            });

        Prop.ForAll(options.ToArbitrary(), precision =>
        {
            var parts = precision.ToString().Split('+');
            var reversed = string.Join('+', parts.Skip(1).Reverse().Prepend(parts[0]));
            var read = Precision.Parse(reversed);
            return read == precision && read.GetHashCode() == precision.GetHashCode() && read.ToString() == precision.ToString();
        }).QuickCheckThrowOnFailure();
    }

    [Theory]
    [InlineData("w4a4", false)]
    [InlineData("w4a4+asym+uniform+kv8", false)]
    [InlineData("w4a8+gptq", true)]
    [InlineData("w4a8+trip", true)]
    [InlineData("w4a8+trip-static", true)]
    [InlineData("w4a8+mixed", true)]
    [InlineData("w4a8+low0.5", true)]
    [InlineData("w4a8+prune0.2", true)]
    public void Only_what_measures_needs_a_calibration_text(string text, bool needed)
    {
        var precision = Precision.Parse(text);
        var calibration = new CalibrationText(new string('a', 64), 8, 128);

        precision.NeedsCalibration.ShouldBe(needed);
        PackRecipe.For(precision, calibration: calibration).ToCanonicalJson().Contains("tokens_sha256", StringComparison.Ordinal).ShouldBe(needed);
        if (needed)
            Should.Throw<CalibrationException>(() => PackRecipe.For(precision)).Message.ShouldContain($"{text} needs a calibration text");
        else
            PackRecipe.For(precision, calibration: calibration).Sha256.ShouldBe(PackRecipe.For(precision).Sha256);
    }

    [Fact]
    public void Pruning_in_the_papers_way_uses_a_calibration_text_when_there_is_one()
    {
        var precision = Precision.Parse("w4a8+prune-paper0.3");
        var calibration = new CalibrationText(new string('a', 64), 8, 128);

        precision.NeedsCalibration.ShouldBeFalse();
        PackRecipe.For(precision).Calibration.ShouldBeNull();
        PackRecipe.For(precision, calibration: calibration).Calibration.ShouldBe(calibration);
        PackRecipe.For(precision).ToCanonicalJson().ShouldContain("\"version\":1");
        PackRecipe.For(precision, calibration: calibration).ToCanonicalJson().ShouldContain("\"version\":2");
    }

    [Fact]
    public void A_calibrated_recipe_names_its_text()
    {
        var calibration = new CalibrationText(new string('a', 64), 8, 128);

        PackRecipe.For(Precision.Parse("w4a4+gptq"), 64, calibration).ToCanonicalJson().ShouldBe(
            $$$"""{"calibration":{"context":128,"tokens_sha256":"{{{new string('a', 64)}}}","windows":8},"group_size":64,"method":"gptq","precision":"w4a4+gptq","version":2}""");
    }

    [Theory]
    [InlineData(4095, 8, "give one of at least 4096")]
    [InlineData(5000, 10, null)]
    public void A_short_text_is_refused(int ids, int windows, string? said)
    {
        var tokens = new TokenData(new int[ids], 10, -1, false);

        if (said is not null)
            Should.Throw<CalibrationException>(() => CalibrationText.For(tokens, 512, windows)).Message.ShouldContain(said);
        else
            CalibrationText.For(tokens, 512, windows).Windows.ShouldBe(9);
    }
}

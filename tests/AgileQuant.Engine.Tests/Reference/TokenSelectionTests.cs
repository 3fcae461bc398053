using AgileQuant.Engine.Reference;
using Shouldly;

namespace AgileQuant.Engine.Tests.Reference;

/// <summary>4-bit tokens, pruning and the int8 cache in the reference.</summary>
public sealed class TokenSelectionTests
{
    private static readonly int[] Ids = [.. Packs.Tokens("docs-llama").Ids.Take(48)];

    [Fact]
    public void Below_the_threshold_a_token_leaves_and_the_others_keep_their_positions()
    {
        var tokens = Tokens(6);

        var staying = Selection(prune: 0.5f).Stay(tokens, [0, 0.4f, 0.5f, 0.6f, 0.1f, 0]);

        staying.Select(t => t.Position).ShouldBe([0, 2, 3, 5]); // the start and the last token stay whatever their importance is
        tokens.Select(t => t.IsPruned).ShouldBe([false, true, false, false, true, false]);
    }

    [Fact]
    public void In_the_papers_way_a_share_leaves_and_positions_are_compacted()
    {
        var tokens = Tokens(9);

        var staying = Selection(keep: 0.6f).Stay(tokens, [0, 0.3f, 0.2f, 0.3f, 0.9f, 0.3f, 0.1f, 0.8f, 0]);

        // floor(9 * 0.4) = 3: the lowest two, and of the equal ones the last.
        tokens.Select((t, i) => (t.IsPruned, i)).Where(t => t.IsPruned).Select(t => t.i).ShouldBe([2, 5, 6]);
        staying.Select(t => t.Position).ShouldBe([0, 1, 2, 3, 4, 5]);
        staying[^1].ShouldBe(tokens[8]);
    }

    [Fact]
    public void More_cannot_leave_than_are_not_protected()
    {
        Selection(keep: 0).Stay(Tokens(4), [0, 0, 0, 0]).Length.ShouldBe(2);
    }

    [Fact]
    public void A_token_that_was_low_stays_low()
    {
        var tokens = Tokens(4);
        tokens[2].IsLow = true;
        var selection = Selection(low: 0.5f);

        tokens.Select(t => selection.IsLow(t, 0.5f)).ShouldBe([false, false, true, false]);
        tokens.Select(t => selection.IsLow(t, 0.4f)).ShouldBe([false, true, true, false]);
    }

    [Theory]
    [InlineData("prune0.2")]
    [InlineData("low0.5")]
    public void What_happens_to_a_token_does_not_depend_on_those_behind_it(string option)
    {
        var model = ReferenceModel.Load(Packs.PackWith("docs-llama", "w8a8", option));

        var longer = model.Logits(Ids);
        var shorter = model.Logits(Ids[..30]);

        for (var t = 0; t < 29; t++) // the last token of a prompt is protected
            shorter[t].ShouldBe(longer[t]);
        longer[40].ShouldNotBe(ReferenceModel.Load(Packs.Pack("docs-llama", "w8a8")).Logits(Ids)[40]);
    }

    [Theory]
    [InlineData("docs-llama", "prune0.2")]
    [InlineData("docs-opt", "prune-paper0.4")]
    [InlineData("docs-bloom", "prune-paper0.2")]
    public void Survivors_are_told_beside_the_scores(string model, string option)
    {
        var convention = PerplexityConvention.Parse("gptq-64");

        var (nlls, survivors) = ReferenceModel.Load(Packs.PackWith(model, "w8a8", option))
            .ScoreWithSurvivors(Packs.Tokens(model), convention, 3, 2);

        nlls.Concat([]).ShouldAllBe(w => w.Length == 63 && w.All(float.IsFinite));
        foreach (var window in survivors)
        {
            window[0].ShouldBeTrue(); // the start token
            window.Count(s => s).ShouldBeInRange(20, 62);
            // Layers 1 to 3 lose a half of the ratio each; the last of the 64 tokens predicts nothing.
            if (option == "prune-paper0.2")
                window.Count(s => s).ShouldBe(64 - 6 - 5 - 5 - 1);
        }
    }

    [Fact]
    public void An_int8_cache_changes_little_but_something()
    {
        var plain = ReferenceModel.Load(Packs.Pack("docs-llama", "w8a8")).Logits(Ids);

        var kv8 = ReferenceModel.Load(Packs.PackWith("docs-llama", "w8a8", "kv8")).Logits(Ids);

        var differences = plain.Zip(kv8, (a, b) => a.Zip(b, (x, y) => Math.Abs(x - y)).Average()).ToList();
        differences.Average().ShouldBeInRange(1e-4f, 0.2f);
    }

    [Fact]
    public void The_int8_cache_rounds_a_head_as_the_contract_says()
    {
        float[] head = [1, -0.5f, 0.25f, 0.003f];

        Operations.RoundToInt8(head);

        var scale = 1f / 127;
        head.ShouldBe([(float)(Half)(scale * 127), (float)(Half)(scale * -64), (float)(Half)(scale * 32), 0]); // -63.5 to even
    }

    private static Token[] Tokens(int count) => [.. Enumerable.Range(0, count).Select(i => new Token
    {
        Stream = [],
        Position = i,
        IsProtected = i == 0 || i == count - 1,
    })];

    private static TokenSelection Selection(float low = 0, float prune = 0, float keep = 1) => new(
        new PackOptions
        {
            ActivationLimits = [],
            Probabilities = ProbabilityFormat.Full,
            LowThresholds = [[low], [low]],
            PruneThresholds = [[prune], [prune]],
            PruneKeep = [keep],
            KvBits = 16,
        }, 0);
}

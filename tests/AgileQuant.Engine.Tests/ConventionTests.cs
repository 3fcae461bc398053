using Shouldly;

namespace AgileQuant.Engine.Tests;

public sealed class ConventionTests
{
    [Theory]
    [InlineData("llama.cpp-512", 255, 257)]
    [InlineData("llama.cpp-5", 2, 3)]
    [InlineData("gptq-512", 511, 1)]
    public void Targets_follow_the_convention(string name, int targets, int first)
    {
        var convention = PerplexityConvention.Parse(name);

        (convention.Targets, convention.FirstTarget).ShouldBe((targets, first));
        convention.ToString().ShouldBe(name);
    }

    [Theory]
    [InlineData("llama.cpp")]
    [InlineData("llama.cpp-")]
    [InlineData("llama.cpp-3")]
    [InlineData("gptq--8")]
    [InlineData("gptq-200000")]
    [InlineData("other-512")]
    [InlineData("")]
    [InlineData(null)]
    public void Other_names_are_refused(string? name)
    {
        PerplexityConvention.TryParse(name, out _).ShouldBeFalse();
        Should.Throw<FormatException>(() => PerplexityConvention.Parse(name!)).Message.ShouldContain("llama.cpp-512");
    }

    [Fact]
    public void Windows_do_not_overlap_and_only_llama_cpp_replaces_their_first_id()
    {
        var tokens = new TokenData([1, 10, 11, 12, 13, 14, 15, 16, 17], 20, 1, AddsBos: true);

        new PerplexityConvention("gptq", 4).Window(tokens, 1).ShouldBe([13, 14, 15, 16]);
        new PerplexityConvention("llama.cpp", 4).Window(tokens, 1).ShouldBe([1, 14, 15, 16]);
        new PerplexityConvention("llama.cpp", 4).Window(tokens with { AddsBos = false }, 1).ShouldBe([13, 14, 15, 16]);
        new PerplexityConvention("gptq", 4).WindowCount(9).ShouldBe(2);
        Should.Throw<ArgumentOutOfRangeException>(() => new PerplexityConvention("gptq", 4).Window(tokens, 2));
    }

    [Fact]
    public void Perplexity_is_the_exponential_of_the_mean()
    {
        var convention = new PerplexityConvention("llama.cpp", 6); // 2 targets
        float[][] nlls = [[1, 2], [3, 4]];

        convention.Perplexity(nlls).ShouldBe(Math.Exp(2.5), 1e-12);
        // mean of squares 7.5, minus 2.5 squared: 1.25; divided by count - 1
        convention.StandardError(nlls)!.Value.ShouldBe(Math.Exp(2.5) * Math.Sqrt(1.25 / 3), 1e-12);
        new PerplexityConvention("gptq", 4).StandardError([[1, 2, 3]]).ShouldBeNull();
        Should.Throw<ArgumentException>(() => convention.Perplexity([[1]]));
        Should.Throw<ArgumentException>(() => convention.Perplexity([]));
    }

    [Fact]
    public void Recipes_have_one_canonical_form()
    {
        PackRecipe.For(Precision.W4A8).ToCanonicalJson()
            .ShouldBe("""{"group_size":32,"method":"rtn","precision":"w4a8","version":1}""");
        PackRecipe.For(Precision.W8A8, 64).ShouldBe(PackRecipe.For(Precision.W8A8));
        PackRecipe.For(Precision.W8A8, 64).Sha256.ShouldBe(PackRecipe.For(Precision.W8A8).Sha256);
        PackRecipe.For(Precision.W4A8, 64).Sha256.ShouldNotBe(PackRecipe.For(Precision.W4A8).Sha256);
        Should.Throw<ArgumentOutOfRangeException>(() => PackRecipe.For(Precision.W4A8, 48));
    }
}

using AgileQuant.Engine.Gguf;
using Shouldly;

namespace AgileQuant.Engine.Tests.Samples;

public sealed class OutlierVariantTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void It_is_the_same_function_in_fp32()
    {
        var variant = Write(Packs.DocsLlama());
        var ids = Packs.Tokens("docs-llama").Ids.Take(48).ToList();

        var plain = ReferenceModel.LoadUnpacked(Packs.DocsLlama()).Logits(ids);
        var outliers = ReferenceModel.LoadUnpacked(variant).Logits(ids);

        // A power of two changes no rounding, so that even the last bits agree.
        for (var t = 0; t < ids.Count; t++)
            outliers[t].ShouldBe(plain[t]);
    }

    [Fact]
    public void Norm_channels_grow_and_the_columns_that_read_them_shrink()
    {
        var variant = Write(Packs.DocsLlama());
        using var plain = GgufFile.Open(Packs.DocsLlama());
        using var made = GgufFile.Open(variant);
        var chosen = new OutlierVariant().Choose(256);

        made.Tensors.ShouldAllBe(t => t.Type == TensorType.F32);
        foreach (var tensor in plain.Tensors)
        {
            var before = plain.ReadFloats(tensor);
            var after = made.ReadFloats(made.Tensor(tensor.Name));
            var what = tensor.Name.StartsWith("blk.", StringComparison.Ordinal) ? tensor.Name.Split('.')[2] : "";
            var factor = what switch
            {
                "attn_norm" or "ffn_norm" => 32f,
                "attn_q" or "attn_k" or "attn_v" or "ffn_gate" or "ffn_up" => 1 / 32f,
                _ => 1f,
            };
            for (var i = 0; i < before.Length; i++)
                before[i] *= chosen.Contains((int)(i % tensor.RowLength)) ? factor : 1;
            after.ShouldBe(before, tensor.Name);
        }
    }

    [Fact]
    public void Only_the_channels_of_biased_norms_and_never_biases_of_linears_change()
    {
        var source = Biased("opt");
        using var before = GgufFile.Open(source);
        using var after = GgufFile.Open(Write(source, new OutlierVariant { Channels = 2, Factor = 4 }));
        var chosen = new OutlierVariant { Channels = 2, Factor = 4 }.Choose(32);

        Ratios("blk.0.attn_norm.bias").ShouldBe([4f, 4f]);
        Ratios("blk.0.ffn_norm.weight").ShouldBe([4f, 4f]);
        Ratios("blk.0.attn_q.weight").ShouldBe([0.25f, 0.25f]);
        Ratios("blk.0.attn_q.bias").ShouldBe([1f, 1f]);
        Ratios("blk.0.ffn_up.bias").ShouldBe([1f, 1f]);
        Ratios("blk.0.attn_output.weight").ShouldBe([1f, 1f]);
        Ratios("token_embd_norm.bias").ShouldBe([1f, 1f]);
        Ratios("output_norm.bias").ShouldBe([1f, 1f]);

        IEnumerable<float> Ratios(string name) =>
            chosen.Select(c => after.ReadFloats(after.Tensor(name))[c] / before.ReadFloats(before.Tensor(name))[c]);
    }

    [Fact]
    public void The_seed_chooses_the_channels()
    {
        var first = new OutlierVariant { Seed = 1 }.Choose(256);

        first.Length.ShouldBe(8);
        first.ShouldBeUnique();
        first.ShouldBe(new OutlierVariant { Seed = 1 }.Choose(256));
        new OutlierVariant { Seed = 2 }.Choose(256).ShouldNotBe(first);
    }

    [Fact]
    public void The_variant_packs_and_is_harder_to_quantize()
    {
        var variant = Write(Packs.DocsLlama());
        var tokens = Packs.Tokens("docs-llama");
        var convention = PerplexityConvention.Parse("gptq-64");

        var plain = Loss(Packs.DocsLlama(), "plain");
        Loss(variant, "outliers").ShouldBeGreaterThan(plain + 0.05);

        double Loss(string model, string name)
        {
            Packer.Pack(model, PackRecipe.For(Precision.W4A4), _folder.File(name + ".gguf"), cancellation: TestContext.Current.CancellationToken);
            return ReferenceModel.Load(_folder.File(name + ".gguf")).Score(tokens, convention, 0, 4).SelectMany(w => w).Average(x => (double)x);
        }
    }

    [Fact]
    public void What_it_cannot_be_done_to_is_refused()
    {
        Should.Throw<ArgumentException>(() => Write(Packs.DocsLlama(), new OutlierVariant { Factor = 3 })).Message.ShouldContain("power of two");
        Should.Throw<ArgumentException>(() => Write(Packs.DocsLlama(), new OutlierVariant { Channels = 257 })).Message.ShouldContain("256");
        Should.Throw<ModelFormatException>(() => Write(Packs.Pack("docs-llama", "w8a8"))).Message.ShouldContain("packed");
        Should.Throw<ModelFormatException>(() => Write(Biased("gemma"))).Message.ShouldContain("gemma");
        Should.Throw<ModelFormatException>(() => Write(Biased("opt", keys => keys.Add("opt.norm_after", true)))).Message.ShouldContain("residual");
        Directory.GetFiles(_folder.Path, "*.tmp").ShouldBeEmpty();
    }

    private string Write(string source, OutlierVariant? variant = null)
    {
        var path = _folder.File($"{Guid.NewGuid():N}.gguf");
        (variant ?? new OutlierVariant()).Write(source, path, cancellation: TestContext.Current.CancellationToken);
        return path;
    }

    /// <summary>One block with biases, every value 1: names as in OPT and BLOOM.</summary>
    private string Biased(string architecture, Action<GgufMetadata>? more = null)
    {
        var keys = new GgufMetadata { { "general.architecture", architecture }, { "general.name", "biased" } };
        more?.Invoke(keys);
        string[] norms = ["token_embd_norm", "blk.0.attn_norm", "blk.0.ffn_norm", "output_norm"];
        string[] linears = ["blk.0.attn_q", "blk.0.attn_output", "blk.0.ffn_up"];
        List<GgufTensor> tensors =
        [
            .. norms.Concat(linears).Select(n => new GgufTensor(n + ".bias", TensorType.F32, [32])),
            .. norms.Select(n => new GgufTensor(n + ".weight", TensorType.F32, [32])),
            .. linears.Select(n => new GgufTensor(n + ".weight", TensorType.F16, [32, 32])),
        ];
        var path = _folder.File($"{Guid.NewGuid():N}.gguf");
        using var writer = new GgufWriter(path, keys, tensors);
        foreach (var tensor in tensors)
        {
            var ones = new float[tensor.Elements];
            Array.Fill(ones, 1f);
            if (tensor.Type == TensorType.F32)
                writer.WriteValues<float>(ones);
            else
                writer.WriteValues<Half>(Array.ConvertAll(ones, v => (Half)v));
        }

        writer.Complete();
        return path;
    }
}

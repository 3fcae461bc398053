using AgileQuant.Engine.Gguf;
using AgileQuant.Engine.Quantization;
using Shouldly;

namespace AgileQuant.Engine.Tests.Packing;

public sealed class PackerTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData("fp16")]
    [InlineData("w8a8")]
    [InlineData("w4a8")]
    [InlineData("w4a4")]
    public void The_same_model_and_recipe_give_the_same_bytes(string precision)
    {
        var (path, _) = new TinyModel().Import(_folder, "tiny");
        var recipe = PackRecipe.For(Precision.Parse(precision));

        var first = Packer.Pack(path, recipe, _folder.File("a.gguf"), cancellation: TestContext.Current.CancellationToken);
        var second = Packer.Pack(path, recipe, _folder.File("b.gguf"), cancellation: TestContext.Current.CancellationToken);

        second.Sha256.ShouldBe(first.Sha256);
        TestData.Sha256(File.ReadAllBytes(_folder.File("a.gguf"))).ShouldBe(first.Sha256);
        first.Bytes.ShouldBe(new FileInfo(_folder.File("a.gguf")).Length);
    }

    [Fact]
    public void Packs_made_before_keep_their_names()
    {
        // The SHA names an artifact; a change of layout must be deliberate (and raise agilequant.format).
        var (path, summary) = new TinyModel().Import(_folder, "tiny");

        var names = Precision.All.Select(p => Pack(path, p, 32).Sha256[..16]).Prepend(summary.Sha256[..16]);

        names.ShouldBe(["e8de51d3e842897a", "1c67e59ee5c8b6f1", "727dabc7495d6313", "6f757c25966e5684", "399540952348b569"]);
    }

    [Theory]
    [InlineData(32, 2, 52)]
    [InlineData(64, 1, 52)]
    [InlineData(0, 1, 52)]
    [InlineData(32, 6, 172)]
    [InlineData(128, 2, 172)]
    public void Int4_rows_are_padded_to_whole_groups(int groupSize, int groups, int feedForward)
    {
        var (path, _) = new TinyModel { FeedForward = feedForward }.Import(_folder, "tiny");
        Pack(path, Precision.W4A8, groupSize);

        using var pack = GgufFile.Open(_folder.File("pack.gguf"));
        using var source = GgufFile.Open(path);
        var weight = pack.Tensor("blk.0.ffn_down.weight");
        var scales = pack.ReadFloats(pack.Tensor("blk.0.ffn_down.scale"));
        var padded = weight.RowLength * 2;
        weight.Dimensions.ShouldBe([padded / 2, 32]);
        padded.ShouldBe(Quantizers.Groups(feedForward, groupSize).Size * groups);
        pack.Tensor("blk.0.ffn_down.scale").Dimensions.ShouldBe([groups, 32]);
        var values = new int[padded * 32];
        Quantizers.UnpackNibbles(pack.ReadBytes(weight), values);
        var original = source.ReadFloats(source.Tensor("blk.0.ffn_down.weight"));
        for (var o = 0; o < 32; o++)
        {
            for (var i = 0; i < padded; i++)
            {
                var scale = scales[o * groups + i / (padded / groups)];
                var expected = i < feedForward ? original[o * feedForward + i] : 0;
                (values[o * padded + i] * scale).ShouldBe(expected, scale * 0.51);
            }
        }
    }

    [Theory]
    [InlineData("fp16", false)]
    [InlineData("w8a8", true)]
    [InlineData("w4a4", true)]
    public void Only_quantized_packs_give_a_tied_model_a_head(string precision, bool head)
    {
        var (path, _) = new TinyModel { Tied = true }.Import(_folder, "tied");
        Pack(path, Precision.Parse(precision), 32);

        using var pack = GgufFile.Open(_folder.File("pack.gguf"));
        pack.Contains("output.weight").ShouldBe(head);
        if (head)
        {
            (pack.Tensor("output.weight").Type, pack.Tensor("output.scale").Type).ShouldBe((TensorType.I8, TensorType.F32));
            pack.Tensors.Select(t => t.Name).TakeLast(3).ShouldBe(["output_norm.weight", "output.weight", "output.scale"]);
        }
    }

    [Fact]
    public void Tensors_stand_in_the_documented_order()
    {
        var (path, _) = new TinyModel { Layers = 1 }.Import(_folder, "tiny");
        Pack(path, Precision.W8A8, 32);

        using var pack = GgufFile.Open(_folder.File("pack.gguf"));
        pack.Tensors.Select(t => t.Name).ShouldBe(
        [
            "token_embd.weight", "blk.0.attn_norm.weight", "blk.0.attn_q.weight", "blk.0.attn_q.scale", "blk.0.attn_k.weight",
            "blk.0.attn_k.scale", "blk.0.attn_v.weight", "blk.0.attn_v.scale", "blk.0.attn_output.weight", "blk.0.attn_output.scale",
            "blk.0.ffn_norm.weight", "blk.0.ffn_gate.weight", "blk.0.ffn_gate.scale", "blk.0.ffn_up.weight", "blk.0.ffn_up.scale",
            "blk.0.ffn_down.weight", "blk.0.ffn_down.scale", "output_norm.weight", "output.weight", "output.scale",
        ]);
    }

    [Fact]
    public void Keys_say_what_the_pack_is_and_where_it_came_from()
    {
        var (path, summary) = new TinyModel().Import(_folder, "tiny");
        var result = Pack(path, Precision.W4A4, 64);

        using var pack = GgufFile.Open(_folder.File("pack.gguf"));
        var keys = pack.Metadata;
        keys.Text("agilequant.precision").ShouldBe("w4a4");
        (keys.Integer("agilequant.format"), keys.Integer("agilequant.weight_bits"), keys.Integer("agilequant.activation_bits"))
            .ShouldBe((1, 4, 4));
        keys.Integer("agilequant.group_size").ShouldBe(64);
        keys.Text("agilequant.recipe").ShouldBe(result.Recipe.ToCanonicalJson());
        keys.Text("agilequant.source_sha256").ShouldBe(summary.Sha256);
        keys.Flag("agilequant.random_weights").ShouldBe(false);
    }

    [Fact]
    public void A_bf16_pack_has_rounded_weights_in_format_2()
    {
        var (path, _) = new TinyModel { Type = "F32" }.Import(_folder, "tiny");
        Poison(path, _folder.File("odd.gguf"), "blk.1.ffn_up.weight", 1.00390625f); // halfway between two bf16: to the even one, 1
        Pack(_folder.File("odd.gguf"), Precision.Bf16, 32);

        using var pack = GgufFile.Open(_folder.File("pack.gguf"));
        (pack.Metadata.Integer("agilequant.format"), pack.Metadata.Integer("general.file_type"), pack.Metadata.Text("agilequant.precision"))
            .ShouldBe((2, 32, "bf16"));
        foreach (var name in (string[])["token_embd.weight", "blk.0.attn_q.weight", "blk.1.ffn_up.weight", "output.weight"])
            pack.Tensor(name).Type.ShouldBe(TensorType.BF16, name);
        pack.Tensor("output_norm.weight").Type.ShouldBe(TensorType.F32);
        pack.ReadFloats(pack.Tensor("blk.1.ffn_up.weight"))[10].ShouldBe(1);
    }

    [Theory]
    [InlineData(32)]
    [InlineData(0)]
    public void Weights_with_zero_points_are_what_the_contract_says(int groupSize)
    {
        var (path, _) = new TinyModel { Type = "F32" }.Import(_folder, "tiny");
        Poison(path, _folder.File("odd.gguf"), "blk.0.ffn_down.weight", 5f); // far from symmetric
        Pack(_folder.File("odd.gguf"), Precision.Parse("w4a8+asym"), groupSize);

        using var pack = GgufFile.Open(_folder.File("pack.gguf"));
        using var source = GgufFile.Open(_folder.File("odd.gguf"));
        var (size, groups) = Quantizers.Groups(52, groupSize);
        var zeros = pack.ReadBytes(pack.Tensor("blk.0.ffn_down.zero"));
        pack.Tensor("blk.0.ffn_down.zero").Dimensions.ShouldBe([groups, 32]);
        var scales = pack.ReadFloats(pack.Tensor("blk.0.ffn_down.scale"));
        var values = new int[size * groups * 32];
        Quantizers.UnpackNibbles(pack.ReadBytes(pack.Tensor("blk.0.ffn_down.weight")), values);
        var original = source.ReadFloats(source.Tensor("blk.0.ffn_down.weight"));
        for (var o = 0; o < 32; o++)
        {
            for (var i = 0; i < size * groups; i++)
            {
                var at = o * groups + i / size;
                var q = values[o * size * groups + i] + 8;
                q.ShouldBeInRange(0, 15);
                if (i >= 52)
                    q.ShouldBe(zeros[at]);
                else
                    (scales[at] * (q - zeros[at])).ShouldBe(original[o * 52 + i], scales[at] * 1.01); // the zero point is rounded too
            }
        }
    }

    [Fact]
    public void Options_that_need_no_calibration_stand_in_the_keys()
    {
        var (path, _) = new TinyModel { Layers = 4 }.Import(_folder, "tiny");
        Pack(path, Precision.Parse("w8a8+uniform+prune-paper0.36+kv8"), 32);

        using var pack = GgufFile.Open(_folder.File("pack.gguf"));
        var keys = pack.Metadata;
        (keys.Integer("agilequant.format"), keys.Text("agilequant.probabilities"), keys.Integer("agilequant.kv_bits")).ShouldBe((2, "uniform", 8));
        (keys.Text("agilequant.prune.mode"), keys.Real("agilequant.prune.ratio")).ShouldBe(("paper", 0.36f));
        keys.TryGet<float[]>("agilequant.prune.keep", out var keep).ShouldBeTrue();
        keep.ShouldBe([1, 1, 0.8f, 0.8f], 1e-6); // 0.8 * 0.8 = 1 - 0.36
    }

    [Fact]
    public void Another_text_than_the_recipes_is_refused()
    {
        var (path, _) = new TinyModel().Import(_folder, "tiny");
        var text = new TokenData(new int[5000], 40, -1, false);
        var recipe = PackRecipe.For(Precision.Parse("w8a8+gptq"), calibration: CalibrationText.For(text, 64, 4));

        Should.Throw<CalibrationException>(() => Packer.Pack(path, recipe, _folder.File("a.gguf"))).Message.ShouldContain("needs a calibration text");
        Should.Throw<CalibrationException>(() => Packer.Pack(path, recipe, _folder.File("a.gguf"), text with { AddsBos = true }))
            .Message.ShouldContain("another text was given");
    }

    [Fact]
    public void A_weight_that_is_not_finite_or_too_large_for_fp16_is_refused()
    {
        var (path, _) = new TinyModel { Type = "F32" }.Import(_folder, "tiny");
        foreach (var (value, precision) in ((float, Precision)[])[(float.NaN, Precision.W8A8), (70000f, Precision.Fp16), (float.PositiveInfinity, Precision.W4A8)])
        {
            Poison(path, _folder.File("bad.gguf"), "blk.1.ffn_up.weight", value);

            Should.Throw<ModelFormatException>(() => Pack(_folder.File("bad.gguf"), precision, 32)).Message.ShouldContain("blk.1.ffn_up.weight");
        }

        Directory.GetFiles(_folder.Path, "*.tmp").ShouldBeEmpty();
    }

    [Fact]
    public void A_pack_cannot_be_packed_again()
    {
        var (path, _) = new TinyModel().Import(_folder, "tiny");
        Pack(path, Precision.Fp16, 32);

        Should.Throw<ModelFormatException>(() => Packer.Pack(_folder.File("pack.gguf"), PackRecipe.For(Precision.W8A8), _folder.File("twice.gguf")));
    }

    private PackResult Pack(string path, Precision precision, int groupSize) => Packer.Pack(
        path, PackRecipe.For(precision, groupSize), _folder.File("pack.gguf"), cancellation: TestContext.Current.CancellationToken);

    private static void Poison(string source, string destination, string tensor, float value)
    {
        var bytes = File.ReadAllBytes(source);
        using (var file = GgufFile.Open(source))
            BitConverter.GetBytes(value).CopyTo(bytes, file.Tensor(tensor).Offset + 40);
        File.WriteAllBytes(destination, bytes);
    }
}

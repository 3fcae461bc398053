using AgileQuant.Engine.Gguf;
using FsCheck;
using FsCheck.Fluent;
using Shouldly;

namespace AgileQuant.Engine.Tests.Gguf;

public sealed class GgufTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Every_kind_of_value_comes_back_in_order()
    {
        var keys = new GgufMetadata();
        object[] values =
        [
            (byte)1, (sbyte)-2, (ushort)3, (short)-4, 5u, -6, 7.5f, true, "tęxt", 8ul, -9L, 10.25, (string[])["a", "", "ü"],
            (int[])[1, -2], (float[])[0.5f], (bool[])[true, false], (byte[])[1, 2], (double[])[3], (ulong[])[], (sbyte[])[-1],
        ];
        for (var i = 0; i < values.Length; i++)
            keys.Add($"key.{i}", values[i]);
        Write("all.gguf", keys, []);

        using var file = GgufFile.Open(_folder.File("all.gguf"));

        file.Metadata.Select(p => p.Key).ShouldBe(values.Select((_, i) => $"key.{i}"));
        file.Metadata.Select(p => p.Value).ToArray().ShouldBeEquivalentTo(values);
    }

    [Fact]
    public void Any_tensors_come_back() => Prop.ForAll<byte[][]>(tensors =>
    {
        var contents = tensors.Where(t => t is { Length: > 0 }).ToArray();
        var path = Write("any.gguf", new GgufMetadata(), contents);
        using var file = GgufFile.Open(path);
        return file.Tensors.Select(file.ReadBytes).Zip(contents).All(p => p.First.SequenceEqual(p.Second))
            && file.Tensors.All(t => t.Offset % 32 == 0);
    }).QuickCheckThrowOnFailure();

    [Fact]
    public void A_file_cut_off_anywhere_is_called_truncated_or_no_gguf()
    {
        var bytes = File.ReadAllBytes(Sample());

        foreach (var length in Enumerable.Range(0, 60).Select(i => i * (bytes.Length - 1) / 60).Append(bytes.Length - 1))
        {
            File.WriteAllBytes(_folder.File("cut.gguf"), bytes[..length]);
            Should.Throw<ModelFormatException>(() => GgufFile.Open(_folder.File("cut.gguf")).Dispose(), $"cut to {length}")
                .Message.ShouldContain("cut.gguf");
        }
    }

    [Fact]
    public void Random_damage_gives_a_clear_error_or_a_readable_model_never_a_crash()
    {
        var bytes = File.ReadAllBytes(Sample());
        var path = _folder.File("damaged.gguf");
        var random = new Random(20240501);
        var refused = 0;
        for (var round = 0; round < 400; round++)
        {
            var damaged = (byte[])bytes.Clone();
            for (var flips = random.Next(1, 4); flips > 0; flips--)
                damaged[random.Next(Math.Min(damaged.Length, 3000))] = (byte)random.Next(256);
            File.WriteAllBytes(path, damaged);
            try
            {
                ModelImporter.Import(path, _folder.File("out.gguf"), cancellation: CancellationToken.None);
            }
            catch (ModelFormatException)
            {
                refused++;
            }
        }

        refused.ShouldBeGreaterThan(100);
    }

    [Theory]
    [InlineData("llama.attention.head_count", null, "llama.attention.head_count is missing")]
    [InlineData("general.architecture", "gemma", "'gemma'")]
    [InlineData("llama.rope.scaling.type", "yarn", "'yarn'")]
    [InlineData("llama.expert_count", 8u, "mixture")]
    [InlineData("llama.attention.key_length", 64u, "key_length")]
    [InlineData("agilequant.format", 1u, "packed model")]
    public void Models_that_cannot_run_are_refused_with_the_reason(string key, object? value, string said)
    {
        TinyModel.Rewrite(Sample(), _folder.File("odd.gguf"), keys =>
        {
            if (value is not null)
                keys.Add(key, value);
            else
                keys.Remove(key);
        });

        Should.Throw<ModelFormatException>(() => ModelImporter.Inspect(_folder.File("odd.gguf"))).Message.ShouldContain(said);
    }

    [Fact]
    public void A_missing_tensor_is_named()
    {
        TinyModel.Rewrite(Sample(), _folder.File("less.gguf"), _ => { }, t => t.Name != "blk.1.ffn_up.weight");

        Should.Throw<ModelFormatException>(() => ModelImporter.Inspect(_folder.File("less.gguf"))).Message
            .ShouldContain("blk.1.ffn_up.weight");
    }

    [Fact]
    public void An_unfinished_file_is_not_left_behind()
    {
        using (var writer = new GgufWriter(_folder.File("half.gguf"), new GgufMetadata(), [new GgufTensor("a", TensorType.I8, [4])]))
        {
            writer.Write([1, 2]);
            Should.Throw<InvalidOperationException>(() => writer.Complete());
            Should.Throw<InvalidOperationException>(() => writer.Write([1, 2, 3]));
        }

        Directory.GetFiles(_folder.Path).ShouldBeEmpty();
    }

    [Fact]
    public void Halves_and_floats_convert_exactly_and_round_to_even()
    {
        var values = new Half[4];
        TensorCodec.ToHalves([1 + 1 / 2048f, 1 + 3 / 2048f, -65504, 5.9604645e-8f / 2], values).ShouldBeTrue();
        values.ShouldBe([(Half)1, (Half)(1 + 2 / 1024f), (Half)(-65504), (Half)0]);
        TensorCodec.ToHalves([65520f], new Half[1]).ShouldBeFalse();
        var wide = new float[2];
        TensorCodec.ToFloats(TensorType.BF16, [0x80, 0x3F, 0x20, 0xC0], wide);
        wide.ShouldBe([1f, -2.5f]);
    }

    [Fact]
    public void Four_bit_blocks_hold_neighbours_sixteen_apart()
    {
        var block = new byte[18];
        BitConverter.GetBytes((Half)2).CopyTo(block, 0);
        block[2] = 0xF0; // element 0: 0 - 8, element 16: 15 - 8
        var values = new float[32];

        TensorCodec.ToFloats(TensorType.Q40, block, values);

        (values[0], values[16], values[1]).ShouldBe((-16f, 14f, -16f));
    }

    private string Sample() => File.Exists(_folder.File("sample.gguf")) ? _folder.File("sample.gguf") : new TinyModel().Import(_folder, "sample").Path;

    private string Write(string name, GgufMetadata keys, byte[][] contents)
    {
        var tensors = contents.Select((c, i) => new GgufTensor($"t{i}", TensorType.I8, [c.Length])).ToList();
        using var writer = new GgufWriter(_folder.File(name), keys, tensors);
        foreach (var content in contents)
            writer.Write(content);
        writer.Complete().Bytes.ShouldBe(new FileInfo(_folder.File(name)).Length);
        return _folder.File(name);
    }
}

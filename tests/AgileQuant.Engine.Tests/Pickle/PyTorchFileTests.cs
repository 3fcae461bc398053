using System.IO.Compression;
using System.Runtime.InteropServices;
using AgileQuant.Engine.Gguf;
using AgileQuant.Engine.Pickle;
using Shouldly;

namespace AgileQuant.Engine.Tests.Pickle;

public sealed class PyTorchFileTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Tensors_of_all_three_types_are_read_where_they_lie()
    {
        float[] values = [1, -2, 0.5f, 3, 4, -0.25f];
        new StateDictWriter()
            .Add("f32", "FloatStorage", Bytes(values), 2, 3)
            .Add("f16", "HalfStorage", Bytes(Array.ConvertAll(values, v => (Half)v)), 3, 2)
            .Add("bf16", "BFloat16Storage", Bytes(Array.ConvertAll(values, v => (ushort)(BitConverter.SingleToUInt32Bits(v) >> 16))), 6)
            .Save(_folder.File("model.bin"), withState: true);

        using var file = PyTorchFile.Open(_folder.File("model.bin"));

        file.Tensors.Keys.ShouldBe(["f32", "f16", "bf16"]);
        file.Tensors["f16"].Shape.ShouldBe([3, 2]);
        foreach (var tensor in file.Tensors.Values)
        {
            var bytes = new byte[6 * tensor.Storage.Type.Block().Bytes];
            file.Read(tensor, 0, bytes);
            var read = new float[6];
            TensorCodec.ToFloats(tensor.Storage.Type, bytes, read);
            read.ShouldBe(values);
        }
    }

    [Fact]
    public void Tensors_may_share_a_storage_and_begin_inside_it()
    {
        var writer = new StateDictWriter();
        var key = writer.Store(Bytes([1f, 2, 3, 4, 5, 6]));
        writer.Text("all").Tensor("FloatStorage", key, 6, 0, [3, 2], [2, 1]);
        writer.Text("last").Tensor("FloatStorage", key, 6, 4, [1, 2], [99, 1]); // the stride of a dimension of 1 says nothing
        writer.Save(_folder.File("model.bin"));

        using var file = PyTorchFile.Open(_folder.File("model.bin"));

        var bytes = new byte[4];
        file.Read(file.Tensors["last"], 4, bytes);
        BitConverter.ToSingle(bytes).ShouldBe(6);
        file.Read(file.Tensors["all"], 20, bytes);
        BitConverter.ToSingle(bytes).ShouldBe(6);
        Should.Throw<ArgumentOutOfRangeException>(() => file.Read(file.Tensors["last"], 8, new byte[4]));
    }

    [Fact]
    public void A_parameter_is_its_tensor()
    {
        var writer = new StateDictWriter();
        var key = writer.Store(Bytes([7f]));
        writer.Text("p").Global("torch._utils", "_rebuild_parameter").Raw('(').Tensor("FloatStorage", key, 1, 0, [1], [1])
            .Raw(0x88).Global("collections", "OrderedDict").Raw(')', 'R', 't', 'R').Save(_folder.File("model.bin"));

        using var file = PyTorchFile.Open(_folder.File("model.bin"));

        file.Tensors["p"].Shape.ShouldBe([1]);
    }

    [Theory]
    [InlineData("os", "system")]
    [InlineData("builtins", "eval")]
    [InlineData("torch._utils", "_rebuild_tensor")]
    [InlineData("torch", "LongStorage")]
    public void Names_that_a_state_dict_does_not_need_are_refused(string module, string name)
    {
        new StateDictWriter().Text("x").Global(module, name).Raw('(').Text("touch it").Raw('t', 'R').Save(_folder.File("model.bin"));

        Refusal("model.bin").ShouldContain($"{module}.{name}");
    }

    [Theory]
    [InlineData(new[] { (int)']' }, "opcode 0x5d")] // a list
    [InlineData(new[] { (int)'(', 'o' }, "opcode 0x6f")] // an instance
    [InlineData(new[] { 0x93 }, "opcode 0x93")] // a name from the stack
    [InlineData(new[] { 0x80, 4 }, "protocol 4")]
    [InlineData(new[] { (int)'h', 77 }, "value 77")]
    [InlineData(new[] { (int)'t', 't' }, "mark")]
    [InlineData(new[] { (int)'u' }, "no dict")]
    [InlineData(new[] { (int)')', 'b' }, "OrderedDict")]
    [InlineData(new[] { (int)'R' }, "call")]
    [InlineData(new[] { (int)'Q' }, "refers to data")]
    [InlineData(new[] { 0x8A, 200 }, "200 bytes")]
    [InlineData(new[] { (int)'X', 255, 255, 255, 127 }, "text of")]
    [InlineData(new[] { (int)'X', 9, 0, 0, 0 }, "truncated")]
    [InlineData(new[] { (int)'c', 'o', 's' }, "without end")]
    [InlineData(new[] { (int)'.' }, "on the stack")]
    public void Pickles_that_are_no_state_dict_are_refused_with_the_reason(int[] opcodes, string said)
    {
        new StateDictWriter().Text("x").Raw(opcodes).SaveAsIs(_folder.File("model.bin"));

        Refusal("model.bin").ShouldContain(said);
    }

    [Theory]
    [InlineData(6, 0, new long[] { 3, 2 }, new long[] { 1, 3 }, "not contiguous")]
    [InlineData(6, 0, new long[] { 3, 2 }, new long[] { 2 }, "2 dimensions")]
    [InlineData(6, 1, new long[] { 6 }, new long[] { 1 }, "beyond its storage")]
    [InlineData(6, -1, new long[] { 6 }, new long[] { 1 }, "1 dimensions")]
    [InlineData(6, 0, new long[] { -6 }, new long[] { 1 }, "dimension of -6")]
    [InlineData(6, 0, new long[] { 1L << 40, 1L << 40 }, new long[] { 1L << 40, 1 }, "dimension of")]
    [InlineData(7, 0, new long[] { 7 }, new long[] { 1 }, "24 bytes, 28 were announced")]
    [InlineData(1L << 50, 0, new long[] { 7 }, new long[] { 1 }, "refers to data")]
    public void Tensors_that_cannot_be_are_refused(long elements, long first, long[] shape, long[] strides, string said)
    {
        var writer = new StateDictWriter();
        var key = writer.Store(Bytes([1f, 2, 3, 4, 5, 6]));
        writer.Text("x").Tensor("FloatStorage", key, elements, first, shape, strides).Save(_folder.File("model.bin"));

        Refusal("model.bin").ShouldContain(said);
    }

    [Fact]
    public void Other_files_are_refused_with_what_to_do()
    {
        File.WriteAllBytes(_folder.File("legacy.bin"), [0x80, 2, 0x8A, 10, 0x6C]);
        File.WriteAllBytes(_folder.File("text.bin"), "hello"u8.ToArray());
        File.WriteAllBytes(_folder.File("short.bin"), [1]);
        new StateDictWriter { Compression = CompressionLevel.Optimal }.Add("x", "FloatStorage", new byte[4096], 1024).Save(_folder.File("deflated.bin"));
        new StateDictWriter { ByteOrder = "big" }.Add("x", "FloatStorage", new byte[4], 1).Save(_folder.File("big.bin"));
        new StateDictWriter().Text("epoch").Integer(3).Save(_folder.File("number.bin"));
        new StateDictWriter().Add("x", "FloatStorage", new byte[4096], 1024).Save(_folder.File("whole.bin"));
        File.WriteAllBytes(_folder.File("cut.bin"), File.ReadAllBytes(_folder.File("whole.bin"))[..3000]);

        Refusal("legacy.bin").ShouldContain("save it again with torch.save");
        Refusal("text.bin").ShouldContain("no zip archive");
        Refusal("short.bin").ShouldContain("shorter");
        Refusal("deflated.bin").ShouldContain("compressed");
        Refusal("big.bin").ShouldContain("little-endian");
        Refusal("number.bin").ShouldContain("'epoch' is no tensor");
        Refusal("cut.bin").ShouldContain("truncated");
        Refusal("absent.bin").ShouldContain("no such file");
    }

    [Fact]
    public void Damaged_files_are_refused_and_never_crash()
    {
        new StateDictWriter().Add("a", "FloatStorage", new byte[64], 4, 4).Add("b", "HalfStorage", new byte[8], 4).Save(_folder.File("model.bin"));
        var whole = File.ReadAllBytes(_folder.File("model.bin"));
        var random = new Random(11);
        var refused = 0;
        for (var i = 0; i < 3000; i++)
        {
            var bytes = (byte[])whole.Clone();
            for (var k = 0; k < 1 + i % 4; k++)
                bytes[random.Next(bytes.Length)] = (byte)random.Next(256);
            File.WriteAllBytes(_folder.File("damaged.bin"), i % 5 == 0 ? bytes[..random.Next(bytes.Length)] : bytes);
            try
            {
                using var file = PyTorchFile.Open(_folder.File("damaged.bin"));
                foreach (var tensor in file.Tensors.Values)
                    file.Read(tensor, 0, new byte[tensor.Elements * tensor.Storage.Type.Block().Bytes]);
            }
            catch (ModelFormatException)
            {
                refused++;
            }
        }

        refused.ShouldBeGreaterThan(1000);
    }

    private string Refusal(string name) =>
        Should.Throw<ModelFormatException>(() => PyTorchFile.Open(_folder.File(name)).Dispose()).Message;

    private static byte[] Bytes<T>(T[] values)
        where T : unmanaged => MemoryMarshal.AsBytes(values.AsSpan()).ToArray();
}

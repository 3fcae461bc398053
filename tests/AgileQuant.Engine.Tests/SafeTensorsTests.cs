using System.Text;
using AgileQuant.Engine.SafeTensors;
using FsCheck;
using FsCheck.Fluent;
using Shouldly;

namespace AgileQuant.Engine.Tests;

public sealed class SafeTensorsTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Any_tensors_come_back() => Prop.ForAll<float[][]>(values =>
    {
        var tensors = values.Where(v => v is not null).Select((v, i) => ($"t.{i}", (long[])[v.Length], v)).ToList();
        TinyModel.WriteSafeTensors(_folder.File("any.safetensors"), "F32", tensors);
        using var file = SafeTensorsFile.Open(_folder.File("any.safetensors"));
        return tensors.TrueForAll(t =>
        {
            var buffer = new byte[t.v.Length * 4];
            file.Read(file.Tensors[t.Item1], 0, buffer);
            return t.v.SequenceEqual(Enumerable.Range(0, t.v.Length).Select(i => BitConverter.ToSingle(buffer, i * 4)));
        });
    }).QuickCheckThrowOnFailure();

    [Fact]
    public void A_file_cut_off_anywhere_is_refused()
    {
        TinyModel.WriteSafeTensors(_folder.File("a.safetensors"), "F16", [("a", [3, 2], [1, 2, 3, 4, 5, 6]), ("b", [2], [1, 2])]);
        var bytes = File.ReadAllBytes(_folder.File("a.safetensors"));

        for (var length = 0; length < bytes.Length; length++)
        {
            File.WriteAllBytes(_folder.File("cut.safetensors"), bytes[..length]);
            Should.Throw<ModelFormatException>(() => SafeTensorsFile.Open(_folder.File("cut.safetensors")).Dispose(), $"cut to {length}");
        }
    }

    [Theory]
    [InlineData("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}""", "2 elements")]
    [InlineData("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}""", "truncated")]
    [InlineData("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4000]}}""", "truncated")]
    [InlineData("""{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}""", "corrupt")]
    [InlineData("""{"a":{"dtype":"F32","shape":[9223372036854775807,9],"data_offsets":[0,4]}}""", "corrupt")]
    [InlineData("""{"a":{"shape":[1],"data_offsets":[0,4]}}""", "corrupt")]
    [InlineData("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}}""", "corrupt")]
    [InlineData("""{"a":{"dtype":"F32","shape":1,"data_offsets":[0,4]}}""", "corrupt")]
    [InlineData("[1]", "corrupt")]
    [InlineData("no json", "corrupt")]
    public void Corrupt_headers_are_refused_with_the_reason(string header, string said)
    {
        var path = _folder.File("bad.safetensors");
        File.WriteAllBytes(path, [.. BitConverter.GetBytes((ulong)header.Length), .. Encoding.UTF8.GetBytes(header), .. new byte[8]]);

        Should.Throw<ModelFormatException>(() => SafeTensorsFile.Open(path).Dispose()).Message.ShouldContain(said);
    }
}

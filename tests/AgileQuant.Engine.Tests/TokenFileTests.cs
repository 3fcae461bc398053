using FsCheck;
using FsCheck.Fluent;
using Shouldly;

namespace AgileQuant.Engine.Tests;

public sealed class TokenFileTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Any_ids_come_back() => Prop.ForAll<ushort[], bool>((ids, addsBos) =>
    {
        var path = _folder.File("t.aqtk");
        var sha = TokenFile.Write(path, Array.ConvertAll(ids, i => (int)i), 65536, addsBos ? 7 : -1, addsBos);
        var back = TokenFile.Read(path);
        return back.Ids.SequenceEqual(ids.Select(i => (int)i)) && back.AddsBos == addsBos && back.BosId == (addsBos ? 7 : -1)
            && back.VocabularySize == 65536 && sha == TestData.Sha256(File.ReadAllBytes(path));
    }).QuickCheckThrowOnFailure();

    [Fact]
    public void The_layout_is_the_documented_one()
    {
        TokenFile.Write(_folder.File("t.aqtk"), [5, 6], 9, -1, addsBos: true);

        File.ReadAllBytes(_folder.File("t.aqtk")).ShouldBe(
        [
            (byte)'A', (byte)'Q', (byte)'T', (byte)'K', 1, 0, 0, 0, 9, 0, 0, 0, 255, 255, 255, 255, 1, 0, 0, 0, 0, 0, 0, 0,
            2, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 6, 0, 0, 0,
        ]);
        Directory.GetFiles(_folder.Path).Length.ShouldBe(1);
    }

    [Theory]
    [InlineData(0, 0x00, "AQTK")]
    [InlineData(4, 0x02, "version 2")]
    [InlineData(8, 0x00, "corrupt header")]
    [InlineData(16, 0x02, "corrupt header")]
    [InlineData(24, 0x03, "truncated")]
    [InlineData(31, 0x80, "truncated")]
    [InlineData(32, 0x09, "outside the vocabulary")]
    [InlineData(35, 0xFF, "outside the vocabulary")]
    public void Damage_is_said(int at, byte value, string said)
    {
        TokenFile.Write(_folder.File("t.aqtk"), [5, 6], 9, 1, addsBos: true);
        var bytes = File.ReadAllBytes(_folder.File("t.aqtk"));
        bytes[at] = value;
        File.WriteAllBytes(_folder.File("bad.aqtk"), bytes);

        Should.Throw<ModelFormatException>(() => TokenFile.Read(_folder.File("bad.aqtk"))).Message.ShouldContain(said);
    }

    [Fact]
    public void Files_cut_off_anywhere_are_refused()
    {
        TokenFile.Write(_folder.File("t.aqtk"), [5, 6], 9, 1, addsBos: true);
        var bytes = File.ReadAllBytes(_folder.File("t.aqtk"));

        for (var length = 0; length < bytes.Length; length++)
        {
            File.WriteAllBytes(_folder.File("cut.aqtk"), bytes[..length]);
            Should.Throw<ModelFormatException>(() => TokenFile.Read(_folder.File("cut.aqtk")));
        }
    }

    [Fact]
    public void Ids_outside_the_vocabulary_are_not_written()
    {
        Should.Throw<ArgumentException>(() => TokenFile.Write(_folder.File("t.aqtk"), [9], 9, 1, addsBos: true));
        Should.Throw<ArgumentException>(() => TokenFile.Write(_folder.File("t.aqtk"), [1], 9, 9, addsBos: true));

        Directory.GetFiles(_folder.Path).ShouldBeEmpty();
    }
}

using AgileQuant.Engine.Samples;
using Shouldly;

namespace AgileQuant.Engine.Tests.Samples;

public sealed class HeldOutTextTests
{
    [Fact]
    public void The_sdk_the_models_were_made_with_gives_the_whole_text()
    {
        SampleText.HeldOut().Split('\n').Length.ShouldBe(4352 + 1);
        SampleText.Result.Sha256.ShouldBe(SampleText.Sha256);
        SampleText.Result.Found.ShouldBe(4352);
    }

    [Fact]
    public void Sentences_another_sdk_lacks_are_counted_and_the_order_of_the_list_is_kept()
    {
        using var sdk = new TemporaryFolder();
        Pack(sdk, "Microsoft.B.App.Ref", "b.xml", "<summary>The second sentence in the list is this one, long enough.</summary>");
        Pack(sdk, "Microsoft.A.App.Ref", "c.xml", "<summary>The first sentence in the list is this one, long enough.</summary>");
        string[] wanted =
        [
            "The first sentence in the list is this one, long enough.", "A sentence that no SDK on earth has anywhere at all.",
            "The second sentence in the list is this one, long enough.",
        ];
        File.WriteAllLines(sdk.File("hashes"), wanted.Select(s => TestData.Sha256(System.Text.Encoding.UTF8.GetBytes(s))[..16]));

        var text = HeldOutText.Rebuild(sdk.File("hashes"), sdk.Path);

        text.Text.ShouldBe(wanted[0] + "\n" + wanted[2] + "\n");
        (text.Found, text.Missing).ShouldBe((2, 1));
    }

    [Fact]
    public void Files_are_read_by_base_name_whatever_pack_they_are_in()
    {
        using var sdk = new TemporaryFolder();
        Pack(sdk, "Microsoft.B.App.Ref", "a.xml", "");
        Pack(sdk, "Microsoft.A.App.Ref", "b.xml", "");
        Pack(sdk, "Microsoft.A.App.Ref", "B.xml", "");

        ReferenceDocumentation.Files(sdk.Path).Select(Path.GetFileName).ShouldBe(["B.xml", "a.xml", "b.xml"]);
    }

    [Fact]
    public void A_folder_without_reference_packs_is_explained()
    {
        using var folder = new TemporaryFolder();

        Should.Throw<DirectoryNotFoundException>(() => ReferenceDocumentation.Files(folder.Path)).Message.ShouldContain("DOTNET_ROOT");
    }

    [Theory]
    [InlineData("Gets the <see cref=\"P:System.String.Length\" /> of it.", "Gets the Length of it.")]
    [InlineData("Calls <see cref=\"M:System.Math.Max(System.Int32,System.Int32)\"/>.", "Calls Max.")]
    [InlineData("If <paramref name=\"x\" /> is <see langword=\"null\" />", "If x is null")]
    [InlineData("<para>One</para>\n   <para>two</para>", "One two")]
    [InlineData("a &lt;b&gt; &amp;lt; &quot;c&quot; &#39;d&#x41;", "a <b> &lt; \"c\" 'dA")]
    [InlineData("tabs\tand\u00A0no-break\u2003spaces\u001Cgo", "tabs and no-break spaces go")]
    [InlineData("  ends  ", "ends")]
    public void Text_is_cleaned_as_the_script_does_it(string xml, string plain) => ReferenceDocumentation.Plain(xml).ShouldBe(plain);

    private static void Pack(TemporaryFolder sdk, string pack, string file, string content)
    {
        var folder = sdk.File($"packs/{pack}/10.0.1/ref/net10.0");
        Directory.CreateDirectory(folder);
        File.WriteAllText(Path.Combine(folder, file), content);
    }
}

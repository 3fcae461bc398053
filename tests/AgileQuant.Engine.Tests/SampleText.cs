namespace AgileQuant.Engine.Tests;

/// <summary>The held-out text, rebuilt once for all tests.</summary>
internal static class SampleText
{
    public const string Sha256 = "74d2b247fb173af6fa8c44e4b2228b88ad5f889983ca910bf021bb66ad4152f5";

    private static readonly Lazy<HeldOutText> Rebuilt = new(() => HeldOutText.Rebuild(Path.Combine(TestData.Samples, "heldout.hashes")));

    public static HeldOutText Result => Rebuilt.Value;

    /// <summary>The complete text; skips the test on an SDK whose documentation differs from the one the models were trained on.</summary>
    public static string HeldOut()
    {
        Assert.SkipUnless(Result.Missing == 0, $"this .NET SDK lacks {Result.Missing} of the held-out sentences");
        return Result.Text;
    }
}

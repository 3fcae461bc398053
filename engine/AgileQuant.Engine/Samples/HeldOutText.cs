namespace AgileQuant.Engine;

/// <summary>The held-out evaluation text, rebuilt from the user's SDK.</summary>
public sealed record HeldOutText(string Text, int Found, int Missing, string Sha256)
{
    public static HeldOutText Rebuild(string hashesPath, string? dotnetRoot = null) => throw new NotSupportedException("under construction");
}

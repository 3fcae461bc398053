using System.Text.RegularExpressions;
using Shouldly;
using Xunit;

namespace AgileQuant.Repository.Tests;

/// <summary>Nothing that belongs to one machine or one person may be committed.</summary>
public sealed class SecretsTests
{
    // Written so that they do not find themselves.
    private static readonly (string What, Regex Pattern)[] Forbidden =
    [
        ("a private key", Rule("-{5}BEGIN [A-Z ]*PRIVATE KE[Y]-{5}")),
        ("an access key", Rule(@"\bAKI[A][0-9A-Z]{16}\b")),
        ("a token", Rule(@"\b(gh[pousr]_[A-Za-z0-9]{36}|github_pa[t]_[A-Za-z0-9_]{50,}|xox[abprs]-[A-Za-z0-9-]{20,})")),
        ("a password in an address", Rule(@"[a-z]+://[^\s/:@{}$<>]+:[^\s/@{}$<>]{3,}@[a-z0-9]")),
        ("a path of somebody's machine", Rule(@"(?<![\w.~$}-])/(wor[k]|Use[r]s|mn[t]/[a-z])/[\w.-]+")),
        ("a path in root's home", Rule(@"(?<![\w.~$}-])/roo[t]/(?!\.)[\w-]+")),
        ("a path in somebody's home", Rule(@"(?<![\w.~$}-])/hom[e]/(?!user\b|someone\b|pi\b|you\b|me\b|bench\b|board\b)[a-z][\w-]*/")),
    ];

    private static Regex Rule(string pattern) => new(pattern, RegexOptions.None, TimeSpan.FromSeconds(20));

    [Fact]
    public void No_file_holds_a_secret_or_a_path_of_one_machine()
    {
        var found = new List<string>();
        foreach (var file in Repo.Files.Where(f => new FileInfo(Repo.PathOf(f)).Length < 2_000_000))
        {
            var text = Repo.Read(file);
            found.AddRange(Forbidden.SelectMany(f => f.Pattern.Matches(text).Select(m => $"{file}: {f.What}: {m.Value}")));
        }

        found.ShouldBeEmpty();
    }

    [Theory]
    [InlineData("a private key", "-----BEGIN OPENSSH PRIVATE KEX-----")]
    [InlineData("a path of somebody's machine", "cd /worx/main")]
    [InlineData("a password in an address", "postgresX//me:secret@host")]
    [InlineData("a path in somebody's home", "/homX/alice/x")]
    public void The_patterns_find_what_they_are_for(string what, string almost)
    {
        // The last letter of each word that the patterns look for is changed here, and put right at run time.
        var text = almost.Replace("KEX", "KEY").Replace("worx", "work").Replace("postgresX", "postgres:").Replace("homX", "home");
        Forbidden.Single(f => f.What == what).Pattern.IsMatch(text).ShouldBeTrue();
    }

    [Fact]
    public void No_key_or_local_settings_file_is_in_the_repository()
    {
        string[] names = ["Optional.props", ".env", "id_rsa", "id_ed25519", "known_hosts"];
        Repo.Files.Where(f => names.Contains(Path.GetFileName(f)) || f.EndsWith(".pem", StringComparison.Ordinal)
            || f.EndsWith(".user", StringComparison.Ordinal)).ShouldBeEmpty();
    }
}

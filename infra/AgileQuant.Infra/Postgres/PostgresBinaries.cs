using System.Globalization;

namespace AgileQuant.Infra.Postgres;

/// <summary>A folder of Postgres server programs and their major version.</summary>
internal sealed record PostgresBinaries(string Folder, int Major)
{
    public const int OldestSupported = 14;

    private static readonly string[] Programs = ["initdb", "pg_ctl", "postgres"];

    private const string HowToInstall =
        "Run `./bench setup`, or install them yourself (Debian, Ubuntu: apt-get install postgresql), "
        + "or give a connection string of a server you have.";

    public string Path(string program) => System.IO.Path.Combine(Folder, program);

    /// <summary>
    /// The binaries to use: of the data folder's own version when it exists, else the newest.
    /// </summary>
    /// <exception cref="EmbeddedPostgresException">None fits.</exception>
    public static async Task<PostgresBinaries> FindAsync(string? given, int? dataMajor, CancellationToken cancellation)
    {
        var folders = given is null ? Candidates() : [given];
        var found = new List<PostgresBinaries>();
        foreach (var folder in folders.Distinct(StringComparer.Ordinal).Where(IsComplete))
        {
            if (await MajorOfAsync(folder, cancellation) is { } major)
            {
                found.Add(new PostgresBinaries(folder, major));
            }
        }

        return Choose(found, dataMajor);
    }

    /// <summary>The pure choice among what was found.</summary>
    public static PostgresBinaries Choose(IReadOnlyList<PostgresBinaries> found, int? dataMajor)
    {
        var usable = found.Where(b => b.Major >= OldestSupported).OrderByDescending(b => b.Major).ToList();
        if (usable.Count == 0)
        {
            var old = found.Count == 0 ? "" : $" (only {found.Max(b => b.Major)}, too old)";
            throw new EmbeddedPostgresException(
                $"no Postgres server programs of version {OldestSupported} or newer{old}. {HowToInstall}");
        }

        return usable.FirstOrDefault(b => dataMajor is null || b.Major == dataMajor)
            ?? throw new EmbeddedPostgresException(
                $"the data folder was made by Postgres {dataMajor}, but installed is {usable[0].Major}. "
                + $"Install that version again (apt-get install postgresql-{dataMajor}), or move the data with pg_upgrade.");
    }

    /// <summary>Reads "postgres (PostgreSQL) 15.18 (Debian …)"; null when it is something else.</summary>
    public static int? ParseMajor(string versionLine)
    {
        var words = versionLine.Split(' ', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
        var at = Array.IndexOf(words, "(PostgreSQL)");
        if (at < 0 || at + 1 >= words.Length)
        {
            return null;
        }

        var digits = string.Concat(words[at + 1].TakeWhile(char.IsAsciiDigit));
        return int.TryParse(digits, NumberStyles.None, CultureInfo.InvariantCulture, out var major) ? major : null;
    }

    private static IEnumerable<string> Candidates()
    {
        var debian = Glob("/usr/lib/postgresql", "bin");
        var others = Directory.Exists("/usr")
            ? Directory.EnumerateDirectories("/usr", "pgsql-*").Select(d => System.IO.Path.Combine(d, "bin"))
            : [];
        var path = (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':', StringSplitOptions.RemoveEmptyEntries);
        return debian.Concat(others).Append("/usr/libexec/postgresql").Concat(path);
    }

    private static IEnumerable<string> Glob(string parent, string child) => Directory.Exists(parent)
        ? Directory.EnumerateDirectories(parent).Select(d => System.IO.Path.Combine(d, child))
        : [];

    private static bool IsComplete(string folder) =>
        Programs.All(p => File.Exists(System.IO.Path.Combine(folder, p)));

    private static async Task<int?> MajorOfAsync(string folder, CancellationToken cancellation)
    {
        var command = new[] { System.IO.Path.Combine(folder, "pg_ctl"), "--version" };
        try
        {
            var result = await Command.RunAsync(command, TimeSpan.FromSeconds(10), cancellation);
            return result.ExitCode == 0 ? ParseMajor(result.Output) : null;
        }
        catch (EmbeddedPostgresException)
        {
            return null; // not executable here: as good as absent
        }
    }
}

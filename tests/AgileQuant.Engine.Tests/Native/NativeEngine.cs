using System.Diagnostics;
using System.Text.Json;

namespace AgileQuant.Engine.Tests.Native;

/// <summary>
/// The native engine as the tests find it: the file an environment variable names, else what the build left in the
/// repository, built first if it is missing or older than its sources.
/// </summary>
internal sealed class NativeEngine
{
    private static readonly Lazy<NativeEngine> Host = new(() => new NativeEngine(Binary(HostTarget, "AQENGINE"), []));
    private static readonly Lazy<string> Arm = new(() => Binary("linux-arm64", "AQENGINE_ARM64"));

    private readonly string _binary;
    private readonly string[] _launcher;
    private IReadOnlyList<string>? _isas;

    private NativeEngine(string binary, string[] launcher)
    {
        _binary = binary;
        _launcher = launcher;
    }

    private static string HostTarget =>
        System.Runtime.InteropServices.RuntimeInformation.OSArchitecture == System.Runtime.InteropServices.Architecture.Arm64
            ? "linux-arm64" : "linux-x64";

    /// <summary>Instruction sets this CPU has kernels for, the scalar one included.</summary>
    public IReadOnlyList<string> Isas => _isas ??= ReadIsas();

    /// <summary>The engine for this machine; skips the test when there is no C compiler.</summary>
    public static NativeEngine OfThisMachine() => SkipWithoutCompiler(() => Host.Value);

    /// <summary>The Arm engine under qemu's user mode; skips the test without qemu or an Arm compiler.</summary>
    /// <param name="cpu">A qemu CPU model, for example cortex-a72.</param>
    public static NativeEngine EmulatedArm(string cpu)
    {
        var qemu = OnPath("qemu-aarch64-static") ?? OnPath("qemu-aarch64");
        Assert.SkipWhen(qemu is null, "qemu-aarch64 is not installed (apt-get install qemu-user-static)");
        return SkipWithoutCompiler(() => new NativeEngine(Arm.Value, [qemu, "-cpu", cpu]));
    }

    /// <summary>Runs a command of the engine to its end.</summary>
    /// <returns>Standard output.</returns>
    public string Run(params string[] arguments)
    {
        var (code, output, error) = Execute([.. _launcher, _binary, .. arguments], TimeSpan.FromMinutes(15));
        if (code != 0)
            throw new InvalidOperationException($"aqengine {string.Join(' ', arguments)} ended with {code}: {error}{Tail(output)}");
        return output;
    }

    private IReadOnlyList<string> ReadIsas()
    {
        using var info = JsonDocument.Parse(Run("info"));
        return [.. info.RootElement.GetProperty("isas").EnumerateArray().Select(i => i.GetString()!)];
    }

    private static NativeEngine SkipWithoutCompiler(Func<NativeEngine> find)
    {
        try
        {
            return find();
        }
        catch (PlatformNotSupportedException e)
        {
            Assert.Skip(e.Message);
            throw;
        }
    }

    private static string Binary(string target, string variable)
    {
        if (Environment.GetEnvironmentVariable(variable) is { Length: > 0 } given)
            return given;
        var folder = Path.Combine(TestData.RepositoryRoot, "engine", "native");
        var binary = Path.Combine(folder, "build", target, "aqengine");
        var sources = Directory.GetFiles(Path.Combine(folder, "src"), "*", SearchOption.AllDirectories)
            .Append(Path.Combine(folder, "Makefile")).Append(Path.Combine(folder, "build.sh"));
        if (File.Exists(binary) && sources.All(s => File.GetLastWriteTimeUtc(s) <= File.GetLastWriteTimeUtc(binary)))
            return binary;
        var (code, output, error) = Execute(["sh", Path.Combine(folder, "build.sh"), "--target", target], TimeSpan.FromMinutes(8));
        if (code != 0 && (error.Contains("no compiler", StringComparison.Ordinal) || error.Contains("no arm64 compiler", StringComparison.Ordinal)))
            throw new PlatformNotSupportedException($"no C compiler for {target} on this machine: {error.Trim()}");
        if (code != 0)
            throw new InvalidOperationException($"engine/native/build.sh --target {target} ended with {code}: {error}");
        // make leaves an up-to-date file alone; the time says that it was checked against the sources.
        File.SetLastWriteTimeUtc(binary, DateTime.UtcNow);
        return output.Trim().Split('\n')[^1];
    }

    private static (int Code, string Output, string Error) Execute(IReadOnlyList<string> command, TimeSpan limit)
    {
        using var process = new Process
        {
            StartInfo = new ProcessStartInfo(command[0], command.Skip(1))
            {
                UseShellExecute = false,
                RedirectStandardOutput = true,
                RedirectStandardError = true,
            },
        };
        process.Start();
        var output = process.StandardOutput.ReadToEndAsync();
        var error = process.StandardError.ReadToEndAsync();
        if (!process.WaitForExit(limit))
        {
            process.Kill(entireProcessTree: true);
            throw new TimeoutException($"{string.Join(' ', command)} did not end within {limit}");
        }

        return (process.ExitCode, output.GetAwaiter().GetResult(), error.GetAwaiter().GetResult());
    }

    private static string? OnPath(string name) => (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':')
        .Select(folder => Path.Combine(folder, name)).FirstOrDefault(File.Exists);

    private static string Tail(string text) => text.Length <= 2000 ? text : text[^2000..];
}

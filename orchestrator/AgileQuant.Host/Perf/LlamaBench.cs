using System.Text.Json;
using AgileQuant.Host.Client;

namespace AgileQuant.Host.Perf;

/// <summary>Another engine to compare with: a <c>llama-bench</c> of llama.cpp or of a fork, and its extra options.</summary>
/// <param name="Name">How tables call it.</param>
/// <param name="Program">Path of the binary.</param>
/// <param name="Options">Added to every call, for instance <c>-rtr 1</c>.</param>
internal sealed record LlamaBench(string Name, string Program, IReadOnlyList<string> Options)
{
    /// <summary>What it measured; nanoseconds of each repetition.</summary>
    internal sealed record Result(string Version, IReadOnlyList<double> Prefill, IReadOnlyList<double> Generation);

    /// <summary>The other engine's type for a base of ours.</summary>
    public static string TypeFor(string precision) => precision switch
    {
        "fp16" => "F16",
        "bf16" => "BF16",
        "w8a8" => "Q8_0",
        _ => "Q4_0",
    };

    /// <summary>
    /// The type whose arithmetic it uses for a file of <paramref name="type"/>. ik_llama.cpp repacks F16 weights at load
    /// (<c>-rtr</c>) to bf16 where the CPU multiplies that (its <c>BF16_R16</c>, as of August 2026): half the precision of the
    /// weights, twice the speed, so a comparison with bf16.
    /// </summary>
    /// <param name="type">F16, BF16, Q8_0 or Q4_0.</param>
    /// <param name="cpuHasBf16">This CPU has a bf16 instruction.</param>
    public string ComputedAs(string type, bool cpuHasBf16) => type == "F16" && cpuHasBf16 && Repacks ? "BF16" : type;

    private bool Repacks => Options.Zip(Options.Skip(1).Append("")).Any(o => o is ("-rtr" or "--run-time-repack", "1"));

    /// <summary>Reads <c>NAME=PATH [OPTIONS]</c>.</summary>
    /// <exception cref="BenchException">It is not of that form, or there is no such program.</exception>
    public static LlamaBench Parse(string text)
    {
        var equals = text.IndexOf('=', StringComparison.Ordinal);
        var words = equals > 0 ? text[(equals + 1)..].Split(' ', StringSplitOptions.RemoveEmptyEntries) : [];
        if (words.Length == 0)
            throw new BenchException($"'{text}': write NAME=PATH, for instance \"ik=/opt/ik_llama.cpp/build/bin/llama-bench -rtr 1\"");
        return File.Exists(words[0])
            ? new LlamaBench(text[..equals], Path.GetFullPath(words[0]), words[1..])
            : throw new BenchException($"there is no program {words[0]}; build llama-bench first");
    }

    /// <summary>One prefill and one generation test in one process, each with its own warm-up.</summary>
    public async Task<Result> RunAsync(string model, int threads, int prompt, int generate, int repetitions, CancellationToken ct) =>
        Read(await PerfProcess.RunAsync(Program,
            ["-m", model, "-t", $"{threads}", "-p", $"{prompt}", "-n", $"{generate}", "-r", $"{repetitions}", "-o", "json", .. Options], ct), prompt, generate);

    /// <summary>Reads its JSON; what it writes around it is passed over.</summary>
    /// <exception cref="BenchException">There is no result for the two tests in it.</exception>
    internal static Result Read(string output, int prompt, int generate)
    {
        var (from, to) = (output.IndexOf('[', StringComparison.Ordinal), output.LastIndexOf(']'));
        try
        {
            using var json = JsonDocument.Parse(from >= 0 && to > from ? output[from..(to + 1)] : "[]");
            var tests = json.RootElement.EnumerateArray().ToList();
            var version = tests.Count > 0 && tests[0].TryGetProperty("build_commit", out var commit) ? commit.GetString() ?? "" : "";
            return new Result(version, Samples(prompt, 0), Samples(0, generate));

            List<double> Samples(int promptTokens, int generated) =>
                [.. tests.First(t => t.GetProperty("n_prompt").GetInt32() == promptTokens && t.GetProperty("n_gen").GetInt32() == generated)
                    .GetProperty("samples_ns").EnumerateArray().Select(ns => ns.GetDouble())];
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or KeyNotFoundException or FormatException)
        {
            throw new BenchException($"llama-bench's answer has no such tests ({prompt} and {generate} tokens): {output[..Math.Min(300, output.Length)]}", e);
        }
    }
}

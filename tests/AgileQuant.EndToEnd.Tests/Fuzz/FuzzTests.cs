using AgileQuant.Engine;
using AgileQuant.Host.Fuzz;
using AgileQuant.Host.Fuzz.Mutation;
using Shouldly;
using Xunit;

namespace AgileQuant.EndToEnd.Tests.Fuzz;

public sealed class FuzzTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("aqb-fuzz-").FullName;

    public static TheoryData<string> Targets => [.. FuzzTarget.All.Select(t => t.Name)];

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [MemberData(nameof(Targets))]
    public void Every_reader_takes_the_corpus_and_a_hundred_damaged_files(string name)
    {
        var target = FuzzTarget.All.First(t => t.Name == name);

        var result = Fuzzer(target).Run(TimeSpan.FromMinutes(2), 100, 7, _ => { }, TestContext.Current.CancellationToken);

        result.Findings.Select(f => $"{f.What}: {File.ReadAllText(f.File + ".txt")}").ShouldBeEmpty();
        result.Executions.ShouldBeGreaterThan(Directory.GetFiles(Seeds(name)).Length);
        result.Coverage.ShouldBeGreaterThan(1);
    }

    [Theory]
    [MemberData(nameof(Targets))]
    public void Every_target_has_a_seed_that_is_read_to_the_end(string name)
    {
        var target = FuzzTarget.All.First(t => t.Name == name);
        foreach (var companion in target.Companions)
            File.Copy(Path.Combine(Seeds("model"), companion), Path.Combine(_folder, companion));

        Directory.GetFiles(Seeds(name)).Any(seed =>
        {
            File.Copy(seed, Path.Combine(_folder, target.FileName), overwrite: true);
            try
            {
                target.Run(_folder);
                return true;
            }
            catch (Exception e) when (FuzzTarget.IsRefusal(e))
            {
                return false;
            }
        }).ShouldBeTrue();
    }

    [Fact]
    public void The_same_seed_makes_the_same_files()
    {
        foreach (var target in FuzzTarget.All)
        {
            var seeds = Directory.GetFiles(Seeds(target.Name)).Order(StringComparer.Ordinal).Select(File.ReadAllBytes).ToList();
            Damage(3).ShouldBe(Damage(3), target.Name);
            Damage(4).ShouldNotBe(Damage(3), target.Name);

            List<string> Damage(int seed)
            {
                var random = new Random(seed);
                return [.. Enumerable.Range(0, 30).Select(i => Convert.ToBase64String(target.Mutator.Mutate(seeds[i % seeds.Count], seeds[0], random)))];
            }
        }
    }

    [Fact]
    public void A_reader_that_breaks_is_found_and_the_finding_breaks_it_again()
    {
        var broken = Tokens(path =>
        {
            if (File.ReadAllBytes(path).Length % 5 == 1)
                throw new InvalidCastException("broken");
        });

        var found = Fuzzer(broken).Run(TimeSpan.FromMinutes(1), 2000, 1, _ => { }, TestContext.Current.CancellationToken).Findings.ShouldHaveSingleItem();

        found.What.ShouldContain(nameof(InvalidCastException));
        Fuzzer(broken).Replay([found.File]).Findings.ShouldHaveSingleItem();
        Fuzzer(Tokens(_ => { })).Replay([found.File]).Findings.ShouldBeEmpty();
    }

    [Fact]
    public void A_reader_that_takes_too_much_memory_is_found()
    {
        var greedy = Tokens(path =>
        {
            if (File.ReadAllBytes(path).Length < 32)
                GC.KeepAlive(new byte[600 << 20]);
        });

        Fuzzer(greedy).Run(TimeSpan.FromMinutes(1), 300, 1, _ => { }, TestContext.Current.CancellationToken).Findings.ShouldContain(f => f.What == "memory");
    }

    [Fact]
    public void Refusals_are_the_products_own_words()
    {
        FuzzTarget.IsRefusal(new ModelFormatException("x")).ShouldBeTrue();
        FuzzTarget.IsRefusal(new InvalidDataException("x")).ShouldBeFalse();
        FuzzTarget.IsRefusal(new InvalidOperationException("x")).ShouldBeFalse();
    }

    [Fact]
    public void Messages_quote_a_damaged_file_only_so_far() =>
        new ModelFormatException(new string('x', 100_000)).Message.Length.ShouldBeLessThan(1100);

    private static string Seeds(string name) => Path.Combine(Repository.Root, "tests", "fuzz", name);

    private static FuzzTarget Tokens(Action<string> read) => new(
        "tokens", "", "text.aqtk", [], new BinaryMutator(FieldFinder.Tokens), folder => read(Path.Combine(folder, "text.aqtk")));

    private ManagedFuzzer Fuzzer(FuzzTarget target) => new(target, Seeds(target.Name), _folder);
}

using System.Security.Cryptography;
using Shouldly;
using Xunit;

namespace AgileQuant.Repository.Tests;

/// <summary>The sample models and their figures come from elsewhere and are kept byte for byte.</summary>
public sealed class SampleFilesTests
{
    public static TheoryData<string, string> Pinned => new()
    {
        { "docs-bloom/config.json", "99511a072e2788da4b35064ba4791af0673f2501d0d9fea7b2915d61e2b5140c" },
        { "docs-bloom/model.safetensors", "35b37a1949b57f3bd71c5e10fb9cdfc5aa2435dc13665b2f2032b2c275be4302" },
        { "docs-bloom/tokenizer.json", "f317b967d8ef3e8e1df4dd717812950d440d6fb991acde9f02d1085187d20b73" },
        { "docs-bloom/tokenizer_config.json", "8f3a3f9d285604c8a60ef519c22d501623f57f471828165608cc3ded9da70608" },
        { "docs-bloom/training.json", "85dab689b13e52e44724e877d53cd5c2b7e1feb0cd06382a060dfce4c34543c3" },
        { "docs-llama/config.json", "944e06a7320ca6285c6fdc61e35c522ee7677732ad40ed41f0b94fac97fd4a46" },
        { "docs-llama/model.safetensors", "b63de23c8f1bf685b74dcdd5758c04780aaf8f3dc380ffa79cb7796fc310d17e" },
        { "docs-llama/tokenizer.json", "a452d17d679afd1acbc5756ede58b9c32f96f1e8faf8fb7169c832a491e62f39" },
        { "docs-llama/tokenizer_config.json", "72780b53fea7ec4468225c517e46250c83fab0078de57d489e900e3f6beb37b2" },
        { "docs-llama/training.json", "0c85d21df58bd146cfd97d13fd4e48d28214581cf551e88622fec33218011466" },
        { "docs-opt/config.json", "85debbebe6bffb7f3a8ec1501210968cdef441216e2ff40602777f972cb4b084" },
        { "docs-opt/pytorch_model.bin", "52eb8a5083bd3f013017ee232aaac1125f5904be3beabce50b5d4b915ea19689" },
        { "docs-opt/tokenizer.json", "8a9aae779f5c714e75a7569545a6f7b30bd26bfbc99b41d6174a38c94232ccc0" },
        { "docs-opt/tokenizer_config.json", "d1e3e7e426edf8becec6e2d9425ba94349f4cc88a3eae84463598677e09b364a" },
        { "docs-opt/training.json", "d7257fd8965e8f1870a1b1a9ac27365e882cd8429ea55087a565bfb6a57cf7c5" },
        { "heldout.hashes", "586d93b17cc4368ce2e03b451fdec2bf59609b3a642517ac70376534a70d7b8c" },
    };

    [Theory]
    [MemberData(nameof(Pinned))]
    public void A_sample_file_has_the_bytes_it_came_with(string file, string sha256)
    {
        using var stream = File.OpenRead(Repo.PathOf("infra/samples/" + file));
        Convert.ToHexStringLower(SHA256.HashData(stream)).ShouldBe(sha256);
    }

    [Fact]
    public void Every_file_of_a_sample_model_is_pinned() =>
        Repo.Files.Where(f => f.StartsWith("infra/samples/docs-", StringComparison.Ordinal))
            .Select(f => f["infra/samples/".Length..])
            .Except(Pinned.Select(row => row.Data.Item1))
            .ShouldBeEmpty();
}

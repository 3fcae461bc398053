using System.Buffers;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;

namespace AgileQuant.Engine;

/// <summary>How a model is quantized. The same model and recipe give the same packed bytes.</summary>
public sealed record PackRecipe
{
    /// <summary>Elements of a row that share one int4 scale: 32, 64, 128, or 0 for the whole row. Only int4 weights have groups.</summary>
    public int GroupSize { get; private init; } = 32;

    public required Precision Precision { get; init; }

    /// <summary>How weights are rounded; this version knows <c>rtn</c> (round to nearest).</summary>
    public string Method { get; private init; } = "rtn";

    /// <exception cref="ArgumentOutOfRangeException">The group size is none of 0, 32, 64, 128.</exception>
    public static PackRecipe For(Precision precision, int groupSize = 32)
    {
        if (groupSize is not (0 or 32 or 64 or 128))
        {
            throw new ArgumentOutOfRangeException(
                nameof(groupSize), groupSize, "the group size must be 32, 64, 128, or 0 for the whole row");
        }

        return new PackRecipe { Precision = precision, GroupSize = precision.WeightBits == 4 ? groupSize : 0 };
    }

    /// <summary>The recipe with its keys in ordinal order and no white space; equal recipes give equal text.</summary>
    public string ToCanonicalJson()
    {
        var buffer = new ArrayBufferWriter<byte>();
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            if (Precision.WeightBits == 4)
                json.WriteNumber("group_size", GroupSize);
            json.WriteString("method", Method);
            json.WriteString("precision", Precision.ToString());
            json.WriteNumber("version", 1);
            json.WriteEndObject();
        }

        return Encoding.UTF8.GetString(buffer.WrittenSpan);
    }

    /// <summary>SHA-256 of <see cref="ToCanonicalJson"/>, lower-case hexadecimal.</summary>
    public string Sha256 => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(ToCanonicalJson())));
}

/// <summary>A finished pack: its SHA-256 (lower-case hexadecimal) names it in the artifact store.</summary>
public sealed record PackResult(Precision Precision, string Sha256, long Bytes, PackRecipe Recipe);

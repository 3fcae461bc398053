using System.Buffers;
using System.Security.Cryptography;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace AgileQuant.Engine;

/// <summary>How a model is quantized. The same model and recipe give the same packed bytes.</summary>
public sealed record PackRecipe
{
    /// <summary>The text goes into GGUF keys and hashes, never into a page: a plus sign stays one.</summary>
    private static readonly JsonWriterOptions Plain = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>Elements of a row that share one int4 scale: 32, 64, 128, or 0 for the whole row. Only int4 weights have groups.</summary>
    public int GroupSize { get; private init; } = 32;

    public required Precision Precision { get; init; }

    /// <summary>How weights are rounded: <c>rtn</c> (to nearest) or <c>gptq</c>.</summary>
    public string Method => Precision.Options.Gptq ? "gptq" : "rtn";

    /// <summary>What it is calibrated on; null for a precision that chooses nothing by it, or none was given.</summary>
    public CalibrationText? Calibration { get; private init; }

    /// <param name="precision">The precision.</param>
    /// <param name="groupSize">Of int4 weights; ignored for others.</param>
    /// <param name="calibration">Ignored when the precision does not use one.</param>
    /// <exception cref="ArgumentOutOfRangeException">The group size is none of 0, 32, 64, 128.</exception>
    /// <exception cref="CalibrationException">The precision needs a calibration text and there is none.</exception>
    public static PackRecipe For(Precision precision, int groupSize = 32, CalibrationText? calibration = null)
    {
        if (groupSize is not (0 or 32 or 64 or 128))
        {
            throw new ArgumentOutOfRangeException(
                nameof(groupSize), groupSize, "the group size must be 32, 64, 128, or 0 for the whole row");
        }

        if (precision.NeedsCalibration && calibration is null)
            throw Missing(precision);
        return new PackRecipe
        {
            Precision = precision,
            GroupSize = precision.WeightBits == 4 ? groupSize : 0,
            Calibration = precision.UsesCalibration ? calibration : null,
        };
    }

    /// <summary>The same with a text to measure on, also where it chooses nothing: for explanations.</summary>
    internal PackRecipe CalibratedOn(CalibrationText text) => this with { Calibration = text };

    /// <summary>The recipe with its keys in ordinal order and no white space; equal recipes give equal text.</summary>
    public string ToCanonicalJson() => ToCanonicalJson(null);

    /// <summary>The same with what calibration chose, for a pack.</summary>
    /// <param name="chosen">Writes the members of the object <c>chosen</c>, in ordinal order; null: there is no such object.</param>
    internal string ToCanonicalJson(Action<Utf8JsonWriter>? chosen)
    {
        var buffer = new ArrayBufferWriter<byte>();
        using (var json = new Utf8JsonWriter(buffer, Plain))
        {
            json.WriteStartObject();
            Calibration?.WriteTo(json);
            if (chosen is not null)
            {
                json.WriteStartObject("chosen");
                chosen(json);
                json.WriteEndObject();
            }

            if (Precision.WeightBits == 4)
                json.WriteNumber("group_size", GroupSize);
            json.WriteString("method", Method);
            json.WriteString("precision", Precision.ToString());
            json.WriteNumber("version", VersionOf(Calibration is not null));
            json.WriteEndObject();
        }

        return Encoding.UTF8.GetString(buffer.WrittenSpan);
    }

    /// <summary>SHA-256 of <see cref="ToCanonicalJson()"/>, lower-case hexadecimal.</summary>
    public string Sha256 => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(ToCanonicalJson())));

    /// <summary>Rises when the same recipe gives other bytes: 2 with calibration, whose windows and searches were others in 1.</summary>
    public static int VersionOf(bool calibrated) => calibrated ? 2 : 1;

    internal static CalibrationException Missing(Precision precision) => new(
        $"{precision} needs a calibration text: give a tokenized text of at least {CalibrationText.LeastIds} ids that is not the one it is scored on");
}

/// <summary>A finished pack: its SHA-256 (lower-case hexadecimal) names it in the artifact store.</summary>
public sealed record PackResult(Precision Precision, string Sha256, long Bytes, PackRecipe Recipe)
{
    /// <summary>What calibration measured; null when the precision needs none (<see cref="QuantizationExplanation.Of"/> measures those).</summary>
    public QuantizationExplanation? Explanation { get; init; }
}

using System.Buffers;
using System.Security.Cryptography;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using AgileQuant.Engine;

namespace AgileQuant.Orchestrator.Domain;

/// <summary>
/// What a matrix asks of a pack: equal orders of one model are one pack. Without calibration it is the recipe itself; a recipe with
/// calibration names the SHA-256 of tokens that may not be made yet, so its order names the text instead.
/// </summary>
/// <param name="Text">Canonical JSON, keys in ordinal order.</param>
public sealed record PackOrder(string Text)
{

    /// <summary>Lower-case hexadecimal.</summary>
    public string Sha256 => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(Text)));

    /// <param name="precision">The pack's precision.</param>
    /// <param name="groupSize">Of int4 weights.</param>
    /// <param name="calibrationSha256">SHA-256 of the calibration text, if there is one; not needed by most precisions.</param>
    /// <exception cref="ArgumentNullException">The precision needs a calibration text.</exception>
    public static PackOrder For(Precision precision, int groupSize, string? calibrationSha256)
    {
        if (!precision.NeedsCalibration && (calibrationSha256 is null || !precision.UsesCalibration))
            return new PackOrder(PackRecipe.For(precision, groupSize).ToCanonicalJson());
        ArgumentNullException.ThrowIfNull(calibrationSha256);
        var buffer = new ArrayBufferWriter<byte>();
        using (var json = new Utf8JsonWriter(buffer, new JsonWriterOptions { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
        {
            json.WriteStartObject();
            json.WriteStartObject("calibration");
            json.WriteString("text_sha256", calibrationSha256);
            json.WriteEndObject();
            if (precision.WeightBits == 4)
                json.WriteNumber("group_size", groupSize);
            json.WriteString("precision", precision.ToString());
            json.WriteNumber("version", PackRecipe.VersionOf(calibrated: true));
            json.WriteEndObject();
        }

        return new PackOrder(Encoding.UTF8.GetString(buffer.WrittenSpan));
    }

    /// <summary>Group size of an order's or a recipe's text; 32 where it has none.</summary>
    public static int GroupSizeOf(string text)
    {
        using var json = JsonDocument.Parse(text);
        return json.RootElement.TryGetProperty("group_size", out var group) ? group.GetInt32() : 32;
    }

    /// <summary>Windows, ids a window and SHA-256 of the tokens in a complete recipe; null in an order and without calibration.</summary>
    public static CalibrationText? CalibrationOf(string text)
    {
        using var json = JsonDocument.Parse(text);
        return json.RootElement.TryGetProperty("calibration", out var c) && c.TryGetProperty("tokens_sha256", out var sha)
            ? new CalibrationText(sha.GetString()!, c.GetProperty("windows").GetInt32(), c.GetProperty("context").GetInt32())
            : null;
    }
}

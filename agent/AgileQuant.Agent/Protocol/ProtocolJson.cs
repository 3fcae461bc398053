using System.Text.Json;
using System.Text.Json.Serialization;

namespace AgileQuant.Agent.Protocol;

/// <summary>Reads what the engine prints. Fields we do not know are ignored; events we do not know become <see cref="UnknownEvent"/>.</summary>
public static class ProtocolJson
{
    /// <summary>Journal and result format this code reads; a higher one is refused, because its meaning is unknown.</summary>
    public const int FormatVersion = 1;

    /// <summary>Parses one journal line without its newline. Never throws on content.</summary>
    public static EngineEvent ParseEvent(ReadOnlySpan<byte> line)
    {
        string? name = null;
        try
        {
            name = EventName(line);
            var json = ProtocolJsonContext.Default;
            return name switch
            {
                "job" => Read(line, json.JobEvent),
                "telemetry" => Read(line, json.TelemetryEvent),
                "block" => Read(line, json.BlockEvent),
                "warmup" => Read(line, json.WarmupEvent),
                "sample" => Read(line, json.SampleEvent),
                "window" => Read(line, json.WindowEvent),
                "error" => Read(line, json.ErrorEvent),
                "selftest" => Read(line, json.SelfTestEvent),
                "end" => Read(line, json.EndEvent),
                _ => Unknown(name, line),
            };
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or FormatException or ArgumentException or NotSupportedException)
        {
            return Unknown(name, line);
        }
    }

    /// <summary>Parses a result.json.</summary>
    /// <exception cref="ProtocolException">It is no result, or of a newer format.</exception>
    public static EngineResult ParseResult(ReadOnlySpan<byte> json)
    {
        var result = Document(json, ProtocolJsonContext.Default.EngineResult, "result.json");
        return result.Format == FormatVersion
            ? result
            : throw new ProtocolException($"result.json has format {result.Format}, this version reads {FormatVersion}. " +
                                          "Update AgileQuant.Bench, or push the engine that belongs to it.");
    }

    public static EngineInfo ParseInfo(ReadOnlySpan<byte> json) =>
        Document(json, ProtocolJsonContext.Default.EngineInfo, "aqengine info") with
        {
            Raw = Document(json, ProtocolJsonContext.Default.JsonElement, "aqengine info"),
        };

    public static EngineStatus ParseStatus(ReadOnlySpan<byte> json) =>
        Document(json, ProtocolJsonContext.Default.EngineStatus, "aqengine status");

    public static TelemetryEvent ParseTelemetry(ReadOnlySpan<byte> json) =>
        Document(json, ProtocolJsonContext.Default.TelemetryEvent, "aqengine sample");

    public static JsonElement ParseObject(ReadOnlySpan<byte> json, string what) =>
        Document(json, ProtocolJsonContext.Default.JsonElement, what);

    private static T Document<T>(ReadOnlySpan<byte> json, System.Text.Json.Serialization.Metadata.JsonTypeInfo<T> type, string what)
    {
        try
        {
            return JsonSerializer.Deserialize(json, type) ?? throw new ProtocolException($"{what} is empty.");
        }
        catch (JsonException e)
        {
            throw new ProtocolException($"{what} cannot be read: {e.Message}", e);
        }
    }

    private static string? EventName(ReadOnlySpan<byte> line)
    {
        var reader = new Utf8JsonReader(line);
        if (!reader.Read() || reader.TokenType != JsonTokenType.StartObject)
            return null;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var isEvent = reader.ValueTextEquals("event"u8);
            reader.Read();
            if (isEvent)
                return reader.TokenType == JsonTokenType.String ? reader.GetString() : null;
            reader.Skip();
        }

        return null;
    }

    private static EngineEvent Read<T>(ReadOnlySpan<byte> line, System.Text.Json.Serialization.Metadata.JsonTypeInfo<T> type)
        where T : EngineEvent => (EngineEvent?)JsonSerializer.Deserialize(line, type) ?? Unknown(null, line);

    private static UnknownEvent Unknown(string? name, ReadOnlySpan<byte> line) =>
        new(name ?? "", System.Text.Encoding.UTF8.GetString(line));
}

/// <summary>The engine wrote something this version cannot use; what the message quotes of it is cut short.</summary>
public sealed class ProtocolException : Exception
{
    private const int Longest = 1000;

    public ProtocolException()
    {
    }

    public ProtocolException(string message)
        : base(Shorten(message))
    {
    }

    public ProtocolException(string message, Exception? innerException)
        : base(Shorten(message), innerException)
    {
    }

    private static string Shorten(string message) => message.Length <= Longest ? message : message[..Longest] + " ...";
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(JobEvent))]
[JsonSerializable(typeof(TelemetryEvent))]
[JsonSerializable(typeof(BlockEvent))]
[JsonSerializable(typeof(WarmupEvent))]
[JsonSerializable(typeof(SampleEvent))]
[JsonSerializable(typeof(WindowEvent))]
[JsonSerializable(typeof(ErrorEvent))]
[JsonSerializable(typeof(SelfTestEvent))]
[JsonSerializable(typeof(EndEvent))]
[JsonSerializable(typeof(EngineResult))]
[JsonSerializable(typeof(EngineInfo))]
[JsonSerializable(typeof(EngineStatus))]
[JsonSerializable(typeof(JsonElement))]
internal sealed partial class ProtocolJsonContext : JsonSerializerContext;

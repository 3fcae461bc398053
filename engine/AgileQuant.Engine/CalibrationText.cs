using System.Text.Json;

namespace AgileQuant.Engine;

/// <summary>The part of a tokenized text that a recipe is calibrated on.</summary>
/// <param name="TokensSha256">SHA-256 of the token file (docs/packed-model.md), lower-case hexadecimal.</param>
/// <param name="Windows">Windows used, spread evenly over the text.</param>
/// <param name="Context">Ids in a window.</param>
public sealed record CalibrationText(string TokensSha256, int Windows = CalibrationText.DefaultWindows, int Context = CalibrationText.DefaultContext)
{
    public const int DefaultWindows = 64;
    public const int DefaultContext = 512;

    /// <summary>As many ids calibrate a thousand channels badly.</summary>
    public const int LeastIds = 4096;

    /// <param name="tokens">The text.</param>
    /// <param name="modelContext">Longest context of the model; windows are no longer.</param>
    /// <param name="windows">At most so many windows; fewer in a shorter text.</param>
    /// <param name="context">Wanted ids in a window.</param>
    /// <exception cref="CalibrationException">The text is too short.</exception>
    public static CalibrationText For(
        TokenData tokens, int modelContext = int.MaxValue, int windows = DefaultWindows, int context = DefaultContext)
    {
        context = Math.Min(context, modelContext);
        var there = tokens.Ids.Count / context;
        var text = new CalibrationText(TokenFile.HashOf(tokens), Math.Min(windows, Math.Max(there, 1)), context);
        text.Check(tokens);
        return text;
    }

    /// <summary>The windows: window w begins at id <c>floor(w * whole / windows) * context</c>, whole = those the text has. Where the
    /// tokenizer adds BOS, every second one begins with it as a prompt does; the others are what <c>gptq-N</c> scores.</summary>
    internal int[][] WindowsOf(TokenData tokens)
    {
        Check(tokens);
        var whole = tokens.Ids.Count / Context;
        return [.. Enumerable.Range(0, Windows).Select(w =>
        {
            var start = (int)((long)w * whole / Windows) * Context;
            var ids = tokens.Ids.Skip(start).Take(Context).ToArray();
            if (w % 2 == 0 && tokens.AddsBos && tokens.BosId >= 0)
                ids[0] = tokens.BosId;
            return ids;
        })];
    }

    internal void WriteTo(Utf8JsonWriter json)
    {
        json.WriteStartObject("calibration");
        json.WriteNumber("context", Context);
        json.WriteString("tokens_sha256", TokensSha256);
        json.WriteNumber("windows", Windows);
        json.WriteEndObject();
    }

    private void Check(TokenData tokens)
    {
        if (Context < 8 || Windows < 1)
            throw new CalibrationException($"calibration needs at least 1 window of 8 ids; {Windows} of {Context} were asked for");
        if (tokens.Ids.Count < LeastIds)
        {
            throw new CalibrationException(
                $"the calibration text has {tokens.Ids.Count} ids; give one of at least {LeastIds}, better {DefaultWindows * DefaultContext}");
        }

        if (tokens.Ids.Count / Context < Windows)
        {
            throw new CalibrationException($"the calibration text has {tokens.Ids.Count} ids, that is {tokens.Ids.Count / Context} windows of "
                + $"{Context}; the recipe asks for {Windows}: give a longer text or fewer windows");
        }
    }
}

/// <summary>A calibration text is missing, too short, or not the one the recipe names. The message says what to do.</summary>
public sealed class CalibrationException : Exception
{
    public CalibrationException()
    {
    }

    public CalibrationException(string message)
        : base(message)
    {
    }

    public CalibrationException(string message, Exception innerException)
        : base(message, innerException)
    {
    }
}

using System.Text;

namespace AgileQuant.Orchestrator.Domain;

/// <summary>WikiText as GPTQ reads it.</summary>
public static class WikiText
{
    /// <summary>
    /// Every line of the raw file is a record: a blank one is empty, others keep their newline. Records are joined with a
    /// blank line ("\n\n"), as GPTQ does with the data set's rows.
    /// </summary>
    public static string JoinRecords(string raw)
    {
        var text = new StringBuilder(raw.Length + raw.Length / 50);
        var start = 0;
        while (start < raw.Length)
        {
            var newline = raw.IndexOf('\n', start);
            var end = newline < 0 ? raw.Length : newline + 1;
            if (start > 0)
                text.Append("\n\n");
            var line = raw.AsSpan(start, end - start);
            if (!line.IsWhiteSpace())
                text.Append(line);
            start = end;
        }

        return text.ToString();
    }
}

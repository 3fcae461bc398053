using System.Text.Json;
using AgileQuant.Engine.Import;

namespace AgileQuant.Engine.Tests;

/// <summary>A Hugging Face folder of any architecture with random weights, exact in fp16.</summary>
internal static class RandomFolder
{
    /// <summary>A tiny model of the kind of OPT-350M: norms behind their sums, a narrower embedding. Widths are no multiples of 32.</summary>
    public const string Opt350M = """
        {"model_type":"opt","hidden_size":48,"word_embed_proj_dim":40,"ffn_dim":100,"num_hidden_layers":3,"num_attention_heads":4,
         "max_position_embeddings":64,"vocab_size":70,"do_layer_norm_before":false}
        """;

    /// <summary>Six heads: no power of two, so that ALiBi's second series of slopes is used.</summary>
    public const string Bloom = """{"model_type":"bloom","hidden_size":48,"n_head":6,"n_layer":2,"vocab_size":70,"seq_length":64}""";

    public const string Opt = """
        {"model_type":"opt","hidden_size":48,"ffn_dim":100,"num_hidden_layers":2,"num_attention_heads":4,"max_position_embeddings":64,
         "vocab_size":70,"tie_word_embeddings":false}
        """;

    /// <param name="folder">Made if it is not there.</param>
    /// <param name="config">config.json.</param>
    public static void Write(string folder, string config)
    {
        Directory.CreateDirectory(folder);
        File.WriteAllText(Path.Combine(folder, "config.json"), config);
        var format = FolderFormat.Read(folder);
        var random = new Random(3);
        using var json = JsonDocument.Parse(config);
        var tied = !json.RootElement.TryGetProperty("tie_word_embeddings", out var flag) || flag.GetBoolean();
        TinyModel.WriteSafeTensors(Path.Combine(folder, "model.safetensors"), "F16", [.. (format.Shape with { TiedOutput = tied }).Tensors().Select(t =>
        {
            var shape = t.Dimensions.Reverse().ToArray();
            shape[0] += format.RowsBefore(t.Name);
            var middle = t.Role == TensorRole.Vector && t.Name.EndsWith("weight", StringComparison.Ordinal) ? 1f : 0;
            var values = Enumerable.Range(0, (int)shape.Aggregate((a, b) => a * b)).Select(_ => middle + random.Next(-40, 41) / 128f);
            return (format.NameOf(t.Name), shape, values.ToArray());
        })]);
    }
}

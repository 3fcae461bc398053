using System.Text.Json;
using AgileQuant.Engine.Gguf;
using AgileQuant.Engine.SafeTensors;
using AgileQuant.Engine.Tokenization;

namespace AgileQuant.Engine.Import;

/// <summary>
/// A Hugging Face folder of the LLaMA architecture: config.json, one or several safetensors files, tokenizer.json. Rows of q
/// and k are given in llama.cpp's order: Hugging Face rotates halves of a head (elements i and i + d/2), llama.cpp neighbours
/// (2i and 2i + 1).
/// </summary>
internal sealed class HuggingFaceSource : IModelSource
{
    private readonly string _folder;
    private readonly List<SafeTensorsFile> _files = [];
    private readonly Dictionary<string, (SafeTensorsFile File, SafeTensor Tensor)> _tensors = [];
    private readonly Func<int, float>? _ropeFactors;
    private readonly Vocabulary? _vocabulary;

    public HuggingFaceSource(string folder)
    {
        _folder = folder;
        (var shape, var tied, _ropeFactors) = LlamaConfig.Read(Path.Combine(folder, "config.json"));
        try
        {
            foreach (var path in WeightFiles(folder))
                Add(SafeTensorsFile.Open(path));
            var hasHead = _tensors.ContainsKey("lm_head.weight");
            if (!hasHead && tied == false)
                throw new ModelFormatException($"{folder}: lm_head.weight is missing, and tie_word_embeddings is false");
            Shape = shape with { TiedOutput = tied ?? !hasHead };
            RefuseStrangers();
            _vocabulary = VocabularyReader.FromFolder(folder, Shape.VocabularySize);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public ModelShape Shape { get; }

    public string FallbackName => Path.GetFileName(Path.GetFullPath(_folder).TrimEnd(Path.DirectorySeparatorChar));

    public long Bytes => _files.Sum(f => new FileInfo(f.Path).Length);

    public bool HasVocabulary => _vocabulary is not null;

    public void WriteVocabulary(GgufMetadata keys) => _vocabulary?.WriteTo(keys);

    public SourceTensor Open(ModelTensor tensor)
    {
        if (tensor.Name == "rope_freqs.weight")
            return RopeFactors.From(_ropeFactors!);
        var theirs = TheirName(tensor.Name);
        if (!_tensors.TryGetValue(theirs, out var found))
            throw new ModelFormatException($"{_folder}: tensor {theirs} is missing");
        if (!found.Tensor.Shape.SequenceEqual(tensor.Dimensions.Reverse()))
        {
            throw new ModelFormatException($"{found.File.Path}: tensor {theirs} is [{string.Join(", ", found.Tensor.Shape)}], "
                + $"[{string.Join(", ", tensor.Dimensions.Reverse())}] was expected");
        }

        var rowBytes = found.Tensor.Type.RowBytes(tensor.Dimensions[0]);
        if (!tensor.Name.EndsWith("attn_q.weight", StringComparison.Ordinal) && !tensor.Name.EndsWith("attn_k.weight", StringComparison.Ordinal))
            return new SourceTensor(found.Tensor.Type, (row, destination) => found.File.Read(found.Tensor, row * rowBytes, destination));
        var head = Shape.HeadDimension;
        return new SourceTensor(found.Tensor.Type, (row, destination) =>
        {
            for (var at = 0; at < destination.Length; at += (int)rowBytes, row++)
                found.File.Read(found.Tensor, SourceRow(row, head) * rowBytes, destination.Slice(at, (int)rowBytes));
        });
    }

    public void Dispose() => _files.ForEach(f => f.Dispose());

    /// <summary>Row of a Hugging Face q or k matrix that becomes the given row in llama.cpp's order.</summary>
    internal static long SourceRow(long row, int headDimension)
    {
        var (head, inside) = Math.DivRem(row, headDimension);
        return head * headDimension + inside / 2 + inside % 2 * (headDimension / 2);
    }

    private static string TheirName(string ours)
    {
        switch (ours)
        {
            case "token_embd.weight":
                return "embed_tokens.weight";
            case "output_norm.weight":
                return "norm.weight";
            case "output.weight":
                return "lm_head.weight";
        }

        var parts = ours.Split('.'); // blk.N.what.weight
        var what = parts[2] switch
        {
            "attn_norm" => "input_layernorm",
            "attn_q" => "self_attn.q_proj",
            "attn_k" => "self_attn.k_proj",
            "attn_v" => "self_attn.v_proj",
            "attn_output" => "self_attn.o_proj",
            "ffn_norm" => "post_attention_layernorm",
            "ffn_gate" => "mlp.gate_proj",
            "ffn_up" => "mlp.up_proj",
            _ => "mlp.down_proj",
        };
        return $"layers.{parts[1]}.{what}.weight";
    }

    /// <summary>The files an index names, else a single one, else all that lie there.</summary>
    private static List<string> WeightFiles(string folder)
    {
        var index = Path.Combine(folder, "model.safetensors.index.json");
        if (File.Exists(index))
            return ShardsOf(index, folder);
        var single = Path.Combine(folder, "model.safetensors");
        if (File.Exists(single))
            return [single];
        var all = Directory.GetFiles(folder, "*.safetensors").Order(StringComparer.Ordinal).ToList();
        if (all.Count > 0)
            return all;
        throw new ModelFormatException(Directory.GetFiles(folder, "pytorch_model*.bin").Length > 0
            ? $"{folder}: weights are in pytorch_model.bin, which this version does not read; save the model as safetensors"
            : $"{folder}: there are no *.safetensors files");
    }

    private static List<string> ShardsOf(string index, string folder)
    {
        try
        {
            using var json = JsonDocument.Parse(File.ReadAllBytes(index));
            var names = json.RootElement.GetProperty("weight_map").EnumerateObject()
                .Select(e => e.Value.GetString() ?? "").Distinct().Order(StringComparer.Ordinal).ToList();
            if (names.FirstOrDefault(n => n.Length == 0 || Path.GetFileName(n) != n) is { } strange)
                throw new ModelFormatException($"{index}: '{strange}' is not a file name");
            return names.ConvertAll(n => Path.Combine(folder, n));
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or KeyNotFoundException)
        {
            throw new ModelFormatException($"{index}: corrupt: {e.Message}", e);
        }
    }

    private void Add(SafeTensorsFile file)
    {
        _files.Add(file);
        foreach (var (name, tensor) in file.Tensors)
        {
            if (!_tensors.TryAdd(Plain(name), (file, tensor)))
                throw new ModelFormatException($"{file.Path}: tensor {name} stands in another file too");
        }

        if (file.Unsupported.FirstOrDefault() is { Key: not null } bad)
        {
            throw new ModelFormatException(
                $"{file.Path}: tensor {bad.Key} has type {bad.Value}; F32, F16 and BF16 are supported");
        }
    }

    private static string Plain(string name) =>
        name.StartsWith("model.", StringComparison.Ordinal) ? name["model.".Length..] : name;

    private void RefuseStrangers()
    {
        var known = (Shape with { TiedOutput = false, HasRopeFactors = false }).Tensors().Select(t => TheirName(t.Name)).ToHashSet();
        var stranger = _tensors.Keys.FirstOrDefault(n => !known.Contains(n) && !n.EndsWith("rotary_emb.inv_freq", StringComparison.Ordinal));
        if (stranger is not null)
            throw new ModelFormatException($"{_folder}: tensor {stranger} is not part of a plain LLaMA model; not supported");
    }
}

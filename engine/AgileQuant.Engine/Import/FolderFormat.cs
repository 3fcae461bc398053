namespace AgileQuant.Engine.Import;

/// <summary>How Hugging Face stores the models of one architecture: configuration, names, order of rows.</summary>
internal abstract class FolderFormat
{
    /// <summary>As config.json says; <see cref="ModelShape.TiedOutput"/> is decided with <see cref="Tied"/> and the tensors.</summary>
    public required ModelShape Shape { get; init; }

    /// <summary>The head is the embedding; null: it is when there is no head.</summary>
    public required bool? Tied { get; init; }

    /// <summary>Factors that divide the rotary frequencies, if there are any.</summary>
    public Func<int, float>? RopeFactors { get; init; }

    /// <exception cref="ModelFormatException">An architecture or a variant of one that this version does not support.</exception>
    public static FolderFormat Read(string folder)
    {
        var config = ConfigFile.Open(folder);
        try
        {
            return Read(config);
        }
        catch (InvalidOperationException e)
        {
            throw config.Bad($"corrupt: {e.Message}"); // names and texts that are half a character are only seen when they are read
        }
    }

    private static FolderFormat Read(ConfigFile config)
    {
        var type = config.Text("model_type") ?? config.First("architectures") switch
        {
            "LlamaForCausalLM" or "LlamaModel" => "llama",
            "OPTForCausalLM" or "OPTModel" => "opt",
            "BloomForCausalLM" or "BloomModel" => "bloom",
            var other => other ?? "none",
        };
        if (Architectures.Find(type) is not { } architecture)
            throw Architectures.Unsupported(config.Path, type);
        config.Refuse(config.Object("quantization_config") is not null,
            "the model is already quantized; import the original 16-bit weights");
        config.Refuse(config.Optional("num_local_experts", "num_experts", "n_routed_experts") > 1,
            "mixture-of-experts models are not supported; dense LLaMA, OPT and BLOOM models are");
        config.Refuse(config.Optional("sliding_window") is not null && config.Flag("use_sliding_window") != false,
            "sliding-window attention is not supported; attention to all earlier tokens is");
        return architecture switch
        {
            Architecture.Opt => OptFolder.Read(config),
            Architecture.Bloom => BloomFolder.Read(config),
            _ => LlamaFolder.Read(config),
        };
    }

    /// <summary>A tensor's name without the base model's prefix, which files have or leave out.</summary>
    public abstract string Plain(string name);

    /// <summary>Their plain name of one of our tensors.</summary>
    public abstract string NameOf(string ours);

    /// <summary>Rows that their tensor has before the first of ours.</summary>
    public virtual int RowsBefore(string ours) => 0;

    /// <summary>Rows (elements of a bias) stand in another order, which <see cref="SourceRow"/> gives.</summary>
    public virtual bool Permutes(string ours) => false;

    /// <summary>Their row that becomes the given one of ours.</summary>
    public virtual long SourceRow(string ours, long row) => row;

    /// <summary>Buffers that some files carry and nobody needs.</summary>
    public virtual bool Ignores(string plain) => false;

    private protected static string? Prefixless(string name, params string[] prefixes) =>
        Array.Find(prefixes, p => name.StartsWith(p, StringComparison.Ordinal)) is { } prefix ? name[prefix.Length..] : null;

    /// <summary>Layer, tensor and <c>weight</c> or <c>bias</c> of <c>blk.N.WHAT.KIND</c>; null for others.</summary>
    private protected static (string Layer, string What, string Kind)? Block(string ours) =>
        ours.Split('.') is ["blk", var layer, var what, var kind] ? (layer, what, kind) : null;
}

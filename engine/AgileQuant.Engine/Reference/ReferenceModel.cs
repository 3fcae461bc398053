using System.Numerics.Tensors;
using AgileQuant.Engine.Gguf;
using AgileQuant.Engine.Import;
using AgileQuant.Engine.Reference;

namespace AgileQuant.Engine;

/// <summary>
/// The executable specification of a packed model's arithmetic (docs/packed-model.md): reads like the formulas, checks the
/// native engine, is far too slow for anything else. Several tokens are computed side by side where that changes nothing.
/// </summary>
public sealed class ReferenceModel
{
    private readonly ModelShape _shape;
    private readonly int? _startToken;
    private readonly float[] _embedding; // [vocabulary][embedding width]
    private readonly float[] _positions; // [context][dimension], empty where positions are not learned
    private readonly Linear? _embeddingIn;
    private readonly Linear? _embeddingOut;
    private readonly Norm? _embeddingNorm;
    private readonly Layer[] _layers;
    private readonly Norm? _outputNorm;
    private readonly Linear _head;

    private ReferenceModel(GgufFile pack, ModelShape shape, Precision precision)
    {
        _shape = shape;
        Precision = precision;
        var options = PackOptions.Read(pack, shape);
        _startToken = options.StartToken;
        _embedding = pack.ReadFloats(pack.Tensor("token_embd.weight"));
        _positions = shape.Positions == PositionKind.Learned ? pack.ReadFloats(pack.Tensor("position_embd.weight")) : [];
        var ropeFactors = pack.Find("rope_freqs.weight") is { } factors ? pack.ReadFloats(factors) : [];
        _layers = [.. Enumerable.Range(0, shape.Layers).Select(i => new Layer(pack, i, shape, options, ropeFactors))];
        _embeddingNorm = shape.HasEmbeddingNorm ? new Norm(pack, "token_embd_norm", shape.Epsilon) : null;
        _outputNorm = shape.HasOutputNorm ? new Norm(pack, "output_norm", shape.Epsilon) : null;
        var reader = new LinearReader(pack, 0);
        var eightBits = new LinearInput { Limit = 127 };
        if (shape.EmbeddingProjection is { } width)
        {
            _embeddingIn = reader.Read("embd_in", width, shape.Dimension, eightBits);
            _embeddingOut = reader.Read("embd_out", shape.Dimension, width, eightBits);
        }

        _head = reader.Read(pack.Contains("output.weight") ? "output" : "token_embd", shape.EmbeddingWidth, shape.VocabularySize, eightBits);
    }

    public Precision Precision { get; }

    public int VocabularySize => _shape.VocabularySize;

    /// <exception cref="ModelFormatException">Not a packed model of a format this version knows.</exception>
    public static ReferenceModel Load(string packPath)
    {
        using var pack = GgufFile.Open(packPath);
        var keys = pack.Metadata;
        if (keys.Integer("agilequant.format") is not (1 or 2) || !Precision.TryParse(keys.Text("agilequant.precision"), out var precision))
            throw new ModelFormatException($"{packPath}: not a packed model of format 1 or 2; pack it first");
        return new ReferenceModel(pack, ModelShape.FromGguf(pack), precision);
    }

    /// <summary>A model as it was imported, not packed: the arithmetic of fp16 on weights in the precision they came in.</summary>
    /// <exception cref="ModelFormatException">Not a canonical model of an architecture this version knows.</exception>
    public static ReferenceModel LoadUnpacked(string canonicalGguf)
    {
        using var model = GgufFile.Open(canonicalGguf);
        if (model.Metadata.Contains("agilequant.format"))
            throw new ModelFormatException($"{canonicalGguf}: this is a packed model");
        return new ReferenceModel(model, ModelShape.FromGguf(model), Precision.Fp16);
    }

    /// <summary>Logits of every position, <c>[ids][vocabulary]</c>, from an empty cache. The ids are one prompt.</summary>
    public float[][] Logits(IReadOnlyList<int> ids) => Logits(Run(ids), 0, ids.Count);

    /// <summary>NLLs of windows <paramref name="first"/> .. first + count - 1, <c>[count][targets]</c>, natural logarithm.</summary>
    public float[][] Score(TokenData tokens, PerplexityConvention convention, int first, int count) =>
        ScoreWithSurvivors(tokens, convention, first, count).Nlls;

    /// <summary>
    /// <see cref="Score"/>, and for each target whether the position that predicts it stayed to the end (all do in a pack
    /// without pruning).
    /// </summary>
    public (float[][] Nlls, bool[][] Survivors) ScoreWithSurvivors(TokenData tokens, PerplexityConvention convention, int first, int count)
    {
        var nlls = new float[count][];
        var survivors = new bool[count][];
        for (var w = 0; w < count; w++)
        {
            var ids = convention.Window(tokens, first + w);
            var start = convention.FirstTarget - 1; // position that predicts the first target
            var rows = Run(ids);
            var logits = Logits(rows, start, convention.Targets);
            nlls[w] = new float[convention.Targets];
            for (var t = 0; t < nlls[w].Length; t++)
                nlls[w][t] = Operations.NegativeLogLikelihood(logits[t], ids[start + 1 + t]);
            survivors[w] = Array.ConvertAll(rows[start..(start + convention.Targets)], row => !row.IsPruned);
        }

        return (nlls, survivors);
    }

    /// <summary>Takes a prompt through all layers.</summary>
    private Token[] Run(IReadOnlyList<int> ids)
    {
        if (_positions.Length > 0 && ids.Count > _shape.ContextLength)
            throw new ArgumentException($"{ids.Count} ids; the model has positions for {_shape.ContextLength}", nameof(ids));
        foreach (var id in ids)
        {
            if (id < 0 || id >= VocabularySize)
                throw new ArgumentException($"id {id} is outside the vocabulary of {VocabularySize}", nameof(ids));
        }

        var all = new Token[ids.Count];
        Parallel.For(0, all.Length, t => all[t] = new Token
        {
            Stream = Embed(ids[t], t),
            Position = t,
            IsProtected = t == 0 || t == all.Length - 1,
            IsOtherStart = _startToken is { } start && ids[0] != start,
        });
        var rows = all;
        foreach (var layer in _layers)
            rows = layer.Apply(rows);
        return all;
    }

    private float[] Embed(int id, int position)
    {
        var x = _embedding.AsSpan(id * _shape.EmbeddingWidth, _shape.EmbeddingWidth).ToArray();
        if (_embeddingIn is not null)
            x = _embeddingIn.Apply(x);
        if (_positions.Length > 0)
            TensorPrimitives.Add(x, _positions.AsSpan(position * _shape.Dimension, _shape.Dimension), x);
        return _embeddingNorm is null ? x : _embeddingNorm.Apply(x);
    }

    private float[][] Logits(Token[] tokens, int firstPosition, int count)
    {
        var logits = new float[count][];
        Parallel.For(0, count, i =>
        {
            var x = tokens[firstPosition + i].Stream;
            x = _outputNorm is null ? x : _outputNorm.Apply(x);
            logits[i] = _head.Apply(_embeddingOut is null ? x : _embeddingOut.Apply(x));
        });
        return logits;
    }
}

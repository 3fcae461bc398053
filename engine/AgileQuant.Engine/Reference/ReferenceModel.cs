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
    private readonly LlamaShape _shape;
    private readonly float[] _embedding; // [vocabulary][dimension]
    private readonly Layer[] _layers;
    private readonly float[] _outputNorm;
    private readonly Linear _head;
    private readonly float[] _ropeFactors; // empty, or [head dimension / 2]

    private ReferenceModel(GgufFile pack, LlamaShape shape, Precision precision, int groupSize)
    {
        _shape = shape;
        Precision = precision;
        _embedding = pack.ReadFloats(pack.Tensor("token_embd.weight"));
        _layers = [.. Enumerable.Range(0, shape.Layers).Select(i => new Layer(pack, $"blk.{i}.", shape, precision, groupSize))];
        _outputNorm = pack.ReadFloats(pack.Tensor("output_norm.weight"));
        _ropeFactors = pack.Find("rope_freqs.weight") is { } factors ? pack.ReadFloats(factors) : [];
        _head = precision.IsBaseline && !pack.Contains("output.weight")
            ? HalfLinear.FromRows(_embedding, shape.Dimension, shape.VocabularySize)
            : Linear.Load(
                pack, "output", shape.Dimension, shape.VocabularySize, precision.IsBaseline ? 16 : 8, precision.IsBaseline ? 16 : 8, 0);
    }

    public Precision Precision { get; }

    public int VocabularySize => _shape.VocabularySize;

    /// <exception cref="ModelFormatException">Not a packed model of a format this version knows.</exception>
    public static ReferenceModel Load(string packPath)
    {
        using var pack = GgufFile.Open(packPath);
        var keys = pack.Metadata;
        if (keys.Integer("agilequant.format") != 1 || !Precision.TryParse(keys.Text("agilequant.precision"), out var precision))
            throw new ModelFormatException($"{packPath}: not a packed model of format 1; pack it first");
        return new ReferenceModel(pack, LlamaShape.FromGguf(pack), precision, keys.Integer("agilequant.group_size") ?? 0);
    }

    /// <summary>A model as it was imported, not packed: the arithmetic of fp16 on weights in the precision they came in.</summary>
    /// <exception cref="ModelFormatException">Not a canonical model of an architecture this version knows.</exception>
    public static ReferenceModel LoadUnpacked(string canonicalGguf)
    {
        using var model = GgufFile.Open(canonicalGguf);
        if (model.Metadata.Contains("agilequant.format"))
            throw new ModelFormatException($"{canonicalGguf}: this is a packed model");
        return new ReferenceModel(model, LlamaShape.FromGguf(model), Precision.Fp16, 0);
    }

    /// <summary>Logits of every position, <c>[ids][vocabulary]</c>, from an empty cache.</summary>
    public float[][] Logits(IReadOnlyList<int> ids) => Logits(ids, 0, ids.Count);

    /// <summary>NLLs of windows <paramref name="first"/> .. first + count - 1, <c>[count][targets]</c>, natural logarithm.</summary>
    public float[][] Score(TokenData tokens, PerplexityConvention convention, int first, int count)
    {
        var result = new float[count][];
        for (var w = 0; w < count; w++)
        {
            var ids = convention.Window(tokens, first + w);
            var start = convention.FirstTarget - 1; // position that predicts the first target
            var logits = Logits(ids, start, convention.Targets);
            result[w] = new float[convention.Targets];
            for (var t = 0; t < result[w].Length; t++)
                result[w][t] = Operations.NegativeLogLikelihood(logits[t], ids[start + 1 + t]);
        }

        return result;
    }

    private float[][] Logits(IReadOnlyList<int> ids, int firstPosition, int count)
    {
        var stream = new float[ids.Count][]; // residual stream, [position][dimension]
        for (var t = 0; t < ids.Count; t++)
        {
            if (ids[t] < 0 || ids[t] >= VocabularySize)
                throw new ArgumentException($"id {ids[t]} is outside the vocabulary of {VocabularySize}", nameof(ids));
            stream[t] = _embedding.AsSpan(ids[t] * _shape.Dimension, _shape.Dimension).ToArray();
        }

        foreach (var layer in _layers)
            layer.Apply(stream, _shape, Precision, _ropeFactors);
        var logits = new float[count][];
        Parallel.For(0, count, i =>
            logits[i] = _head.Apply(Operations.RmsNorm(stream[firstPosition + i], _outputNorm, _shape.Epsilon)));
        return logits;
    }

    private sealed class Layer
    {
        private readonly float[] _attentionNorm;
        private readonly float[] _feedForwardNorm;
        private readonly Linear _q;
        private readonly Linear _k;
        private readonly Linear _v;
        private readonly Linear _output;
        private readonly Linear _gate;
        private readonly Linear _up;
        private readonly Linear _down;

        public Layer(GgufFile pack, string prefix, LlamaShape shape, Precision precision, int groupSize)
        {
            int dim = shape.Dimension, kv = shape.KvHeads * shape.HeadDimension, ffn = shape.FeedForward;
            _attentionNorm = pack.ReadFloats(pack.Tensor(prefix + "attn_norm.weight"));
            _feedForwardNorm = pack.ReadFloats(pack.Tensor(prefix + "ffn_norm.weight"));
            _q = Load("attn_q", dim, dim);
            _k = Load("attn_k", dim, kv);
            _v = Load("attn_v", dim, kv);
            _output = Load("attn_output", dim, dim);
            _gate = Load("ffn_gate", dim, ffn);
            _up = Load("ffn_up", dim, ffn);
            _down = Load("ffn_down", ffn, dim);

            Linear Load(string name, int inputs, int outputs) =>
                Linear.Load(pack, prefix + name, inputs, outputs, precision.WeightBits, precision.ActivationBits, groupSize);
        }

        /// <summary>Attention and feed-forward of all positions, added to the residual stream in place.</summary>
        public void Apply(float[][] stream, LlamaShape shape, Precision precision, float[] ropeFactors)
        {
            var queries = new float[stream.Length][];
            var keys = new float[stream.Length][]; // the KV cache: fp16 values
            var values = new float[stream.Length][];
            Parallel.For(0, stream.Length, t =>
            {
                var x = Operations.RmsNorm(stream[t], _attentionNorm, shape.Epsilon);
                var rotation = Operations.RopeTable(t, shape.HeadDimension, shape.RopeBase, ropeFactors);
                (queries[t], keys[t], values[t]) = (_q.Apply(x), _k.Apply(x), _v.Apply(x));
                Operations.Rope(queries[t], rotation);
                Operations.Rope(keys[t], rotation);
                Operations.RoundToHalf(keys[t]);
                Operations.RoundToHalf(values[t]);
            });
            Parallel.For(0, stream.Length, t =>
            {
                var attended = new float[shape.Dimension];
                for (var head = 0; head < shape.Heads; head++)
                {
                    var kvHead = head / (shape.Heads / shape.KvHeads);
                    Operations.Attend(
                        queries[t].AsSpan(head * shape.HeadDimension, shape.HeadDimension), keys.AsSpan(0, t + 1), values,
                        kvHead * shape.HeadDimension, precision.ActivationBits == 4,
                        attended.AsSpan(head * shape.HeadDimension, shape.HeadDimension));
                }

                Add(stream[t], _output.Apply(attended));
                var x = Operations.RmsNorm(stream[t], _feedForwardNorm, shape.Epsilon);
                Add(stream[t], _down.Apply(Operations.SwiGlu(_gate.Apply(x), _up.Apply(x))));
            });
        }

        private static void Add(float[] stream, float[] addition)
        {
            for (var i = 0; i < stream.Length; i++)
                stream[i] += addition[i];
        }
    }
}

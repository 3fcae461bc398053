using System.Globalization;
using System.Numerics.Tensors;
using AgileQuant.Engine.Gguf;
using AgileQuant.Engine.Import;

namespace AgileQuant.Engine.Reference;

/// <summary>One block: attention and feed-forward, each added to the residual stream.</summary>
internal sealed class Layer
{
    private readonly ModelShape _shape;
    private readonly PackOptions _options;
    private readonly TokenSelection _selection;
    private readonly float[] _ropeFactors;
    private readonly float[] _slopes;
    private readonly Norm _attentionNorm;
    private readonly Norm _feedForwardNorm;
    private readonly Linear[] _qkv; // q, k and v, or one that gives all three
    private readonly Linear _output;
    private readonly Linear? _gate;
    private readonly Linear _up;
    private readonly Linear _down;

    /// <param name="pack">A packed model.</param>
    /// <param name="index">Number of the layer.</param>
    /// <param name="shape">Of the model.</param>
    /// <param name="options">Of the pack.</param>
    /// <param name="ropeFactors">Empty, or <c>[head dimension / 2]</c>.</param>
    public Layer(GgufFile pack, int index, ModelShape shape, PackOptions options, float[] ropeFactors)
    {
        (_shape, _options, _ropeFactors, _selection) = (shape, options, ropeFactors, new TokenSelection(options, index));
        _slopes = shape.Positions == PositionKind.Alibi ? Attention.AlibiSlopes(shape.Heads) : new float[shape.Heads];
        int dim = shape.Dimension, kv = shape.KvHeads * shape.HeadDimension, ffn = shape.FeedForward;
        var prefix = string.Create(CultureInfo.InvariantCulture, $"blk.{index}.");
        var reader = new LinearReader(pack, options.GroupSize);
        _attentionNorm = new Norm(pack, prefix + "attn_norm", shape.Epsilon);
        _feedForwardNorm = new Norm(pack, prefix + "ffn_norm", shape.Epsilon);
        var (attentionIn, attentionOut, feedForwardIn, feedForwardMiddle) = (Input(0, dim), Input(1, dim), Input(2, dim), Input(3, ffn));
        _qkv = shape.HasFusedQkv
            ? [Linear("attn_qkv", dim, dim + 2 * kv, attentionIn)]
            : [Linear("attn_q", dim, dim, attentionIn), Linear("attn_k", dim, kv, attentionIn), Linear("attn_v", dim, kv, attentionIn)];
        _output = Linear("attn_output", dim, dim, attentionOut);
        _gate = shape.Activation == ActivationKind.SwiGlu ? Linear("ffn_gate", dim, ffn, feedForwardIn) : null;
        _up = Linear("ffn_up", dim, ffn, feedForwardIn);
        _down = Linear("ffn_down", ffn, dim, feedForwardMiddle);

        LinearInput Input(int place, int inputs) =>
            LinearInput.Load(pack, prefix + PackOptions.InputNames[place], inputs, options.ActivationLimits[4 * index + place]);
        Linear Linear(string name, int inputs, int outputs, LinearInput input) => reader.Read(prefix + name, inputs, outputs, input);
    }

    /// <param name="tokens">Rows of this layer in order, from an empty cache.</param>
    /// <returns>Rows of the next one.</returns>
    public Token[] Apply(Token[] tokens)
    {
        var queries = new float[tokens.Length][];
        var keys = new float[tokens.Length][]; // what the cache gives back
        var values = new float[tokens.Length][];
        Parallel.For(0, tokens.Length, t => (queries[t], keys[t], values[t]) = Project(tokens[t]));
        var importance = new float[tokens.Length];
        Parallel.For(0, tokens.Length, t =>
        {
            var distances = Array.ConvertAll(tokens[..(t + 1)], key => key.Position - tokens[t].Position);
            (var attended, importance[t]) = Attend(queries[t], keys.AsSpan(0, t + 1), values, distances);
            tokens[t].IsLow = _selection.IsLow(tokens[t], importance[t]);
            Add(tokens[t], _output.Apply(attended, tokens[t].IsLow), _attentionNorm);
        });
        var staying = _selection.Stay(tokens, importance);
        Parallel.ForEach(staying, FeedForward);
        return staying;
    }

    private (float[] Query, float[] Key, float[] Value) Project(Token token)
    {
        var x = _shape.NormAfter ? token.Stream : _attentionNorm.Apply(token.Stream);
        int dim = _shape.Dimension, kv = _shape.KvHeads * _shape.HeadDimension;
        var all = _qkv.Length == 1 ? _qkv[0].Apply(x) : [.. _qkv[0].Apply(x), .. _qkv[1].Apply(x), .. _qkv[2].Apply(x)];
        var (query, key, value) = (all[..dim], all[dim..(dim + kv)], all[(dim + kv)..]);
        if (_shape.Positions == PositionKind.Rotary)
        {
            var rotation = Operations.RopeTable(token.Position, _shape.HeadDimension, _shape.RopeBase, _ropeFactors);
            Operations.Rope(query, rotation);
            Operations.Rope(key, rotation);
        }

        StoreInCache(key);
        StoreInCache(value);
        return (query, key, value);
    }

    private void StoreInCache(float[] heads)
    {
        if (_options.KvBits == 16)
        {
            Operations.RoundToHalf(heads);
            return;
        }

        for (var head = 0; head < _shape.KvHeads; head++)
            Operations.RoundToInt8(heads.AsSpan(head * _shape.HeadDimension, _shape.HeadDimension));
    }

    /// <returns>All heads of one token, and its importance: the probabilities on the first cache entry, summed over heads.</returns>
    private (float[] Attended, float Importance) Attend(
        ReadOnlySpan<float> query, ReadOnlySpan<float[]> keys, float[][] values, ReadOnlySpan<int> distances)
    {
        var size = _shape.HeadDimension;
        var attended = new float[_shape.Dimension];
        float importance = 0;
        for (var head = 0; head < _shape.Heads; head++)
        {
            var kvHead = head / (_shape.Heads / _shape.KvHeads);
            importance += Attention.Attend(
                query.Slice(head * size, size), keys, values, kvHead * size, distances, _slopes[head], _options.Probabilities,
                attended.AsSpan(head * size, size));
        }

        return (attended, importance);
    }

    private void FeedForward(Token token)
    {
        var x = _shape.NormAfter ? token.Stream : _feedForwardNorm.Apply(token.Stream);
        var up = _up.Apply(x, token.IsLow);
        var middle = _shape.Activation switch
        {
            ActivationKind.Relu => Operations.Relu(up),
            ActivationKind.Gelu => Operations.Gelu(up),
            _ => Operations.SwiGlu(_gate!.Apply(x, token.IsLow), up),
        };
        Add(token, _down.Apply(middle, token.IsLow), _feedForwardNorm);
    }

    private void Add(Token token, float[] addition, Norm norm)
    {
        TensorPrimitives.Add(token.Stream, addition, token.Stream);
        if (_shape.NormAfter)
            token.Stream = norm.Apply(token.Stream);
    }
}

using System.Security.Cryptography;
using AgileQuant.Engine.Gguf;
using AgileQuant.Engine.Import;
using AgileQuant.Engine.Packing;

namespace AgileQuant.Engine;

/// <summary>Quantizes a canonical GGUF into a packed model (docs/packed-model.md). The same input and recipe give the same bytes.</summary>
public static class Packer
{
    private const int ChunkBytes = 8 << 20;

    /// <param name="canonicalGguf">What <see cref="ModelImporter"/> or <see cref="RandomModel"/> wrote.</param>
    /// <param name="recipe">How to quantize.</param>
    /// <param name="destination">Written under a temporary name and renamed when complete.</param>
    /// <param name="calibration">The text the recipe names; needed when it names one.</param>
    /// <param name="progress">Share of the input that is packed, 0 to 1.</param>
    /// <param name="cancellation">Stops between chunks of rows; nothing is left behind.</param>
    /// <exception cref="ModelFormatException">The input is not a model this version can pack.</exception>
    /// <exception cref="CalibrationException">The calibration text is missing, too short, or not the recipe's.</exception>
    public static PackResult Pack(
        string canonicalGguf, PackRecipe recipe, string destination, TokenData? calibration = null, IProgress<double>? progress = null,
        CancellationToken cancellation = default)
    {
        CheckCalibration(recipe, calibration);
        using var input = GgufFile.Open(canonicalGguf);
        if (input.Metadata.Contains("agilequant.format"))
            throw new ModelFormatException($"{canonicalGguf}: this is a packed model already; pack the imported model");
        var shape = ModelShape.FromGguf(input);
        var packing = progress;
        using var linears = recipe.Calibration is not null
            ? CalibratedLinears.Make(input, shape, recipe, calibration!, destination, progress, cancellation)
            : null;
        if (linears is not null)
            packing = null; // what is left takes no time
        var items = PackLayout.Items(shape, recipe, linears).ToList();
        var keys = PackLayout.Metadata(input.Metadata, shape, recipe, HashOf(canonicalGguf), linears);
        using var writer = new GgufWriter(destination, keys, items.SelectMany(i => i.Stored).ToList());
        var total = items.Where(i => i.Codec is not null).Sum(i => input.Tensor(i.Source).Bytes);
        long done = 0;
        foreach (var item in items)
        {
            if (item.Data is { } data)
            {
                writer.Write(data());
                continue;
            }

            var source = input.Tensor(item.Source);
            if (!source.Dimensions.SequenceEqual(item.Dimensions))
            {
                throw new ModelFormatException($"{canonicalGguf}: tensor {item.Source} is [{string.Join(", ", source.Dimensions)}], "
                    + $"[{string.Join(", ", item.Dimensions)}] was expected");
            }

            PackTensor(input, source, item.Codec!, writer, bytes =>
            {
                done += bytes;
                packing?.Report((double)done / total);
            }, cancellation);
        }

        var (sha256, size) = writer.Complete();
        return new PackResult(recipe.Precision, sha256, size, recipe) { Explanation = linears?.Explanation };
    }

    /// <summary>Streams a tensor: chunks of rows are quantized in parallel, what stands beside them (scales) is kept and written behind.</summary>
    private static void PackTensor(
        GgufFile input, GgufTensor source, RowCodec codec, GgufWriter writer, Action<long> packed, CancellationToken cancellation)
    {
        int length = (int)source.RowLength, sourceRow = (int)source.Type.RowBytes(length), targetRow = (int)codec.RowBytes(length);
        var sides = codec.Sides(length);
        var sideRow = sides.Sum(s => s.RowBytes);
        var sideBytes = new byte[sideRow * source.Rows];
        var rowsAtOnce = (int)Math.Clamp(ChunkBytes / sourceRow, 1, source.Rows);
        var buffer = new byte[rowsAtOnce * sourceRow];
        var target = new byte[rowsAtOnce * targetRow];
        for (long first = 0; first < source.Rows; first += rowsAtOnce)
        {
            cancellation.ThrowIfCancellationRequested();
            var rows = (int)Math.Min(rowsAtOnce, source.Rows - first);
            input.Read(source, first * sourceRow, buffer.AsSpan(0, rows * sourceRow));
            var (start, bad) = (first, long.MaxValue);
            Parallel.For(0, rows, () => new float[length], (row, _, values) =>
            {
                TensorCodec.ToFloats(source.Type, buffer.AsSpan(row * sourceRow, sourceRow), values);
                var ok = codec.Encode(
                    values, target.AsSpan(row * targetRow, targetRow), sideBytes.AsSpan(checked((int)(start + row) * sideRow), sideRow));
                if (!ok)
                    Interlocked.Exchange(ref bad, start + row);
                return values;
            }, _ => { });
            if (bad != long.MaxValue)
                throw Unusable(input.Path, source.Name, bad);
            writer.Write(target.AsSpan(0, rows * targetRow));
            packed(rows * (long)sourceRow);
        }

        WriteSides(writer, sides, sideBytes, sideRow);
    }

    private static void WriteSides(GgufWriter writer, IReadOnlyList<SideTensor> sides, byte[] bytes, int rowBytes)
    {
        var offset = 0;
        foreach (var side in sides)
        {
            var column = new byte[bytes.Length / rowBytes * side.RowBytes];
            for (var row = 0; row < bytes.Length / rowBytes; row++)
                bytes.AsSpan(row * rowBytes + offset, side.RowBytes).CopyTo(column.AsSpan(row * side.RowBytes));
            writer.Write(column);
            offset += side.RowBytes;
        }
    }

    private static void CheckCalibration(PackRecipe recipe, TokenData? calibration)
    {
        var needed = recipe.Precision.NeedsCalibration || recipe.Calibration is not null;
        if (needed && (calibration is null || recipe.Calibration is null))
            throw PackRecipe.Missing(recipe.Precision);
    }

    private static ModelFormatException Unusable(string path, string tensor, long row) =>
        new($"{path}: row {row} of {tensor} has values that are not finite or that fp16 cannot hold");

    private static string HashOf(string path)
    {
        using var stream = File.OpenRead(path);
        return Convert.ToHexStringLower(SHA256.HashData(stream));
    }
}

using AgileQuant.Engine.Quantization;
using FsCheck;
using FsCheck.Fluent;
using Shouldly;

namespace AgileQuant.Engine.Tests.Quantization;

public sealed class QuantizerTests
{
    [Fact]
    public void Activations_round_half_to_even_and_stay_symmetric()
    {
        var quantized = new int[5];

        Quantizers.Activations([127, 0.5f, 1.5f, -2.5f, -127], 8, quantized).ShouldBe(1);
        quantized.ShouldBe([127, 0, 2, -2, -127]);

        Quantizers.Activations([-7, 0.5f, 1.5f, -2.5f, 7], 4, quantized).ShouldBe(1);
        quantized.ShouldBe([-7, 0, 2, -2, 7]);
    }

    [Theory]
    [InlineData(0f)]
    [InlineData(1e-40f)] // 127 / 1e-40 is not finite
    public void Rows_of_nothing_have_scale_zero(float value)
    {
        int[] quantized = [9, 9];

        Quantizers.Activations([value, -value], 8, quantized).ShouldBe(0);

        quantized.ShouldBe([0, 0]);
    }

    [Fact]
    public void Any_activations_come_back_within_half_a_step() => Prop.ForAll<NormalFloat[]>(values =>
    {
        var row = Row(values);
        foreach (var bits in (int[])[8, 4])
        {
            var limit = bits == 8 ? 127 : 7;
            var quantized = new int[row.Length];
            var scale = Quantizers.Activations(row, bits, quantized);
            for (var i = 0; i < row.Length; i++)
            {
                if (Math.Abs(quantized[i]) > limit || Math.Abs(row[i] - quantized[i] * scale) > 0.5001f * scale)
                    return false;
            }
        }

        return true;
    }).QuickCheckThrowOnFailure();

    [Fact]
    public void Any_weights_come_back_within_half_a_step() => Prop.ForAll<NormalFloat[]>(values =>
    {
        var row = Row(values);
        var quantized = new sbyte[row.Length];
        var scale = Quantizers.Int8Row(row, quantized);
        var eight = row.Zip(quantized).All(p => Math.Abs(p.First - p.Second * scale) <= 0.5001f * scale && p.Second != -128);
        var coarse = (float)Quantizers.Int4Group(row, quantized);
        // The rounded scale moves the outermost values by at most 7 * 2^-11 of themselves beyond half a step.
        var four = row.Zip(quantized).All(p => Math.Abs(p.First - p.Second * coarse) <= 0.51f * coarse && p.Second is >= -8 and <= 7);
        return eight && four;
    }).QuickCheckThrowOnFailure();

    [Fact]
    public void Int4_uses_the_scale_it_stores()
    {
        // absmax / 7 = 0.1428..., in fp16 0.14282227; 0.5 / 0.14282227 = 3.5008 rounds to 4, with the exact scale it would be a tie.
        var quantized = new sbyte[2];

        var scale = Quantizers.Int4Group([1, 0.5f], quantized);

        scale.ShouldBe((Half)(1f / 7f));
        quantized.ShouldBe([(sbyte)7, (sbyte)4]);
    }

    [Fact]
    public void A_group_whose_scale_fp16_cannot_hold_is_zero()
    {
        var quantized = new sbyte[1];

        Quantizers.Int4Group([1e-8f], quantized).ShouldBe((Half)0);

        quantized[0].ShouldBe((sbyte)0);
    }

    [Theory]
    [InlineData(64, 32, 32, 2)]
    [InlineData(172, 32, 32, 6)]
    [InlineData(172, 0, 192, 1)]
    [InlineData(172, 128, 128, 2)]
    [InlineData(1, 0, 32, 1)]
    public void Groups_cover_the_row(int length, int groupSize, int size, int count) =>
        Quantizers.Groups(length, groupSize).ShouldBe((size, count));

    [Fact]
    public void Nibbles_come_back() => Prop.ForAll<byte[]>(bytes =>
    {
        var values = Enumerable.Range(0, 64).Select(i => (sbyte)(i < bytes.Length ? bytes[i] % 16 - 8 : 0)).ToArray();
        var packed = new byte[32];
        Quantizers.PackNibbles(values, packed);
        var back = new int[64];
        Quantizers.UnpackNibbles(packed, back);
        return back.SequenceEqual(values.Select(v => (int)v)) && (packed[0] & 15) == values[0] + 8 && packed[0] >> 4 == values[16] + 8;
    }).QuickCheckThrowOnFailure();

    [Theory]
    [InlineData(1f, 1f)]
    [InlineData(0.75f, 1f)] // -log2 = 0.415
    [InlineData(0.7f, 0.5f)] // 0.515
    [InlineData(0.25f, 0.25f)]
    [InlineData(3.0517578e-5f, 3.0517578e-5f)] // 2^-15
    [InlineData(2e-5f, 0f)] // 15.6 rounds to 16
    [InlineData(0f, 0f)]
    public void Probabilities_become_powers_of_two(float probability, float expected) =>
        Quantizers.Log2Probability(probability).ShouldBe(expected);

    private static float[] Row(NormalFloat[] values) =>
        [.. values.Select(v => (float)Math.Clamp(v.Get, -1e4, 1e4)).Select(v => Math.Abs(v) < 1e-2f ? 0 : v)];
}

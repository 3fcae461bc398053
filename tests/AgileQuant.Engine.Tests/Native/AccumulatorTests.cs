using System.Runtime.InteropServices;
using AgileQuant.Engine.Quantization;
using AgileQuant.Engine.Reference;
using Shouldly;

namespace AgileQuant.Engine.Tests.Native;

/// <summary>Integer products of every native kernel against the reference: equal, not near.</summary>
public sealed class AccumulatorTests(ITestOutputHelper output) : IDisposable
{
    private static readonly (int M, int N, int K)[] Shapes =
    [
        (1, 1, 1), (1, 5, 31), (2, 3, 32), (3, 7, 33), (5, 17, 64), (4, 9, 127), (7, 33, 172), (1, 64, 256), (9, 31, 257), (2, 5, 4097),
    ];

    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData("w8a8")]
    [InlineData("w4a8")]
    [InlineData("w4a4")]
    public void Every_kernel_of_this_cpu_gives_the_reference_accumulators(string kernel) =>
        CheckAll(NativeEngine.OfThisMachine(), kernel, Shapes);

    [Theory]
    [InlineData("w8a8", "cortex-a72")]
    [InlineData("w4a8", "cortex-a72")]
    [InlineData("w4a4", "cortex-a72")]
    [InlineData("w8a8", "max")]
    [InlineData("w4a8", "max")]
    [InlineData("w4a4", "max")]
    public void Every_kernel_of_emulated_arm_gives_the_reference_accumulators(string kernel, string cpu) =>
        CheckAll(NativeEngine.EmulatedArm(cpu), kernel, Shapes[3..^1]);

    [Theory]
    [InlineData("w8a8", 127, 127, 131072)]
    [InlineData("w8a8", -127, 127, 131072)]
    [InlineData("w4a8", -127, -8, 131072)]
    [InlineData("w4a8", 127, -8, 131072)]
    [InlineData("w4a8", -127, 7, 4096)]
    [InlineData("w4a4", -7, -8, 131072)]
    [InlineData("w4a4", 7, 7, 4096)]
    public void The_largest_values_do_not_overflow_or_saturate(string kernel, int activation, int weight, int k)
    {
        var engine = NativeEngine.OfThisMachine();
        foreach (var isa in engine.Isas)
        {
            foreach (var group in kernel == "w8a8" ? (int[])[0] : [0, 32, 128])
                Check(engine, isa, Product.Constant(kernel, 2, 3, k, group, activation, weight));
        }
    }

    private void CheckAll(NativeEngine engine, string kernel, (int M, int N, int K)[] shapes)
    {
        var random = new Random(31);
        foreach (var isa in engine.Isas)
        {
            foreach (var (m, n, k) in shapes)
            {
                foreach (var group in kernel == "w8a8" ? (int[])[0] : [0, 32, 64, 128])
                    Check(engine, isa, Product.Random(random, kernel, m, n, k, group));
            }
        }

        output.WriteLine($"{kernel}: {string.Join(", ", engine.Isas)} over {shapes.Length} shapes");
    }

    private void Check(NativeEngine engine, string isa, Product product)
    {
        File.WriteAllBytes(_folder.File("in"), product.Input());

        engine.Run("accumulate", "--kernel", product.Kernel, "--isa", isa, "--in", _folder.File("in"), "--out", _folder.File("out"));

        var actual = MemoryMarshal.Cast<byte, int>(File.ReadAllBytes(_folder.File("out")));
        var expected = product.Expected();
        actual.Length.ShouldBe(expected.Length);
        var equal = actual.CommonPrefixLength(expected);
        if (equal < expected.Length)
            Assert.Fail($"{isa} {product}: accumulator {equal} is {actual[equal]}, the reference has {expected[equal]}");
    }

    /// <summary>A product in the form of <c>aqengine accumulate</c>.</summary>
    private sealed record Product(string Kernel, int M, int N, int K, int Group, sbyte[] Activations, byte[] Weights)
    {
        public static Product Random(Random random, string kernel, int m, int n, int k, int group) => Make(
            kernel, m, n, k, group,
            kernel == "w4a4" ? () => random.Next(-7, 8) : () => random.Next(-127, 128),
            kernel == "w8a8" ? () => random.Next(-127, 128) : () => random.Next(-8, 8));

        public static Product Constant(string kernel, int m, int n, int k, int group, int activation, int weight) =>
            Make(kernel, m, n, k, group, () => activation, () => weight);

        public int[] Expected() => Kernel == "w8a8"
            ? Accumulators.Int8(Activations, MemoryMarshal.Cast<byte, sbyte>(Weights), M, N, K)
            : Accumulators.Int4(Activations, Weights, M, N, K, Group);

        public byte[] Input() =>
        [
            .. BitConverter.GetBytes(M), .. BitConverter.GetBytes(N), .. BitConverter.GetBytes(K), .. BitConverter.GetBytes(Group),
            .. MemoryMarshal.AsBytes(Activations.AsSpan()), .. Weights,
        ];

        public override string ToString() => $"{Kernel} m {M} n {N} k {K} group {Group}";

        private static Product Make(string kernel, int m, int n, int k, int group, Func<int> activation, Func<int> weight)
        {
            var activations = new sbyte[m * k];
            for (var i = 0; i < activations.Length; i++)
                activations[i] = (sbyte)activation();
            var (size, groups) = Quantizers.Groups(k, group);
            var padded = kernel == "w8a8" ? k : size * groups;
            var weights = new sbyte[n * padded];
            for (var i = 0; i < weights.Length; i++)
                weights[i] = i % padded < k ? (sbyte)weight() : (sbyte)0;
            if (kernel == "w8a8")
                return new Product(kernel, m, n, k, 0, activations, MemoryMarshal.AsBytes(weights.AsSpan()).ToArray());
            var nibbles = new byte[weights.Length / 2];
            Quantizers.PackNibbles(weights, nibbles);
            return new Product(kernel, m, n, k, group, activations, nibbles);
        }
    }
}

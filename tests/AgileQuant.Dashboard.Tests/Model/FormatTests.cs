using AgileQuant.Dashboard.Model;
using Shouldly;
using Xunit;

namespace AgileQuant.Dashboard.Tests.Model;

public sealed class FormatTests
{
    [Theory]
    [InlineData(0, "0")]
    [InlineData(0.4567, "0.457")]
    [InlineData(6.1, "6.10")]
    [InlineData(21.44, "21.4")]
    [InlineData(1234.4, "1,234")]
    [InlineData(-6.1, "−6.10")]
    public void Numbers_keep_three_significant_digits(double value, string expected) => Format.Number(value).ShouldBe(expected);

    [Theory]
    [InlineData(2.314, "+2.31%")]
    [InlineData(-0.126, "−0.13%")]
    [InlineData(0.0001, "0.00%")]
    [InlineData(-0.0001, "0.00%")]
    [InlineData(12.34, "+12.3%")]
    public void Differences_always_show_their_sign_unless_they_round_to_zero(double value, string expected) =>
        Format.SignedPercent(value).ShouldBe(expected);

    [Theory]
    [InlineData(512L, "512 B")]
    [InlineData(4L << 30, "4 GiB")]
    [InlineData(1536L << 20, "1.5 GiB")]
    public void Memory_is_in_binary_units(long bytes, string expected) => Format.Memory(bytes).ShouldBe(expected);

    [Fact]
    public void File_sizes_are_in_decimal_units() => Format.FileSize(301_234_567).ShouldBe("301 MB");

    [Fact]
    public void What_is_missing_is_a_dash_and_never_a_zero()
    {
        Format.Rate(null).ShouldBe(Format.None);
        Format.Memory(null).ShouldBe(Format.None);
        Format.Celsius(null).ShouldBe(Format.None);
        Format.Clock(null).ShouldBe(Format.None);
        Format.ShortHash(null).ShouldBe(Format.None);
    }

    [Theory]
    [InlineData(2, "now")]
    [InlineData(42, "42 s ago")]
    [InlineData(600, "10 min ago")]
    [InlineData(7200, "2 h ago")]
    [InlineData(864000, "10 days ago")]
    public void Ages_are_coarse(int seconds, string expected)
    {
        var now = DateTimeOffset.UnixEpoch.AddYears(50);
        Format.Ago(now.AddSeconds(-seconds), now).ShouldBe(expected);
    }

    [Fact]
    public void Never_seen_is_never() => Format.Ago(null, DateTimeOffset.UnixEpoch).ShouldBe("never");

    [Theory]
    [InlineData(1_500L, "1.50 µs")]
    [InlineData(2_340_000L, "2.34 ms")]
    [InlineData(5_400_000_000L, "5.40 s")]
    public void Times_have_the_unit_that_suits_them(long ns, string expected) => Format.Nanoseconds(ns).ShouldBe(expected);
}

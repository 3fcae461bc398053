using AgileQuant.Dashboard.Model;
using AgileQuant.Dashboard.Tests.Fakes;
using AgileQuant.Orchestrator.Contracts;
using Shouldly;
using Xunit;

namespace AgileQuant.Dashboard.Tests.Model;

public sealed class FilterTests
{
    public static TheoryData<string?, string?, string?, string?> MatrixFilters => new()
    {
        { null, null, null, null },
        { nameof(Metric.PerplexityDelta), null, null, null },
        { nameof(Metric.PrefillSpeed), "a & b=c?#", "speed/π", nameof(RunState.Incomplete) },
    };

    [Theory]
    [MemberData(nameof(MatrixFilters))]
    public void A_matrix_filter_survives_the_address(string? metric, string? model, string? workload, string? state)
    {
        var filter = new MatrixFilter(metric is null ? null : Enum.Parse<Metric>(metric), model, workload, state is null ? null : Enum.Parse<RunState>(state));
        MatrixFilter.Parse(filter.ToQuery()).ShouldBe(filter);
    }

    [Fact]
    public void Every_metric_survives_the_address()
    {
        foreach (var metric in Enum.GetValues<Metric>())
        {
            MatrixFilter.Parse(new MatrixFilter(metric).ToQuery()).Metric.ShouldBe(metric);
        }
    }

    [Fact]
    public void Fleet_and_matrices_filters_survive_the_address()
    {
        var fleet = new FleetFilter("cortex a76 +", DeviceState.Cooling, DeviceKind.Emulated);
        FleetFilter.Parse(fleet.ToQuery()).ShouldBe(fleet);
        var matrices = new MatricesFilter("week", MatrixState.Cancelling);
        MatricesFilter.Parse(matrices.ToQuery()).ShouldBe(matrices);
    }

    [Fact]
    public void No_filter_leaves_the_address_alone() => new MatrixFilter().ToQuery().ShouldBeEmpty();

    [Theory]
    [InlineData("?metric=nonsense&state=42&model=")]
    [InlineData("?metric=0")]
    [InlineData("?&&&=")]
    public void Nonsense_in_the_address_is_ignored(string query) => MatrixFilter.Parse(query).ShouldBe(new MatrixFilter());

    [Fact]
    public void The_fleet_is_searched_by_name_address_and_cpu()
    {
        var shelf = FakeDevices.Shelf();
        shelf.Where(new FleetFilter("N100").Admits).Select(d => d.Name).ShouldBe(["minipc-n100"]);
        shelf.Where(new FleetFilter("10.0.4.11").Admits).Select(d => d.Name).ShouldBe(["pi4"]);
        shelf.Where(new FleetFilter("cortex-a72").Admits).Select(d => d.Name).ShouldBe(["pi4", "qemu-a72"]);
        shelf.Where(new FleetFilter(State: DeviceState.Bad).Admits).Select(d => d.Name).ShouldBe(["pixel6"]);
        shelf.Where(new FleetFilter(Kind: DeviceKind.Emulated).Admits).Select(d => d.Name).ShouldBe(["qemu-a72"]);
    }
}

using AgileQuant.Orchestrator.Contracts;
using AgileQuant.Orchestrator.Services;
using AgileQuant.Orchestrator.Tests.Support;
using Microsoft.Extensions.DependencyInjection;

namespace AgileQuant.Orchestrator.Tests.Services;

/// <summary>Progress from the change feed and Postgres.</summary>
public sealed class MatrixProgressTests : IAsyncLifetime
{
    private TestStore? _store;
    private ServiceProvider? _services;

    private TestStore Store => _store!;

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    private T Get<T>() where T : notnull => _services!.GetRequiredService<T>();

    public async ValueTask InitializeAsync()
    {
        _store = await TestStore.CreateAsync();
        var services = new ServiceCollection();
        services.AddLogging();
        services.AddAgileQuantOrchestrator(Store.Options with { RunNode = false });
        services.AddSingleton<IMatrixService>(p => new CountingMatrices(ActivatorUtilities.CreateInstance<MatrixService>(p)));
        _services = services.BuildServiceProvider();
        await Get<ChangeFeed>().StartAsync(Ct);
    }

    public async ValueTask DisposeAsync()
    {
        await Get<ChangeFeed>().StopAsync(CancellationToken.None);
        await _services!.DisposeAsync();
        await Store.DisposeAsync();
    }

    [Fact]
    public async Task All_readers_see_a_change_that_was_worked_out_once()
    {
        var (matrix, _) = await TestJob.AddMatrixAsync(Store, await Store.AddDeviceAsync(), TestJob.Speed);
        MatrixReader[] readers = [.. Enumerable.Range(0, 5).Select(_ => new MatrixReader(Get<IMatrixProgress>(), matrix))];
        foreach (var reader in readers)
            (await reader.UntilAsync(v => v.Summary.State == MatrixState.Running))!.Summary.Id.ShouldBe(matrix);
        await Get<IMatrixService>().CancelAsync(matrix, "tester", Ct);
        foreach (var reader in readers)
            await reader.UntilAsync(v => v.Summary.State is MatrixState.Cancelling or MatrixState.Cancelled);
        var counted = (CountingMatrices)Get<IMatrixService>();
        counted.Found.ShouldBeLessThan(5 * 2, "five readers of their own would have worked it out ten times");
        foreach (var reader in readers)
            await reader.DisposeAsync();
    }

    [Fact]
    public async Task It_ends_for_a_matrix_that_is_not_there()
    {
        await using var reader = new MatrixReader(Get<IMatrixProgress>(), Guid.NewGuid());
        await TestNode.UntilAsync(() => Task.FromResult(reader.Ended), e => e, TimeSpan.FromSeconds(30));
        reader.Last.ShouldBeNull();
    }
}

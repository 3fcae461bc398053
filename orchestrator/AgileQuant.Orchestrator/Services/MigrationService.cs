using AgileQuant.Orchestrator.Storage;
using Microsoft.Extensions.Hosting;

namespace AgileQuant.Orchestrator.Services;

/// <summary>Brings the database up to date before any other hosted service starts.</summary>
public sealed class MigrationService(Database database) : IHostedService
{
    public Task StartAsync(CancellationToken cancellationToken) => Migrator.MigrateAsync(database, cancellationToken);

    public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;
}

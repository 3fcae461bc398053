using System.Data;
using Dapper;
using Npgsql;

namespace AgileQuant.Orchestrator.Storage;

/// <summary>Connections to the cluster's database, and how Dapper maps its types.</summary>
public sealed class Database : IAsyncDisposable
{
    private Guid? _clusterId;

    static Database()
    {
        DefaultTypeMap.MatchNamesWithUnderscores = true;
        SqlMapper.AddTypeHandler(new UtcHandler());
    }

    public Database(OrchestratorOptions options)
    {
        var builder = new NpgsqlDataSourceBuilder(options.ConnectionString);
        builder.ConnectionStringBuilder.ApplicationName = $"agilequant {options.NodeName}";
        builder.ConnectionStringBuilder.CommandTimeout = 60;
        if (builder.ConnectionStringBuilder.KeepAlive == 0)
            builder.ConnectionStringBuilder.KeepAlive = 5; // seconds; else a listener never notices that the database is out of reach
        Source = builder.Build();
    }

    public NpgsqlDataSource Source { get; }

    public ValueTask<NpgsqlConnection> OpenAsync(CancellationToken ct = default) => Source.OpenConnectionAsync(ct);

    /// <summary>Runs one statement; returns the rows it changed.</summary>
    public async Task<int> ExecuteAsync(string sql, object? parameters = null, CancellationToken ct = default)
    {
        await using var connection = await OpenAsync(ct);
        return await connection.ExecuteAsync(new CommandDefinition(sql, parameters, cancellationToken: ct));
    }

    public async Task<List<T>> QueryAsync<T>(string sql, object? parameters = null, CancellationToken ct = default)
    {
        await using var connection = await OpenAsync(ct);
        return (await connection.QueryAsync<T>(new CommandDefinition(sql, parameters, cancellationToken: ct))).AsList();
    }

    /// <summary>The first row, or the default value when there is none.</summary>
    public async Task<T?> FirstAsync<T>(string sql, object? parameters = null, CancellationToken ct = default)
    {
        await using var connection = await OpenAsync(ct);
        return await connection.QueryFirstOrDefaultAsync<T>(new CommandDefinition(sql, parameters, cancellationToken: ct));
    }

    /// <summary>Id of this cluster, which boards store.</summary>
    public async Task<Guid> ClusterIdAsync(CancellationToken ct = default) =>
        _clusterId ??= await FirstAsync<Guid>("select id from cluster", null, ct);

    public ValueTask DisposeAsync() => Source.DisposeAsync();

    /// <summary><c>timestamptz</c> comes from Npgsql as a UTC DateTime.</summary>
    private sealed class UtcHandler : SqlMapper.TypeHandler<DateTimeOffset>
    {
        public override DateTimeOffset Parse(object value) => value switch
        {
            DateTime time => new DateTimeOffset(DateTime.SpecifyKind(time, DateTimeKind.Utc)),
            DateTimeOffset time => time,
            _ => throw new DataException($"cannot read {value.GetType()} as a time"),
        };

        public override void SetValue(IDbDataParameter parameter, DateTimeOffset value) => parameter.Value = value.UtcDateTime;
    }
}

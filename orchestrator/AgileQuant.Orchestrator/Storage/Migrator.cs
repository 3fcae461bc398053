using System.Reflection;
using System.Security.Cryptography;
using System.Text;
using AgileQuant.Orchestrator.Contracts;
using Dapper;
using Npgsql;

namespace AgileQuant.Orchestrator.Storage;

/// <summary>Applies the numbered migrations that are embedded in this assembly, in order, each once.</summary>
public static class Migrator
{
    /// <summary>Any constant that nobody else uses: "AQBM".</summary>
    private const long LockKey = 0x4151424D;

    /// <summary>Applies what is missing. Safe when several nodes start together: an advisory lock lets one in at a time.</summary>
    /// <exception cref="InvalidOperationException">The database is newer than this program, or an applied migration was changed.</exception>
    public static async Task MigrateAsync(Database database, CancellationToken ct = default)
    {
        await using var connection = await database.OpenAsync(ct);
        await connection.ExecuteAsync(new CommandDefinition("select pg_advisory_lock(@LockKey)", new { LockKey }, cancellationToken: ct));
        try
        {
            await connection.ExecuteAsync("""
                create table if not exists schema_migration (
                    name text primary key, sha256 text not null, applied_at timestamptz not null default clock_timestamp())
                """);
            var applied = (await connection.QueryAsync<(string Name, string Sha256)>("select name, sha256 from schema_migration"))
                .ToDictionary(m => m.Name, m => m.Sha256);
            var known = ReadAll();
            Check(applied, known);
            foreach (var (name, sql) in known.Where(m => !applied.ContainsKey(m.Name)))
                await ApplyAsync(connection, name, sql, ct);
        }
        finally
        {
            await connection.ExecuteAsync("select pg_advisory_unlock(@LockKey)", new { LockKey });
        }
    }

    private static void Check(Dictionary<string, string> applied, IReadOnlyList<(string Name, string Sql)> known)
    {
        foreach (var (name, sha) in applied)
        {
            var ours = known.FirstOrDefault(m => m.Name == name);
            if (ours.Name is null)
            {
                throw new UserErrorException(
                    $"The database has the migration {name}, which this version does not know. Update AgileQuant.Bench on this machine.");
            }

            if (Hash(ours.Sql) != sha)
                throw new UserErrorException(
                    $"The migration {name} is not the one this database was made with. Use the version that made it, or another BENCH_HOME or database.");
        }
    }

    private static async Task ApplyAsync(NpgsqlConnection connection, string name, string sql, CancellationToken ct)
    {
        await using var transaction = await connection.BeginTransactionAsync(ct);
        await connection.ExecuteAsync(new CommandDefinition(sql, transaction: transaction, cancellationToken: ct));
        await connection.ExecuteAsync(
            "insert into schema_migration (name, sha256) values (@name, @sha)", new { name, sha = Hash(sql) }, transaction);
        await transaction.CommitAsync(ct);
    }

    private static List<(string Name, string Sql)> ReadAll()
    {
        var assembly = Assembly.GetExecutingAssembly();
        return assembly.GetManifestResourceNames()
            .Where(n => n.EndsWith(".sql", StringComparison.Ordinal))
            .Order(StringComparer.Ordinal)
            .Select(n =>
            {
                using var reader = new StreamReader(assembly.GetManifestResourceStream(n)!);
                return (n.Split('.')[^2], reader.ReadToEnd());
            })
            .ToList();
    }

    private static string Hash(string sql) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(sql.ReplaceLineEndings("\n"))));
}

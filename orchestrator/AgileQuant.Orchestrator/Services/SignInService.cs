using System.Security.Cryptography;
using System.Text;
using AgileQuant.Orchestrator.Contracts;
using AgileQuant.Orchestrator.Storage;

namespace AgileQuant.Orchestrator.Services;

/// <inheritdoc cref="ISignInService"/>
public sealed class SignInService(Database database) : ISignInService
{
    private const int TokenBytes = 32;
    private static readonly TimeSpan LongestLifetime = TimeSpan.FromDays(1);

    public async Task<string> CreateOneTimeTokenAsync(TimeSpan lifetime, CancellationToken ct = default)
    {
        if (lifetime <= TimeSpan.Zero || lifetime > LongestLifetime)
            throw new UserErrorException("A sign-in link lives for at most a day: choose a shorter lifetime.");
        var token = Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(TokenBytes));
        await database.ExecuteAsync(
            """
            with old as (delete from sign_in_token where expires_at < clock_timestamp() - interval '7 days')
            insert into sign_in_token (hash, expires_at) values (@hash, clock_timestamp() + @lifetime)
            """,
            new { hash = Hash(token), lifetime }, ct);
        return token;
    }

    /// <remarks>One statement: of two requests with the same token, exactly one changes the row.</remarks>
    public async Task<bool> RedeemAsync(string token, CancellationToken ct = default)
    {
        if (token.Length != TokenBytes * 2)
            return false;
        return await database.ExecuteAsync(
            """
            update sign_in_token set used_at = clock_timestamp()
            where hash = @hash and used_at is null and expires_at > clock_timestamp()
            """,
            new { hash = Hash(token) }, ct) == 1;
    }

    private static string Hash(string token) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(token)));
}

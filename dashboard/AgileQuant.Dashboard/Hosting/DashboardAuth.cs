using Microsoft.AspNetCore.Authorization;

namespace AgileQuant.Dashboard.Hosting;

/// <summary>Names of the dashboard's own authentication scheme and policy; other schemes of the host do not open its pages.</summary>
internal static class DashboardAuth
{
    internal const string Scheme = "AgileQuant.Dashboard";
    internal const string CookieName = "agilequant-session";

    /// <summary>Recorded as the author of matrices and cancellations until there are users of their own.</summary>
    internal const string UserName = "dashboard";

    internal const int MaxTokenLength = 512;

    internal static readonly TimeSpan SessionLifetime = TimeSpan.FromDays(7);

    internal static readonly AuthorizationPolicy Policy =
        new AuthorizationPolicyBuilder(Scheme).RequireAuthenticatedUser().Build();

    /// <summary>A path of this site to return to after sign-in; anything else becomes the home page.</summary>
    internal static string LocalOrHome(string? url) =>
        url is ['/', ..] and not ['/', '/', ..] and not ['/', '\\', ..] && !url.AsSpan().ContainsAny('\r', '\n') ? url : "/";
}

using AgileQuant.Dashboard.Components;
using AgileQuant.Dashboard.Hosting;
using Microsoft.AspNetCore.Authentication.Cookies;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Radzen;

namespace AgileQuant.Dashboard;

/// <summary>Adds the dashboard to a host that provides the orchestrator's application services.</summary>
public static class DashboardExtensions
{
    /// <summary>
    /// Registers the dashboard: Blazor Server components, Radzen, the session cookie and antiforgery. The host registers the
    /// services of <c>AgileQuant.Orchestrator.Contracts</c> itself (they may be singletons: a circuit calls them concurrently),
    /// and persists data-protection keys if sessions are to survive a restart.
    /// </summary>
    public static IServiceCollection AddAgileQuantDashboard(this IServiceCollection services)
    {
        services.AddRazorComponents().AddInteractiveServerComponents();
        services.AddRadzenComponents();
        services.AddCascadingAuthenticationState();
        services.AddAntiforgery();
        services.TryAddSingleton(TimeProvider.System);
        services.AddAuthorization();
        services.AddAuthentication().AddCookie(DashboardAuth.Scheme, ConfigureCookie);
        return services;
    }

    /// <summary>
    /// Maps the pages, sign-in, report downloads and static files, and adds authentication, authorization and antiforgery to
    /// the pipeline. Call it once, after the host's own middleware and beside its other endpoints.
    /// </summary>
    /// <remarks>
    /// Style sheets and scripts are static web assets of this library and of Radzen. A published host has them under
    /// <c>wwwroot/_content</c>; a host run from its build output finds them through
    /// <c>{ApplicationName}.staticwebassets.runtime.json</c>, which ASP.NET Core loads in Development only. This method loads
    /// it in every environment when the assets are missing, so the host need not call <c>UseStaticWebAssets</c>; it must
    /// however use <c>Microsoft.NET.Sdk.Web</c> (that is what writes the manifest) and keep <c>ApplicationName</c> at its
    /// assembly's name. It throws when the assets cannot be found. Binding to loopback is the host's duty.
    /// </remarks>
    /// <exception cref="InvalidOperationException">The static web assets are neither published nor in a manifest.</exception>
    public static WebApplication MapAgileQuantDashboard(this WebApplication app)
    {
        StaticAssets.EnsurePresent(app.Environment, app.Configuration);
        app.Use(SecurityHeaders.AddAsync);
        app.Use(NotFoundPages.LeadAsync);
        app.UseStaticFiles(StaticAssets.Options(app.Environment));
        app.UseAuthentication();
        app.UseAuthorization();
        app.UseAntiforgery();

        FrameworkScript.Map(app);
        SignInEndpoints.Map(app);
        ReportEndpoint.Map(app);
        app.MapRazorComponents<App>()
            .AddInteractiveServerRenderMode()
            .RequireAuthorization(DashboardAuth.Policy);
        return app;
    }

    private static void ConfigureCookie(CookieAuthenticationOptions options)
    {
        options.Cookie.Name = DashboardAuth.CookieName;
        options.Cookie.HttpOnly = true;
        options.Cookie.SameSite = SameSiteMode.Lax;
        options.Cookie.SecurePolicy = CookieSecurePolicy.SameAsRequest;
        options.ExpireTimeSpan = DashboardAuth.SessionLifetime;
        options.SlidingExpiration = true;
        options.LoginPath = SignInEndpoints.SignInPath;
        options.ReturnUrlParameter = "returnUrl";
    }
}

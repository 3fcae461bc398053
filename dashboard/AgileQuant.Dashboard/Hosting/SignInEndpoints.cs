using System.Security.Claims;
using AgileQuant.Dashboard.Components.Pages;
using AgileQuant.Orchestrator.Contracts;
using Microsoft.AspNetCore.Antiforgery;
using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.AspNetCore.Routing;

namespace AgileQuant.Dashboard.Hosting;

/// <summary>Sign-in by the one-time link and sign-out.</summary>
internal static class SignInEndpoints
{
    internal const string SignInPath = "/signin";
    internal const string SignOutPath = "/signout";

    internal static void Map(IEndpointRouteBuilder endpoints)
    {
        endpoints.MapGet(SignInPath, SignInAsync).AllowAnonymous().ExcludeFromDescription();
        endpoints.MapPost(SignOutPath, SignOutAsync).RequireAuthorization(DashboardAuth.Policy).ExcludeFromDescription();
    }

    private static async Task<IResult> SignInAsync(
        HttpContext context, ISignInService signIn, string? token, string? returnUrl, CancellationToken ct)
    {
        context.Response.Headers.CacheControl = "no-store";
        if (string.IsNullOrWhiteSpace(token))
        {
            return Page(refused: false, StatusCodes.Status200OK);
        }

        if (token.Length > DashboardAuth.MaxTokenLength || !await signIn.RedeemAsync(token.Trim(), ct))
        {
            return Page(refused: true, StatusCodes.Status401Unauthorized);
        }

        var identity = new ClaimsIdentity([new Claim(ClaimTypes.Name, DashboardAuth.UserName)], DashboardAuth.Scheme);
        await context.SignInAsync(DashboardAuth.Scheme, new ClaimsPrincipal(identity));
        return Results.LocalRedirect(DashboardAuth.LocalOrHome(returnUrl));
    }

    private static RazorComponentResult<SignInPage> Page(bool refused, int status) =>
        new(new Dictionary<string, object?> { [nameof(SignInPage.Refused)] = refused }) { StatusCode = status };

    private static async Task<IResult> SignOutAsync(HttpContext context, IAntiforgery antiforgery)
    {
        if (!await antiforgery.IsRequestValidAsync(context))
        {
            return Results.BadRequest("This form is too old. Go back, reload the page and sign out again.");
        }

        await context.SignOutAsync(DashboardAuth.Scheme);
        return Results.LocalRedirect(SignInPath);
    }
}

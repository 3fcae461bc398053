using System.Net;
using System.Reflection;
using AgileQuant.Dashboard.Tests.Fakes;
using Microsoft.AspNetCore.Components;
using Shouldly;
using Xunit;

namespace AgileQuant.Dashboard.Tests.Hosting;

/// <summary>Over a real Kestrel: what a browser without, with and with a used link gets.</summary>
public sealed class SignInTests(SignInTests.Host fixture) : IClassFixture<SignInTests.Host>
{
    public sealed class Host : IAsyncLifetime
    {
        internal DevHost Dev { get; private set; } = null!;

        public async ValueTask InitializeAsync() => Dev = await DevHost.StartAsync();

        public ValueTask DisposeAsync() => Dev.DisposeAsync();
    }

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    private DevHost Dev => fixture.Dev;

    /// <summary>Every page there is, found by reflection so that a new one cannot be forgotten.</summary>
    public static TheoryData<string> Pages =>
    [
        .. typeof(DashboardExtensions).Assembly.GetTypes().SelectMany(t => t.GetCustomAttributes<RouteAttribute>())
            .Select(r => r.Template.Replace("{Id:guid}", Guid.Empty.ToString(), StringComparison.Ordinal)
                .Replace("{Id}", "shelf-week-11", StringComparison.Ordinal).Replace("{Name}", "pi5", StringComparison.Ordinal)),
        "/matrices/shelf-week-11/report/html", "/matrices/shelf-week-11/report/json",
    ];

    private HttpClient Client() => new(new HttpClientHandler { AllowAutoRedirect = false, UseCookies = true }) { BaseAddress = new(Dev.Address) };

    private async Task<HttpClient> SignedInAsync()
    {
        var client = Client();
        (await client.GetAsync(await Dev.SignInLinkAsync(), Ct)).StatusCode.ShouldBe(HttpStatusCode.Redirect);
        return client;
    }

    [Fact]
    public void There_are_pages_to_check() => Pages.Count.ShouldBeGreaterThan(9);

    [Theory]
    [MemberData(nameof(Pages))]
    public async Task A_page_without_a_session_leads_to_sign_in_and_back(string path)
    {
        using var client = Client();
        using var answer = await client.GetAsync(path, Ct);
        answer.StatusCode.ShouldBe(HttpStatusCode.Redirect);
        answer.Headers.Location!.ToString().ShouldContain("/signin?returnUrl=" + Uri.EscapeDataString(path));
        (await answer.Content.ReadAsStringAsync(Ct)).ShouldNotContain("pi5");
    }

    [Theory]
    [MemberData(nameof(Pages))]
    public async Task A_session_opens_every_page(string path)
    {
        using var client = await SignedInAsync();
        using var answer = await client.GetAsync(path, Ct);
        answer.StatusCode.ShouldBe(HttpStatusCode.OK);
    }

    [Fact]
    public async Task The_live_connection_needs_a_session()
    {
        using var client = Client();
        using var answer = await client.PostAsync("/_blazor/negotiate?negotiateVersion=1", null, Ct);
        answer.StatusCode.ShouldBeOneOf(HttpStatusCode.Redirect, HttpStatusCode.Unauthorized);
        using var signedIn = await SignedInAsync();
        using var open = await signedIn.PostAsync("/_blazor/negotiate?negotiateVersion=1", null, Ct);
        open.StatusCode.ShouldBe(HttpStatusCode.OK);
    }

    [Fact]
    public async Task A_link_works_once()
    {
        var link = await Dev.SignInLinkAsync();
        using var first = Client();
        (await first.GetAsync(link, Ct)).StatusCode.ShouldBe(HttpStatusCode.Redirect);
        using var second = Client();
        using var again = await second.GetAsync(link, Ct);
        again.StatusCode.ShouldBe(HttpStatusCode.Unauthorized);
        (await again.Content.ReadAsStringAsync(Ct)).ShouldContain("used already");
        (await second.GetAsync("/status", Ct)).StatusCode.ShouldBe(HttpStatusCode.Redirect);
    }

    [Fact]
    public async Task The_session_cookie_is_kept_from_scripts_and_other_sites()
    {
        using var client = Client();
        using var answer = await client.GetAsync(await Dev.SignInLinkAsync(), Ct);
        var cookie = answer.Headers.GetValues("Set-Cookie").ShouldHaveSingleItem();
        cookie.ShouldContain("httponly");
        cookie.ShouldContain("samesite=lax");
    }

    [Fact]
    public async Task A_link_never_leads_to_another_site()
    {
        using var client = Client();
        using var answer = await client.GetAsync(await Dev.SignInLinkAsync() + "&returnUrl=%2F%2Fevil.example", Ct);
        answer.Headers.Location!.ToString().ShouldBe("/");
    }

    [Fact]
    public async Task Without_a_token_the_page_says_how_to_get_a_link()
    {
        using var client = Client();
        using var answer = await client.GetAsync("/signin", Ct);
        answer.StatusCode.ShouldBe(HttpStatusCode.OK);
        var page = await answer.Content.ReadAsStringAsync(Ct);
        page.ShouldContain("bench signin");
        page.ShouldContain("data-testid=\"signin\"");
        answer.Headers.GetValues("Referrer-Policy").ShouldBe(["no-referrer"]);
    }

    [Fact]
    public async Task Signing_out_needs_the_forms_own_token()
    {
        using var client = await SignedInAsync();
        using var forged = await client.PostAsync("/signout", new FormUrlEncodedContent([]), Ct);
        forged.StatusCode.ShouldBe(HttpStatusCode.BadRequest);
        (await client.GetAsync("/status", Ct)).StatusCode.ShouldBe(HttpStatusCode.OK);
    }

    [Theory]
    [InlineData("html", "text/html")]
    [InlineData("md", "text/markdown")]
    [InlineData("csv", "text/csv")]
    [InlineData("json", "application/json")]
    public async Task A_report_downloads_under_the_matrixs_name(string format, string type)
    {
        using var client = await SignedInAsync();
        using var answer = await client.GetAsync($"/matrices/pi5-vs-n100/report/{format}", Ct);
        answer.Content.Headers.ContentType!.MediaType.ShouldBe(type);
        answer.Content.Headers.ContentDisposition!.DispositionType.ShouldBe("attachment");
        answer.Content.Headers.ContentDisposition.FileName.ShouldBe($"pi5-vs-n100.{format}");
        (await answer.Content.ReadAsStringAsync(Ct)).ShouldContain("pi5,");
    }

    [Theory]
    [InlineData("/matrices/pi5-vs-n100/report/exe")]
    [InlineData("/matrices/nothing/report/csv")]
    public async Task A_report_that_there_is_not_is_not_found(string path)
    {
        using var client = await SignedInAsync();
        (await client.GetAsync(path, Ct)).StatusCode.ShouldBe(HttpStatusCode.NotFound);
    }

    [Theory]
    [InlineData("/_framework/blazor.web.js")]
    [InlineData("/_content/Radzen.Blazor/Radzen.Blazor.min.js")]
    [InlineData("/_content/Radzen.Blazor/css/standard-base.css")]
    [InlineData("/_content/Radzen.Blazor/fonts/InterVariable.woff2")]
    [InlineData("/_content/AgileQuant.Dashboard/tokens.css")]
    [InlineData("/_content/AgileQuant.Dashboard/AgileQuant.Dashboard.bundle.scp.css")]
    public async Task Every_asset_comes_from_the_host_itself(string path)
    {
        using var client = Client();
        using var answer = await client.GetAsync(path, Ct);
        answer.StatusCode.ShouldBe(HttpStatusCode.OK);
        (await answer.Content.ReadAsByteArrayAsync(Ct)).Length.ShouldBeGreaterThan(500);
    }

    [Fact]
    public async Task No_page_refers_to_another_site_or_runs_inline_scripts()
    {
        using var client = await SignedInAsync();
        foreach (var path in new[] { "/", "/signin" })
        {
            using var answer = await client.GetAsync(path, Ct);
            var page = await answer.Content.ReadAsStringAsync(Ct);
            page.ShouldNotContain("src=\"http");
            page.ShouldNotContain("href=\"http");
            page.ShouldNotContain("<script>");
            answer.Headers.GetValues("Content-Security-Policy").ShouldHaveSingleItem().ShouldContain("default-src 'self'");
        }
    }
}

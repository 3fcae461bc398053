using AgileQuant.Dashboard.Tests.Fakes;
using Microsoft.Playwright;
using Xunit;

namespace AgileQuant.Dashboard.Tests.Browser;

/// <summary>One Chromium and one host over the fakes for all browser tests; each test has a context and a session of its own.</summary>
public sealed class BrowserFixture : IAsyncLifetime
{
    private static readonly string[] Programs = ["chromium", "chromium-browser", "google-chrome"];
    private IPlaywright? _playwright;
    private IBrowser? _browser;

    internal DevHost Host { get; private set; } = null!;

    public async ValueTask InitializeAsync()
    {
        Host = await DevHost.StartAsync();
        if (Find() is not { } program)
        {
            return;
        }

        _playwright = await Playwright.CreateAsync();
        _browser = await _playwright.Chromium.LaunchAsync(new() { ExecutablePath = program, Args = ["--no-sandbox"] });
    }

    /// <summary>A signed-in page, or a skip where no Chromium is installed.</summary>
    internal async Task<IPage> OpenAsync(string path = "/", ColorScheme scheme = ColorScheme.Light, int width = 1280)
    {
        Assert.SkipWhen(_browser is null, "chromium is not installed: apt install chromium");
        var context = await _browser.NewContextAsync(new()
        {
            BaseURL = Host.Address,
            ColorScheme = scheme,
            ViewportSize = new() { Width = width, Height = 900 },
            ReducedMotion = ReducedMotion.Reduce,
        });
        context.SetDefaultTimeout(15_000);
        var page = await context.NewPageAsync();
        await page.GotoAsync(await Host.SignInLinkAsync() + "&returnUrl=" + Uri.EscapeDataString(path));
        return page;
    }

    private static string? Find() =>
        (Environment.GetEnvironmentVariable("PATH") ?? "").Split(Path.PathSeparator)
            .SelectMany(folder => Programs.Select(program => Path.Combine(folder, program))).FirstOrDefault(File.Exists);

    public async ValueTask DisposeAsync()
    {
        if (_browser is not null)
        {
            await _browser.DisposeAsync();
        }

        _playwright?.Dispose();
        await Host.DisposeAsync();
    }
}

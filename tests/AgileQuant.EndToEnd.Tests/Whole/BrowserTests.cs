using AgileQuant.Infra.Boards;
using AgileQuant.Orchestrator.Contracts;
using Deque.AxeCore.Commons;
using Deque.AxeCore.Playwright;
using Microsoft.Playwright;
using Shouldly;
using Xunit;

namespace AgileQuant.EndToEnd.Tests.Whole;

/// <summary>What a user does in the dashboard, in a real browser, against a real node and a real board.</summary>
[Collection(BenchFixture.OneAtATime)]
public class BrowserTests(BenchFixture bench) : IAsyncLifetime
{
    private const float Patience = 60_000; // milliseconds: other jobs may run on the machine
    private const float RunPatience = 240_000;
    private readonly CancellationToken _ct = TestContext.Current.CancellationToken;
    private IPlaywright? _playwright;
    private IBrowser? _browser;
    private IPage _page = null!;

    public ValueTask InitializeAsync() => ValueTask.CompletedTask;

    public async ValueTask DisposeAsync()
    {
        if (_browser is not null)
            await _browser.DisposeAsync();
        _playwright?.Dispose();
        GC.SuppressFinalize(this);
    }

    [Fact]
    public async Task A_board_is_added_a_matrix_launched_watched_and_its_report_downloaded()
    {
        await OpenAsync();
        await using var board = await LocalSshd.StartAsync(new LocalSshdOptions { Folder = Path.Combine(bench.Home.Folder, "browser-board") }, _ct);
        await AddBoardAsync("browser-board", board);
        await LaunchAsync("from-browser", "browser-board", windows: 1);

        await Expect("matrix-state").ToContainTextAsync("complete", new() { Timeout = RunPatience, IgnoreCase = true });
        var cell = _page.GetByTestId($"cell-browser-board-{BenchFixture.Model}-w8a8-main");
        await Assertions.Expect(cell).ToHaveAttributeAsync("data-state", "complete", new() { IgnoreCase = true });
        (await DownloadAsync("report-html")).ShouldStartWith("<!DOCTYPE html>");
        (await DownloadAsync("report-csv")).ShouldContain("browser-board");
        await AccessibleAsync("matrix");

        await cell.ClickAsync();
        await Expect("run-state").ToContainTextAsync("complete", new() { IgnoreCase = true });
        await Assertions.Expect(_page.GetByText("llama.cpp-512[0:1]").First).ToBeVisibleAsync();
        await Expect("provenance").ToBeVisibleAsync();
        await AccessibleAsync("run");
        await bench.Client.RemoveDeviceAsync("browser-board", force: true, _ct);
    }

    [Fact]
    public async Task A_running_matrix_is_cancelled()
    {
        await OpenAsync();
        await bench.Client.StartMatrixAsync(
            new MatrixSpec("to-cancel", [BenchFixture.BoardName], [BenchFixture.Model], ["fp16"],
                [new WorkloadSpec("long", [], 512, 64, 0, null, null, null)], new PolicySpec(Rounds: 100, MinRepetitions: 20, MaxRepetitions: 20)), _ct);
        await _page.GetByTestId("nav-matrices").ClickAsync();
        await _page.GetByTestId("matrix-row-to-cancel").GetByRole(AriaRole.Link).First.ClickAsync();

        await _page.GetByTestId("cancel-matrix").ClickAsync();
        await _page.GetByTestId("confirm-cancel").ClickAsync();

        await Expect("matrix-state").ToContainTextAsync("cancelled", new() { Timeout = RunPatience, IgnoreCase = true });
    }

    [Fact]
    public async Task Without_a_link_there_is_only_the_sign_in_page_and_a_used_link_is_refused()
    {
        await OpenAsync();
        await using var other = await _browser!.NewContextAsync();
        var page = await other.NewPageAsync();

        await page.GotoAsync(await bench.DashboardUrlAsync(_ct) + "/matrices");
        await Assertions.Expect(page.GetByTestId("signin")).ToBeVisibleAsync();
        (await page.GotoAsync(_usedLink))!.Status.ShouldBe(401);
    }

    [Theory]
    [InlineData("light")]
    [InlineData("dark")]
    public async Task The_main_pages_have_no_serious_accessibility_violation(string scheme)
    {
        await OpenAsync();
        await _page.EmulateMediaAsync(new() { ColorScheme = scheme == "dark" ? ColorScheme.Dark : ColorScheme.Light });
        foreach (var (path, ready) in ((string, string)[])[("/", "add-device"), ("/matrices", "new-matrix"), ("/matrices/new", "start-matrix"),
            ($"/devices/{BenchFixture.BoardName}", "check-device"), ("/assets", "import-model"), ("/status", "nav-status")])
        {
            await _page.GotoAsync(await bench.DashboardUrlAsync(_ct) + path);
            await Expect(ready).ToBeVisibleAsync(new() { Timeout = Patience });
            await AccessibleAsync($"{path} in {scheme}");
        }
    }

    private string _usedLink = "";

    /// <summary>Opens the dashboard by a one-time link, or skips with the reason.</summary>
    private async Task OpenAsync()
    {
        var chromium = FindChromium();
        Assert.SkipWhen(chromium is null, "chromium is not installed: apt-get install chromium");
        await bench.NeedAsync(_ct);
        _playwright = await Playwright.CreateAsync();
        _browser = await _playwright.Chromium.LaunchAsync(new()
        {
            ExecutablePath = chromium,
            Args = Environment.IsPrivilegedProcess ? ["--no-sandbox", "--disable-dev-shm-usage"] : [],
        });
        var context = await _browser.NewContextAsync(new() { ViewportSize = new() { Width = 1400, Height = 1000 }, AcceptDownloads = true });
        context.SetDefaultTimeout(Patience);
        _page = await context.NewPageAsync();
        _usedLink = (await bench.Client.CreateSignInLinkAsync(_ct)).Url!;
        await _page.GotoAsync(_usedLink);
        await Expect("nav-fleet").ToBeVisibleAsync();
    }

    private async Task AddBoardAsync(string name, LocalSshd board)
    {
        await _page.GetByTestId("nav-fleet").ClickAsync();
        await _page.GetByTestId("add-device").ClickAsync();
        await _page.GetByTestId("device-address").FillAsync(board.Address);
        await _page.GetByTestId("device-name").FillAsync(name);
        await _page.GetByTestId("device-identity").FillAsync(board.IdentityFile);
        await _page.GetByTestId("fetch-key").ClickAsync();
        await Expect("host-key").ToHaveTextAsync(board.HostKeyFingerprint);
        await _page.GetByTestId("confirm-key").ClickAsync();
        await Expect("add-state").ToContainTextAsync("ready", new() { Timeout = RunPatience, IgnoreCase = true });
        await _page.GetByTestId("close-add").ClickAsync();
        await Expect($"device-row-{name}").ToBeVisibleAsync();
    }

    private async Task LaunchAsync(string matrix, string device, int windows)
    {
        await _page.GetByTestId("nav-matrices").ClickAsync();
        await _page.GetByTestId("new-matrix").ClickAsync();
        await _page.GetByTestId("matrix-name").FillAsync(matrix);
        await _page.GetByTestId($"pick-device-{device}").CheckAsync();
        await _page.GetByTestId($"pick-model-{BenchFixture.Model}").CheckAsync();
        await _page.GetByTestId("pick-precision-w4a8").UncheckAsync();
        await _page.GetByTestId("pick-precision-w4a4").UncheckAsync();
        await _page.GetByTestId("prompt").FillAsync("");
        await _page.GetByTestId("generate").FillAsync("");
        await _page.GetByTestId("pick-dataset").SelectOptionAsync(BenchFixture.Dataset);
        await _page.GetByTestId("windows").FillAsync(windows.ToString());
        await Expect("plan-summary").ToContainTextAsync("2 runs");
        await _page.GetByTestId("start-matrix").ClickAsync();
        await Expect("matrix-state").ToBeVisibleAsync();
    }

    private async Task<string> DownloadAsync(string testId)
    {
        var download = await _page.RunAndWaitForDownloadAsync(() => _page.GetByTestId(testId).ClickAsync());
        return await File.ReadAllTextAsync(await download.PathAsync(), _ct);
    }

    private async Task AccessibleAsync(string what)
    {
        var result = await _page.RunAxe();
        var serious = result.Violations.Where(v => v.Impact is "serious" or "critical")
            .Select(v => $"{v.Id} ({v.Impact}): {v.Help}: {string.Join(" | ", v.Nodes.Take(3).Select(Shown))}").ToList();
        serious.ShouldBeEmpty($"on the page {what}");
    }

    private static string Shown(AxeResultNode node) => $"{node.Target} {node.Html}";

    private ILocatorAssertions Expect(string testId) => Assertions.Expect(_page.GetByTestId(testId).First);

    private static string? FindChromium() => (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':')
        .SelectMany(folder => ((string[])["chromium", "chromium-browser", "google-chrome"]).Select(name => Path.Combine(folder, name)))
        .FirstOrDefault(File.Exists);
}

using AgileQuant.Dashboard.Tests.Fakes;
using AgileQuant.Orchestrator.Contracts;
using Deque.AxeCore.Playwright;
using Microsoft.Playwright;
using Shouldly;
using Xunit;
using static Microsoft.Playwright.Assertions;

namespace AgileQuant.Dashboard.Tests.Browser;

/// <summary>What a person does, in a real browser over a real Kestrel; only the bench behind it is a fake.</summary>
public sealed class SmokeTests(BrowserFixture browser) : IClassFixture<BrowserFixture>
{
    private FakeBench Bench => browser.Host.Bench;

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_board_is_added_only_after_its_key_was_confirmed_and_its_progress_shows()
    {
        var page = await browser.OpenAsync();
        await page.GetByTestId("add-device").ClickAsync();
        await page.GetByTestId("device-address").FillAsync("pi@garage.lan");
        await Expect(page.GetByTestId("device-name")).ToHaveValueAsync("garage");
        await page.GetByTestId("device-name").FillAsync("garage-pi");
        await page.GetByTestId("device-identity").FillAsync("/keys/id");
        await page.GetByTestId("fetch-key").ClickAsync();
        await Expect(page.GetByTestId("host-key")).ToContainTextAsync("SHA256:3tQbX0m8");
        Bench.Calls.ShouldNotContain(call => call.StartsWith("add garage-pi", StringComparison.Ordinal));
        await page.GetByTestId("confirm-key").ClickAsync();
        await Expect(page.GetByTestId("add-state")).ToHaveTextAsync("registering");
        Bench.Calls.ShouldContain("add garage-pi pi@garage.lan SHA256:3tQbX0m8rVn5WcYp1LkJdHs7GzEoUa2iKfRvTqNwB9M /keys/id");
        Bench.Change("garage-pi", d => d with { State = DeviceState.Ready, StateReason = null, Facts = FakeDevices.Pi(4, "Cortex-A76", 2400, 8L << 30) });
        await Expect(page.GetByTestId("add-state")).ToHaveTextAsync("ready");
        await page.GetByTestId("close-add").ClickAsync();
        await Expect(page.GetByTestId("device-row-garage-pi").GetByTestId("device-state")).ToHaveTextAsync("ready");
    }

    [Fact]
    public async Task A_board_that_cannot_be_reached_says_what_to_do()
    {
        var page = await browser.OpenAsync();
        await page.GetByTestId("add-device").ClickAsync();
        await page.GetByTestId("device-address").FillAsync("pi@unreachable");
        await page.GetByTestId("fetch-key").ClickAsync();
        await Expect(page.GetByTestId("add-error")).ToContainTextAsync("Check the address");
    }

    [Fact]
    public async Task An_import_names_the_tensor_it_is_at()
    {
        var page = await browser.OpenAsync("/assets");
        await page.GetByTestId("import-model").ClickAsync();
        await page.GetByTestId("import-path").FillAsync("/slow/model");
        await page.GetByTestId("import-name").FillAsync("slow");
        await page.GetByTestId("import-start").ClickAsync();
        await Expect(page.GetByTestId("import-tensor")).ToHaveTextAsync("Tensor 12 of 30: blk.1.ffn_up.weight");
        Bench.SlowImport.SetResult();
        await Expect(page.GetByTestId("import-tensor")).Not.ToBeVisibleAsync();
    }

    [Fact]
    public async Task Random_models_are_offered_with_what_they_take_and_refused_without_room()
    {
        var page = await browser.OpenAsync("/assets");
        await page.GetByTestId("random-model").ClickAsync();
        await Expect(page.GetByTestId("random-needs")).ToContainTextAsync("on the node's disk");
        await Expect(page.GetByTestId("random-start")).ToBeEnabledAsync();
        await page.GetByTestId("random-shape").SelectOptionAsync("tinyllama-1.1b");
        await Expect(page.GetByTestId("random-name")).ToHaveValueAsync("random-tinyllama-1.1b");
        await Expect(page.GetByTestId("random-problem")).ToContainTextAsync("has 1.1 GiB free");
        await Expect(page.GetByTestId("random-start")).ToBeDisabledAsync();
        await page.GetByTestId("random-name").FillAsync("mine");
        await page.GetByTestId("random-shape").SelectOptionAsync("demo-150m");
        await Expect(page.GetByTestId("random-name")).ToHaveValueAsync("mine");
        await page.GetByTestId("random-start").ClickAsync();
        await Expect(page.GetByTestId("random-start")).Not.ToBeVisibleAsync();
        Bench.Models.ShouldContain(m => m.Name == "mine");
    }

    [Fact]
    public async Task A_matrix_is_planned_started_watched_and_its_run_and_report_open()
    {
        var page = await browser.OpenAsync();
        await page.GetByTestId("nav-matrices").ClickAsync();
        await page.GetByTestId("new-matrix").ClickAsync();
        await Expect(page.GetByTestId("start-matrix")).ToBeDisabledAsync();
        await page.GetByTestId("matrix-name").FillAsync("watched");
        await page.GetByTestId("pick-device-pi5").CheckAsync();
        await page.GetByTestId("pick-model-sample-llama").CheckAsync();
        await page.GetByTestId("pick-precision-w4a4").UncheckAsync();
        await page.GetByTestId("pick-dataset").SelectOptionAsync("sdk-heldout");
        await page.GetByTestId("windows").FillAsync("4");
        await page.GetByTestId("prompt").FillAsync("128");
        await page.GetByTestId("generate").FillAsync("16");
        await page.GetByTestId("rounds").FillAsync("3");
        await Expect(page.GetByTestId("plan-summary")).ToContainTextAsync("3 runs");
        await Expect(page.GetByTestId("plan-summary")).ToContainTextAsync("too few paired blocks");
        await page.GetByTestId("rounds").FillAsync("6");
        await Expect(page.GetByTestId("plan-summary")).Not.ToContainTextAsync("too few paired blocks");
        await page.GetByTestId("start-matrix").ClickAsync();

        var cell = page.GetByTestId("cell-pi5-sample-llama-w8a8-main");
        await Expect(cell).ToContainTextAsync("queued");
        var matrix = Bench.Matrices.First(m => m.Summary.Name == "watched");
        matrix.Spec.Workloads.ShouldHaveSingleItem().ShouldBe(new WorkloadSpec("main", matrix.Spec.Workloads[0].Models, 128, 16, 0, "sdk-heldout", "llama.cpp-512", 4));
        while (Bench.Advance(matrix.Summary.Id))
        {
        }

        await Expect(page.GetByTestId("matrix-state")).ToHaveTextAsync("complete");
        await Expect(cell).ToContainTextAsync("×");
        await page.GetByTestId("metric-perplexity-delta").ClickAsync();
        await Expect(cell).ToContainTextAsync("+0.14%");
        page.Url.ShouldEndWith("?metric=perplexity-delta");

        var download = await page.RunAndWaitForDownloadAsync(() => page.GetByTestId("report-csv").ClickAsync());
        download.SuggestedFilename.ShouldBe("watched.csv");
        await cell.ClickAsync();
        await Expect(page.GetByTestId("run-state")).ToHaveTextAsync("complete");
        (await page.GetByTestId("sample-table").Locator("tbody tr").CountAsync()).ShouldBeGreaterThan(30);
        await Expect(page.GetByTestId("provenance")).ToContainTextAsync(FakeDevices.EngineSha);
    }

    [Fact]
    public async Task Cancelling_asks_first()
    {
        var id = await Bench.StartAsync(FakeMatrices.ShelfSpec with { Name = "to-cancel" }, "test", Ct);
        var page = await browser.OpenAsync($"/matrices/{id}");
        await page.GetByTestId("cancel-matrix").ClickAsync();
        await page.GetByTestId("keep").ClickAsync();
        await Expect(page.GetByTestId("matrix-state")).ToHaveTextAsync("running");
        await page.GetByTestId("cancel-matrix").ClickAsync();
        await page.GetByTestId("confirm-cancel").ClickAsync();
        await Expect(page.GetByTestId("matrix-state")).ToHaveTextAsync("cancelled");
    }

    [Fact]
    public async Task A_filtered_view_can_be_sent_to_somebody()
    {
        var page = await browser.OpenAsync("/?q=cortex&state=busy");
        await Expect(page.Locator("tbody tr")).ToHaveCountAsync(2);
        await Expect(page.GetByTestId("filter-text")).ToHaveValueAsync("cortex");
        await page.GetByTestId("filter-text").FillAsync("a76");
        await Expect(page.Locator("tbody tr")).ToHaveCountAsync(1);
        await Expect(page).ToHaveURLAsync(browser.Host.Address + "/?q=a76&state=busy");
    }

    [Fact]
    public async Task A_paused_page_stands_still_until_it_is_resumed()
    {
        var page = await browser.OpenAsync();
        var state = page.GetByTestId("device-row-orangepi5").GetByTestId("device-state");
        await Expect(state).ToHaveTextAsync("cooling");
        await page.GetByTestId("pause").ClickAsync();
        await Expect(page.GetByTestId("pause")).ToHaveTextAsync("Resume");
        Bench.Change("orangepi5", d => d with { State = DeviceState.Offline });
        await Expect(state).ToHaveTextAsync("cooling");
        await page.GetByTestId("pause").ClickAsync();
        await Expect(state).ToHaveTextAsync("offline");
    }

    [Fact]
    public async Task Signing_out_ends_the_session()
    {
        var page = await browser.OpenAsync();
        await page.GetByTestId("sign-out").ClickAsync();
        await Expect(page.GetByTestId("signin")).ToBeVisibleAsync();
        await page.GotoAsync("/status");
        await Expect(page.GetByTestId("signin")).ToBeVisibleAsync();
    }

    [Fact]
    public async Task The_theme_follows_the_system_and_can_be_chosen()
    {
        var page = await browser.OpenAsync(scheme: ColorScheme.Dark);
        await Expect(page.Locator("html")).ToHaveAttributeAsync("data-theme", "dark");
        await page.GetByTestId("theme").ClickAsync();
        await Expect(page.Locator("html")).ToHaveAttributeAsync("data-theme", "light");
        await page.ReloadAsync();
        await Expect(page.Locator("html")).ToHaveAttributeAsync("data-theme", "light");
    }

    [Theory]
    [InlineData("light", 1280)]
    [InlineData("dark", 390)]
    public async Task Every_page_is_accessible_and_fits_its_window(string scheme, int width)
    {
        var page = await browser.OpenAsync("/", scheme == "dark" ? ColorScheme.Dark : ColorScheme.Light, width);
        var run = Bench.Matrices.First(m => m.Summary.Name == "pi5-vs-n100").Runs.First(r => r is { Device: "pi5", Precision: "w4a8" });
        var rules = width > 1000 // the full set once; what depends on the theme and the width again
            ? new Deque.AxeCore.Commons.RunOnlyOptions { Type = "tag", Values = ["wcag2a", "wcag2aa", "wcag21aa"] }
            : new() { Type = "rule", Values = ["color-contrast", "scrollable-region-focusable"] };
        var problems = new List<string>();
        page.Console += (_, message) =>
        {
            if (message.Type == "error")
            {
                problems.Add($"console: {message.Text}");
            }
        };
        foreach (var path in new[] { "/", "/devices/pixel6", "/assets", "/matrices", "/matrices/new", "/matrices/shelf-week-11", $"/runs/{run.Id}", "/status", "/nothing-here" })
        {
            await page.GotoAsync(path);
            await page.Locator("main h1, main h2").First.WaitForAsync();
            var axe = await page.RunAxe(new Deque.AxeCore.Commons.AxeRunOptions { RunOnly = rules });
            problems.AddRange(axe.Violations.Select(v => $"{path}: {v.Id}: {v.Help}: {string.Join(" | ", v.Nodes.Take(3).Select(n => n.Html))}"));
            if (await page.EvaluateAsync<int>("document.documentElement.scrollWidth - innerWidth") > 0)
            {
                problems.Add($"{path}: wider than its window");
            }
        }

        problems.ShouldBeEmpty();
    }
}

using System.Text.Json;
using AgileQuant.Host.Client;
using AgileQuant.Orchestrator.Contracts;
using Shouldly;
using Xunit;

namespace AgileQuant.EndToEnd.Tests.Whole;

/// <summary>The commands a user types, as processes of their own, against the running node.</summary>
[Collection(BenchFixture.OneAtATime)]
public class CommandTests(BenchFixture bench)
{
    private readonly CancellationToken _ct = TestContext.Current.CancellationToken;

    [Fact]
    public async Task Lists_are_tables_for_people_and_json_for_scripts()
    {
        await bench.NeedAsync(_ct);

        (await bench.Bench.MustRunAsync("device", "list")).ShouldContain(BenchFixture.BoardName);
        (await bench.Bench.MustRunAsync("model", "list")).ShouldContain(BenchFixture.Model);
        using var devices = JsonDocument.Parse(await bench.Bench.MustRunAsync("device", "list", "--json"));
        devices.RootElement.EnumerateArray().Select(d => d.GetProperty("name").GetString()).ShouldContain(BenchFixture.BoardName);
        using var status = JsonDocument.Parse(await bench.Bench.MustRunAsync("status", "--json"));
        status.RootElement.GetProperty("running").GetBoolean().ShouldBeTrue();
        status.RootElement.GetProperty("cluster").GetProperty("ownership").GetString().ShouldNotBeNullOrEmpty();
    }

    [Fact]
    public async Task A_board_is_not_added_without_its_key_and_never_with_another_one()
    {
        await bench.NeedAsync(_ct);

        var unasked = await bench.Bench.RunAsync("device", "add", bench.Board.Address, "--name", "second", "--identity", bench.Board.IdentityFile);
        var wrong = await bench.Bench.RunAsync("device", "add", bench.Board.Address, "--name", "second", "--host-key", "SHA256:" + new string('A', 43));

        unasked.ExitCode.ShouldBe(1);
        unasked.Error.ShouldContain($"--host-key {bench.Board.HostKeyFingerprint}");
        wrong.ExitCode.ShouldBe(1);
        wrong.Error.ShouldContain("not the one given");
        (await bench.Client.ListDevicesAsync(_ct)).Select(d => d.Name).ShouldNotContain("second");
    }

    [Fact]
    public async Task A_matrix_file_is_planned_started_and_reported_in_every_format()
    {
        await bench.NeedAsync(_ct);
        var file = Path.Combine(bench.Home.Folder, "commands.yaml");
        await File.WriteAllTextAsync(file, $"""
            name: commands
            devices: [{BenchFixture.BoardName}]
            models: [{BenchFixture.Model}]
            precisions: [fp16, w8a8]
            workloads:
              - dataset: {BenchFixture.Dataset}
                windows: 1
            """, _ct);

        (await bench.Bench.MustRunAsync("matrix", "run", file, "--plan")).ShouldContain("2 runs");
        var run = await bench.Bench.RunAsync("matrix", "run", file);
        run.ExitCode.ShouldBe(0, run.Error);
        run.Output.ShouldContain("w8a8");
        (await bench.Bench.MustRunAsync("matrix", "list")).ShouldContain("commands");
        foreach (var (format, start) in ((string, string)[])[("html", "<!DOCTYPE html>"), ("md", "# "), ("csv", "matrix,"), ("json", "{")])
            (await bench.Bench.MustRunAsync("report", "commands", "--format", format, "--out", "-")).ShouldStartWith(start);
    }

    [Theory]
    [InlineData("there is no matrix 'nothing'", "matrix", "show", "nothing")]
    [InlineData("there is no device 'nothing'", "device", "show", "nothing")]
    [InlineData("there is no file", "dataset", "import", "/nonexistent.txt", "--name", "x")]
    [InlineData("/nonexistent", "model", "import", "/nonexistent", "--name", "x")]
    public async Task An_error_is_one_message_that_says_what_to_do(string message, params string[] arguments)
    {
        await bench.NeedAsync(_ct);

        var outcome = await bench.Bench.RunAsync(arguments);

        outcome.ExitCode.ShouldBe(1);
        outcome.Error.ShouldStartWith("error: ");
        outcome.Error.ShouldContain(message);
        outcome.Error.ShouldNotContain("   at ");
    }

    [Fact]
    public async Task The_api_on_tcp_wants_a_session_and_refuses_other_hosts()
    {
        await bench.NeedAsync(_ct);
        using var http = new HttpClient { BaseAddress = new Uri(await bench.DashboardUrlAsync(_ct)) };

        ((int)(await http.GetAsync("/api/v1/devices", _ct)).StatusCode).ShouldBe(401);
        ((int)(await http.GetAsync("/openapi/v1.json", _ct)).StatusCode).ShouldBe(401);
        ((int)(await http.PostAsync("/api/v1/node/stop", null, _ct)).StatusCode).ShouldBe(401);
        using var rebound = new HttpRequestMessage(HttpMethod.Get, "/api/v1/devices") { Headers = { Host = "attacker.example" } };
        ((int)(await http.SendAsync(rebound, _ct)).StatusCode).ShouldBe(400);
        File.GetUnixFileMode(bench.Home.Socket).ShouldBe(UnixFileMode.UserRead | UnixFileMode.UserWrite);
    }

    [Fact]
    public async Task A_session_may_read_but_a_page_of_another_site_may_not_change_anything()
    {
        await bench.NeedAsync(_ct);
        var link = new Uri((await bench.Client.CreateSignInLinkAsync(_ct)).Url!);
        using var http = new HttpClient(); // keeps cookies
        await http.GetAsync(link, _ct);
        var api = new Uri(link, "/api/v1/devices");

        ((int)(await http.GetAsync(api, _ct)).StatusCode).ShouldBe(200);
        using var foreign = new HttpRequestMessage(HttpMethod.Delete, new Uri(link, "/api/v1/devices/nothing")) { Headers = { { "Origin", "http://attacker.example" } } };
        ((int)(await http.SendAsync(foreign, _ct)).StatusCode).ShouldBe(403);
        using var own = new HttpRequestMessage(HttpMethod.Delete, new Uri(link, "/api/v1/devices/nothing")) { Headers = { { "Origin", link.GetLeftPart(UriPartial.Authority) } } };
        ((int)(await http.SendAsync(own, _ct)).StatusCode).ShouldBe(404);
        using var again = new HttpClient();
        ((int)(await again.GetAsync(link, _ct)).StatusCode).ShouldBe(401); // the link worked once
    }

    [Fact]
    public async Task The_checked_in_OpenAPI_document_is_the_one_the_node_serves()
    {
        await bench.NeedAsync(_ct);
        var file = Path.Combine(Repository.Root, "docs", "openapi.json");

        var served = await bench.OpenApiAsync(_ct);

        if (Environment.GetEnvironmentVariable("BENCH_UPDATE_OPENAPI") == "1")
            await File.WriteAllTextAsync(file, served, _ct);
        (await File.ReadAllTextAsync(file, _ct)).ShouldBe(served, "the REST API changed: run this test with BENCH_UPDATE_OPENAPI=1 and review docs/openapi.json");
    }

    [Fact]
    public async Task A_second_node_for_the_same_home_is_refused()
    {
        await bench.NeedAsync(_ct);

        var second = await bench.Bench.RunAsync("node");

        second.ExitCode.ShouldBe(1);
        second.Error.ShouldContain("a node runs already");
    }

    [Fact]
    public async Task A_cancelled_matrix_keeps_what_is_finished_and_ends_cancelled()
    {
        await bench.NeedAsync(_ct);
        var id = await bench.Client.StartMatrixAsync(
            new MatrixSpec("cancelled", [BenchFixture.BoardName], [BenchFixture.Model], ["fp16", "w4a8"],
                [new WorkloadSpec("long", [], 512, 64, 0, null, null, null)], new PolicySpec(Rounds: 100, MinRepetitions: 20, MaxRepetitions: 20)), _ct);
        await bench.UntilAsync(id.ToString(), v => v.Jobs.Any(j => j is { Kind: "timing", State: "running" }), TimeSpan.FromMinutes(2), _ct);

        await bench.Bench.MustRunAsync("matrix", "cancel", id.ToString());

        (await bench.WaitForEndAsync(id.ToString(), TimeSpan.FromMinutes(2), _ct)).Summary.State.ShouldBe(MatrixState.Cancelled);
        await bench.ReadyAsync(BenchFixture.BoardName, _ct);
    }

    [Fact]
    public async Task Without_a_node_a_client_says_how_to_start_one()
    {
        using var client = new BenchClient(new AgileQuant.Host.BenchHome("/nonexistent"));

        (await Should.ThrowAsync<BenchException>(() => client.HealthAsync(_ct))).Message.ShouldContain("bench up");
    }
}

using System.Text;
using AgileQuant.Infra.Postgres;
using Shouldly;
using Xunit;

namespace AgileQuant.Infra.Tests.Postgres;

public sealed class ClusterLayoutTests
{
    [Fact]
    public void A_short_path_keeps_the_socket_beside_the_data() =>
        ClusterLayout.For("/var/lib/x/postgres/", "7", null).SocketFolder.ShouldBe("/var/lib/x/postgres/socket");

    [Theory]
    [InlineData("/run/user/1000", "/run/user/1000/agilequant-pg-1000-")]
    [InlineData("", "/tmp/agilequant-pg-1000-")]
    [InlineData(null, "/tmp/agilequant-pg-1000-")]
    public void A_long_path_moves_the_socket_to_a_short_one(string? runtime, string start)
    {
        var layout = ClusterLayout.For("/home/someone/" + new string('é', 60), "1000", runtime);
        layout.SocketFolder.ShouldStartWith(start);
        Encoding.UTF8.GetByteCount(layout.SocketFolder + "/.s.PGSQL.5432").ShouldBeLessThan(100);
    }

    [Fact]
    public void Two_long_paths_get_two_socket_folders()
    {
        var one = ClusterLayout.For("/" + new string('a', 90), "1", null);
        var two = ClusterLayout.For("/" + new string('a', 91), "1", null);
        one.SocketFolder.ShouldNotBe(two.SocketFolder);
    }

    [Fact]
    public void The_settings_open_no_port_and_quote_the_folder()
    {
        var settings = new ClusterLayout("/x", "/it's").Settings(durable: true);
        settings.ShouldContain("listen_addresses = ''");
        settings.ShouldContain("unix_socket_directories = '/it''s'");
        settings.ShouldContain("fsync = on");
    }

    [Fact]
    public void Only_the_account_and_root_may_connect()
    {
        ClusterLayout.UserMap("postgres").ShouldBe("bench \"postgres\" agilequant\nbench \"root\" agilequant\n");
        ClusterLayout.UserMap("root").ShouldBe("bench \"root\" agilequant\n");
        ClusterLayout.HostBasedAccess.ShouldBe("local all agilequant peer map=bench\n");
    }

    [Fact]
    public void The_pid_file_is_read_line_by_line()
    {
        var pid = PostmasterPid.Parse("4711\n/data\n1700000000\n5432\n/sock\n\n  123 4\nready   \n").ShouldNotBeNull();
        pid.ShouldBe(new PostmasterPid(4711, "/sock", true));
        PostmasterPid.Parse("12\n").ShouldBe(new PostmasterPid(12, "", false));
        PostmasterPid.Parse("rubbish").ShouldBeNull();
    }

    [Fact]
    public void A_pid_of_another_program_counts_as_stale() =>
        new PostmasterPid(Environment.ProcessId, "", true).IsAlive().ShouldBeFalse();

    [Theory]
    [InlineData("4711 (postgres) S 1 4711", true)]
    [InlineData("4711 (postgres) Z 1 4711", false)]
    [InlineData("4711 (a) (postgres)) S 1", false)]
    [InlineData("4711 (bash) S 1", false)]
    [InlineData("", false)]
    public void A_zombie_or_another_program_is_no_running_server(string stat, bool alive) =>
        PostmasterPid.IsRunningPostgres(stat).ShouldBe(alive);
}

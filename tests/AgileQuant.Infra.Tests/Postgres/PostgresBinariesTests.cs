using AgileQuant.Infra.Postgres;
using Shouldly;
using Xunit;

namespace AgileQuant.Infra.Tests.Postgres;

public sealed class PostgresBinariesTests
{
    [Theory]
    [InlineData("pg_ctl (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n", 15)]
    [InlineData("postgres (PostgreSQL) 17beta1", 17)]
    [InlineData("mysqld 8.0", null)]
    [InlineData("", null)]
    [InlineData("pg_ctl (PostgreSQL)", null)]
    public void The_major_version_is_read_from_the_version_line(string line, int? major) =>
        PostgresBinaries.ParseMajor(line).ShouldBe(major);

    [Fact]
    public void The_newest_is_chosen_for_a_new_cluster() =>
        PostgresBinaries.Choose([new("/a", 14), new("/b", 17), new("/c", 15)], null).Folder.ShouldBe("/b");

    [Fact]
    public void An_existing_cluster_gets_the_version_that_made_it() =>
        PostgresBinaries.Choose([new("/a", 14), new("/b", 17)], 14).Folder.ShouldBe("/a");

    [Fact]
    public void A_cluster_of_an_absent_version_is_refused_with_what_to_install() =>
        Should.Throw<EmbeddedPostgresException>(() => PostgresBinaries.Choose([new("/b", 17)], 15))
            .Message.ShouldContain("apt-get install postgresql-15");

    [Fact]
    public void Too_old_or_no_programs_are_refused_with_what_to_install()
    {
        Should.Throw<EmbeddedPostgresException>(() => PostgresBinaries.Choose([new("/a", 13)], null))
            .Message.ShouldContain("only 13, too old");
        Should.Throw<EmbeddedPostgresException>(() => PostgresBinaries.Choose([], null))
            .Message.ShouldContain("./bench setup");
    }
}

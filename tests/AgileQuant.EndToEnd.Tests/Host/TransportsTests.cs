using AgileQuant.Host.Client;
using AgileQuant.Host.Node;
using Shouldly;
using Xunit;

namespace AgileQuant.EndToEnd.Tests.Host;

public sealed class TransportsTests
{
    [Fact]
    public void The_one_that_is_asked_for_is_used_and_openssh_is_always_there()
    {
        foreach (var transport in Transports.BuiltIn)
            Transports.Choose(transport.Key).ShouldBe(transport);
        Transports.Choose("openssh").Make().Transport.ShouldBe("openssh");
    }

    [Fact]
    public void Without_a_wish_the_first_one_is_used() => Transports.Choose(null).ShouldBe(Transports.BuiltIn[0]);

    [Fact]
    public void One_that_is_not_built_in_says_how_to_get_it()
    {
        var isBuiltIn = Transports.BuiltIn.Any(t => t.Key == "sshnet");
        var error = Should.Throw<BenchException>(() => Transports.Choose(isBuiltIn ? "telnet" : "sshnet"));
        error.Message.ShouldContain(isBuiltIn ? "built in: sshnet, openssh" : "-p:WithSshNet=true");
    }
}

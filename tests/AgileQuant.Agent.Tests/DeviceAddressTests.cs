namespace AgileQuant.Agent.Tests;

public sealed class DeviceAddressTests
{
    [Theory]
    [InlineData("pi@pi4", "pi", "pi4", 22, "pi@pi4")]
    [InlineData("pi@192.168.1.7:2222", "pi", "192.168.1.7", 2222, "pi@192.168.1.7:2222")]
    [InlineData("u0_a123@phone.local:8022", "u0_a123", "phone.local", 8022, "u0_a123@phone.local:8022")]
    [InlineData("root@[fe80::1]", "root", "fe80::1", 22, "root@[fe80::1]")]
    [InlineData("root@[::1]:23", "root", "::1", 23, "root@[::1]:23")]
    public void Parses_and_prints(string text, string user, string host, int port, string printed)
    {
        var address = DeviceAddress.Parse(text);
        address.ShouldBe(new DeviceAddress(user, host, port));
        address.ToString().ShouldBe(printed);
        DeviceAddress.Parse(address.ToString()).ShouldBe(address);
    }

    [Theory]
    [InlineData("")]
    [InlineData("pi4")]
    [InlineData("@pi4")]
    [InlineData("pi@")]
    [InlineData("pi@-oProxyCommand=x")]
    [InlineData("-l@host")]
    [InlineData("pi@host:0")]
    [InlineData("pi@host:65536")]
    [InlineData("pi@host:+22")]
    [InlineData("pi@host:")]
    [InlineData("pi@::1")]
    [InlineData("pi@[::1")]
    [InlineData("pi@[::1]22")]
    [InlineData("pi@[x:y]")]
    [InlineData("pi@ho st")]
    [InlineData("pi@host;id")]
    [InlineData("a b@host")]
    public void Refuses_with_an_example(string text) =>
        Should.Throw<FormatException>(() => DeviceAddress.Parse(text)).Message.ShouldContain("user@host");
}

using System.Net;
using System.Net.Sockets;
using Npgsql;

namespace AgileQuant.Host.Peers;

/// <summary>Under which address other nodes reach this one.</summary>
internal static class NodeAddress
{
    /// <summary>
    /// The given one, else the one this machine uses towards its database: loopback when that is on this machine (Unix socket or
    /// loopback), otherwise the address of the interface that leads there.
    /// </summary>
    public static IPAddress Choose(IPAddress? given, string connectionString)
    {
        if (given is not null)
            return given;
        var host = new NpgsqlConnectionStringBuilder(connectionString).Host?.Split(',')[0];
        if (string.IsNullOrEmpty(host) || host[0] is '/' or '@')
            return IPAddress.Loopback;
        try
        {
            var database = Dns.GetHostAddresses(host).First(a => a.AddressFamily is AddressFamily.InterNetwork or AddressFamily.InterNetworkV6);
            using var socket = new Socket(database.AddressFamily, SocketType.Dgram, ProtocolType.Udp);
            socket.Connect(database, 9); // a datagram socket sends nothing by this; it only chooses the route
            return ((IPEndPoint)socket.LocalEndPoint!).Address;
        }
        catch (Exception e) when (e is SocketException or InvalidOperationException)
        {
            return IPAddress.Loopback; // the database cannot be reached either, which is reported in its own words
        }
    }
}

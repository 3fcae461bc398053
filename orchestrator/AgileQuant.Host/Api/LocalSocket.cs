using System.Net;
using Microsoft.AspNetCore.Connections.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core;

namespace AgileQuant.Host.Api;

/// <summary>The Unix socket that local clients use: who can open it is the user the node runs as.</summary>
internal static class LocalSocket
{
    private static readonly object Mark = new();

    /// <summary>Listens on the socket, and on loopback when there is a port.</summary>
    public static void Listen(KestrelServerOptions kestrel, string socket, int? port)
    {
        kestrel.AddServerHeader = false;
        kestrel.Limits.MaxRequestBodySize = 4 << 20;
        kestrel.ListenUnixSocket(socket, options => options.Use(next => connection =>
        {
            connection.Items[Mark] = true;
            return next(connection);
        }));
        if (port is { } number)
            kestrel.Listen(IPAddress.Loopback, number);
    }

    /// <summary>Whether this request came over the Unix socket.</summary>
    public static bool IsSource(HttpContext context) =>
        context.Features.Get<IConnectionItemsFeature>()?.Items.ContainsKey(Mark) == true;
}

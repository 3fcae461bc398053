using System.Reflection.Metadata;
using System.Reflection.PortableExecutable;
using System.Security.Cryptography;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.Net.Http.Headers;

namespace AgileQuant.Dashboard.Hosting;

/// <summary>
/// Serves <c>_framework/blazor.web.js</c>, the browser side of Blazor Server. From .NET 10 on it comes in a package of its own
/// that not every registry carries, so the build embeds the .NET 9 assembly that holds the same script as a resource; here it
/// is read as data and never loaded as code. The circuit protocol of both versions is the same for everything this dashboard
/// uses, which the browser tests check.
/// </summary>
internal static class FrameworkScript
{
    private const string Carrier = "blazor-script-carrier.dll";
    private const string Script = "blazor.web.js";

    private static readonly Lazy<byte[]> Content = new(Read);

    internal static void Map(IEndpointRouteBuilder endpoints)
    {
        var content = Content.Value;
        var tag = new EntityTagHeaderValue($"\"{Convert.ToHexStringLower(SHA256.HashData(content))[..16]}\"");
        endpoints.MapGet("/_framework/blazor.web.js", () => Results.Bytes(content, "text/javascript", entityTag: tag))
            .AllowAnonymous().ExcludeFromDescription();
    }

    /// <summary>The script's bytes, out of the carrier's manifest resources.</summary>
    internal static byte[] Read()
    {
        using var stream = typeof(FrameworkScript).Assembly.GetManifestResourceStream(Carrier)
            ?? throw new InvalidOperationException($"The dashboard was built without {Carrier}: restore and build it again.");
        using var image = new PEReader(stream);
        var metadata = image.GetMetadataReader();
        var resources = image.PEHeaders.CorHeader!.ResourcesDirectory;
        foreach (var handle in metadata.ManifestResources)
        {
            var resource = metadata.GetManifestResource(handle);
            if (!resource.Implementation.IsNil || !metadata.GetString(resource.Name).EndsWith(Script, StringComparison.Ordinal))
            {
                continue;
            }

            // A resource is a length (int32) and its bytes, at its offset from the resources directory.
            var reader = image.GetSectionData(resources.RelativeVirtualAddress).GetReader();
            reader.Offset = checked((int)resource.Offset);
            return reader.ReadBytes(reader.ReadInt32());
        }

        throw new InvalidOperationException($"{Carrier} holds no {Script}: use the runtime pack's version in AgileQuant.Dashboard.csproj.");
    }
}

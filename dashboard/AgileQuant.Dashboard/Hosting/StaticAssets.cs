using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.StaticWebAssets;
using Microsoft.Extensions.Configuration;

namespace AgileQuant.Dashboard.Hosting;

/// <summary>Finds the style sheets and scripts of this library and of Radzen, published or run from the build output.</summary>
internal static class StaticAssets
{
    private const string Probe = "_content/AgileQuant.Dashboard/app.css";

    internal static void EnsurePresent(IWebHostEnvironment environment, IConfiguration configuration)
    {
        if (environment.WebRootFileProvider.GetFileInfo(Probe).Exists)
        {
            return;
        }

        StaticWebAssetsLoader.UseStaticWebAssets(environment, configuration);
        if (!environment.WebRootFileProvider.GetFileInfo(Probe).Exists)
        {
            throw new InvalidOperationException(
                $"The dashboard's static files ({Probe}) are missing. Build the host with Microsoft.NET.Sdk.Web and run it from its " +
                $"build output, where {environment.ApplicationName}.staticwebassets.runtime.json is, or publish it.");
        }
    }

    /// <summary>Files revalidate on each use: a new build shows at once, an unchanged file costs one 304.</summary>
    internal static StaticFileOptions Options(IWebHostEnvironment environment) => new()
    {
        FileProvider = environment.WebRootFileProvider,
        OnPrepareResponse = static context => context.Context.Response.Headers.CacheControl = "no-cache",
    };
}

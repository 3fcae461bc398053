namespace AgileQuant.Agent.OpenSsh;

/// <summary>A short-named temporary folder of mode 0700 (a control socket's path may have about 100 characters).</summary>
internal sealed class PrivateFolder : IDisposable
{
    public string Path { get; } = Directory.CreateTempSubdirectory("aqb-").FullName;

    public void Dispose()
    {
        try
        {
            Directory.Delete(Path, recursive: true);
        }
        catch (IOException)
        {
            // Left to the system's cleaning of temporary files.
        }
    }
}

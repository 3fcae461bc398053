using System.Buffers.Binary;
using System.Diagnostics;
using System.Text;
using AgileQuant.Agent.Protocol;
using AgileQuant.Orchestrator.Contracts;

namespace AgileQuant.Orchestrator.Packing;

/// <summary>What an engine binary is for and which one it is.</summary>
public sealed record EngineIdentity(string Target, string Version, string Build)
{
    private static readonly byte[] ElfMagic = [0x7F, (byte)'E', (byte)'L', (byte)'F'];
    private static readonly TimeSpan InfoBound = TimeSpan.FromSeconds(30);

    /// <summary>
    /// Target from the ELF header; version and build from <c>aqengine info</c>, run here or under qemu-user. Where neither can
    /// run it, both are "unknown" until a board has run it.
    /// </summary>
    /// <exception cref="UserErrorException">It is no engine, or of a target that is not supported.</exception>
    public static async Task<EngineIdentity> ReadAsync(string path, CancellationToken ct)
    {
        var target = TargetOf(path);
        foreach (var command in Runners(target, Path.GetFullPath(path)))
        {
            if (await TryInfoAsync(command, ct) is { } info)
            {
                return info.Target is null || info.Target == target
                    ? new EngineIdentity(target, info.Version, info.Build ?? "unknown")
                    : throw new UserErrorException($"'{path}' says it is for {info.Target}, but its header says {target}.");
            }
        }

        return target == LocalEngine.Target
            ? throw new UserErrorException($"'{path}' is no engine: it does not answer to 'info'. Is it executable?")
            : new EngineIdentity(target, "unknown", "unknown");
    }

    /// <summary>Base precisions that an engine of this machine's target has kernels for here; null: it does not say.</summary>
    public static async Task<IReadOnlyList<string>?> PrecisionsAsync(string path, CancellationToken ct) =>
        await TryInfoAsync([Path.GetFullPath(path), "info"], ct) is { } info ? [.. info.Kernels.Keys] : null;

    private static string TargetOf(string path)
    {
        Span<byte> header = stackalloc byte[20];
        using var file = File.OpenRead(path);
        if (file.ReadAtLeast(header, header.Length, throwOnEndOfStream: false) < header.Length || !header[..4].SequenceEqual(ElfMagic))
            throw new UserErrorException($"'{path}' is no Linux program: bench engine build makes an engine.");
        return (header[4], BinaryPrimitives.ReadUInt16LittleEndian(header[18..])) switch
        {
            (2, 62) => "linux-x64",
            (2, 183) => "linux-arm64",
            _ => throw new UserErrorException($"'{path}' is for a processor that is not supported: 64-bit x86 or Arm is needed."),
        };
    }

    private static IEnumerable<string[]> Runners(string target, string path)
    {
        if (target == LocalEngine.Target)
            return [[path, "info"]];
        return target == "linux-arm64" ? [["qemu-aarch64-static", path, "info"], ["qemu-aarch64", path, "info"]] : [];
    }

    private static async Task<EngineInfo?> TryInfoAsync(string[] command, CancellationToken ct)
    {
        var start = new ProcessStartInfo(command[0]) { RedirectStandardOutput = true, RedirectStandardError = true, UseShellExecute = false };
        foreach (var argument in command.Skip(1))
            start.ArgumentList.Add(argument);
        using var bound = CancellationTokenSource.CreateLinkedTokenSource(ct);
        bound.CancelAfter(InfoBound);
        try
        {
            using var process = Process.Start(start)!;
            try
            {
                // Both are read, so that a binary that complains at length does not wait for us for ever.
                var errors = process.StandardError.BaseStream.CopyToAsync(Stream.Null, bound.Token);
                var output = await process.StandardOutput.ReadToEndAsync(bound.Token);
                await Task.WhenAll(errors, process.WaitForExitAsync(bound.Token));
                return process.ExitCode == 0 ? ProtocolJson.ParseInfo(Encoding.UTF8.GetBytes(output)) : null;
            }
            finally
            {
                if (!process.HasExited)
                    process.Kill(entireProcessTree: true);
            }
        }
        catch (Exception e) when (e is System.ComponentModel.Win32Exception or ProtocolException or OperationCanceledException && !ct.IsCancellationRequested)
        {
            return null;
        }
    }
}

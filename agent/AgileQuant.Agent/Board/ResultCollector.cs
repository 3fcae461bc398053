using System.Security.Cryptography;
using AgileQuant.Agent.Protocol;

namespace AgileQuant.Agent;

/// <summary>Brings a finished attempt's files home.</summary>
internal static class ResultCollector
{
    /// <summary>Limits for what a board may send: results and journals are small, NLLs are four bytes a token.</summary>
    private const long MaxResultBytes = 64L << 20;
    private const long MaxJournalBytes = 256L << 20;
    private const long MaxNllBytes = 1L << 30;

    public static async Task<CollectedResult> CollectAsync(
        IRemoteShell shell, string jobFolder, string attempt, string localFolder, CancellationToken cancellationToken)
    {
        Directory.CreateDirectory(localFolder);
        var resultPath = Path.Combine(localFolder, "result.json");
        await FetchAsync(shell, jobFolder + "/result.json", resultPath, MaxResultBytes, cancellationToken);
        var result = ProtocolJson.ParseResult(await File.ReadAllBytesAsync(resultPath, cancellationToken));
        if (result.Attempt != attempt)
            throw new ProtocolException($"The result in {jobFolder} belongs to attempt '{result.Attempt}'. Do not use it.");

        var journalPath = Path.Combine(localFolder, "events.jsonl");
        await FetchAsync(shell, jobFolder + "/events.jsonl", journalPath, MaxJournalBytes, cancellationToken);
        var nllFiles = new Dictionary<int, string>();
        var survivorFiles = new Dictionary<int, string>();
        foreach (var block in result.Blocks)
        {
            Task<string> FetchAsync(string name, string? sha256) =>
                FetchFileAsync(shell, jobFolder, localFolder, block.Block, name, sha256, cancellationToken);
            if (block.NllFile is { } nll)
                nllFiles[block.Block] = await FetchAsync(nll, block.NllSha256);
            if (block.SurvivorsFile is { } survivors)
                survivorFiles[block.Block] = await FetchAsync(survivors, block.SurvivorsSha256);
        }

        return new CollectedResult(result, resultPath, journalPath, nllFiles, survivorFiles);
    }

    /// <summary>A file of a block, verified by the hash that the result names.</summary>
    private static async Task<string> FetchFileAsync(
        IRemoteShell shell, string jobFolder, string localFolder, int block, string name, string? sha256, CancellationToken cancellationToken)
    {
        if (!Names.IsWord(name) || name[0] == '.' || name is "result.json" or "events.jsonl")
            throw new ProtocolException($"Block {block} names the file '{name}', which is no plain file name.");
        var path = Path.Combine(localFolder, name);
        await FetchAsync(shell, $"{jobFolder}/{name}", path, MaxNllBytes, cancellationToken);
        await using var file = File.OpenRead(path);
        var actual = Convert.ToHexStringLower(await SHA256.HashDataAsync(file, cancellationToken));
        return actual == sha256
            ? path
            : throw new ProtocolException($"{name} arrived with SHA-256 {actual}, the result says {sha256}. Collect again; " +
                                          "if it stays so, the board's storage is damaged.");
    }

    private static async Task FetchAsync(
        IRemoteShell shell, string remotePath, string localPath, long limit, CancellationToken cancellationToken)
    {
        var temporary = localPath + ".part";
        await using (var file = File.Create(temporary))
        {
            if (await shell.DownloadAsync(remotePath, file, 0, limit + 1, cancellationToken) > limit)
                throw new ProtocolException($"{remotePath} on {shell.Address} is larger than {limit >> 20} MiB: that is no file of the engine.");
        }

        File.Move(temporary, localPath, overwrite: true);
    }
}

using System.Text.Json.Serialization;
using AgileQuant.Orchestrator.Contracts;

namespace AgileQuant.Host.Api;

/// <summary>A node that answers.</summary>
public sealed record HealthView(string Status, string Version);

/// <summary>Asks for a board's host key.</summary>
/// <param name="Address"><c>user@host[:port]</c>.</param>
public sealed record HostKeyRequest(string Address);

/// <summary>A folder or a .gguf file on the node's machine.</summary>
public sealed record ImportModelRequest(string Path, string Name);

/// <summary>A random-weight model.</summary>
/// <param name="Shape">A preset's name, for instance <c>demo-150m</c>.</param>
public sealed record RandomModelRequest(string Shape, string Name, int Seed = 1);

/// <summary>A text on the node's machine.</summary>
/// <param name="Format"><c>text</c> or <c>wikitext-gptq</c>.</param>
public sealed record ImportDatasetRequest(string Path, string Name, string Format = "text");

/// <summary>An engine binary on the node's machine.</summary>
public sealed record AddEngineRequest(string Path);

/// <summary>A matrix that was started.</summary>
public sealed record MatrixStarted(Guid Id);

/// <summary>A one-time link that signs a browser in.</summary>
/// <param name="Url">Null when this node has no dashboard.</param>
public sealed record SignInLink(string? Url, DateTimeOffset ExpiresAt);

/// <summary>One line of a long import (newline-delimited JSON): progress from 0 to 1 with the tensor at work, and at the end the model or an error.</summary>
/// <param name="Tensor">Name of the tensor that is being written.</param>
/// <param name="Number">Its place, from 1.</param>
/// <param name="Count">Of so many.</param>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Skip)]
public sealed record ModelImportEvent(double? Progress = null, ModelView? Model = null, string? Error = null, string? Tensor = null, int? Number = null, int? Count = null);

using AgileQuant.Orchestrator.Storage;

namespace AgileQuant.Orchestrator.Artifacts;

/// <summary>Where this node serves its artifacts; set before the node registers itself, null where nothing serves them (tests, one node).</summary>
public sealed class PeerRegistration
{
    public PeerEndpoint? Endpoint { get; set; }
}

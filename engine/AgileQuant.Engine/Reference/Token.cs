namespace AgileQuant.Engine.Reference;

/// <summary>A token on its way through the layers.</summary>
internal sealed class Token
{
    /// <summary>Residual stream, <c>[dimension]</c>. Of a pruned token: as it was when it left.</summary>
    public required float[] Stream { get; set; }

    /// <summary>Where rotary positions and ALiBi see it in the current layer.</summary>
    public required int Position { get; set; }

    /// <summary>The start token and the last token of a prompt are never low and never leave.</summary>
    public required bool IsProtected { get; init; }

    /// <summary>Its prompt does not begin with the start token that the pack names: other thresholds hold.</summary>
    public bool IsOtherStart { get; init; }

    /// <summary>Carries 4-bit activations from here on.</summary>
    public bool IsLow { get; set; }

    /// <summary>Has left; later layers do not have it.</summary>
    public bool IsPruned { get; set; }
}

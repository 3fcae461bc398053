namespace AgileQuant.Host.Fuzz.Mutation;

/// <summary>Makes a damaged file from a good one. The same random numbers give the same damage.</summary>
internal interface IMutator
{
    /// <param name="input">A file that is understood, or nearly.</param>
    /// <param name="other">Another one, to splice parts from.</param>
    /// <param name="random">Source of every choice.</param>
    byte[] Mutate(byte[] input, byte[] other, Random random);
}

using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using AgileQuant.Orchestrator.Contracts;

namespace AgileQuant.Orchestrator.Orleans.Silo;

/// <summary>TLS between silos: each shows a certificate, and accepts those of the cluster's own authority or with a listed fingerprint.</summary>
/// <param name="CertificateFile">PEM, or PKCS #12 with the key inside (<c>.pfx</c>, <c>.p12</c>).</param>
/// <param name="KeyFile">PEM key; null: in the certificate's file.</param>
/// <param name="Password">Of the key or the PKCS #12 file.</param>
/// <param name="AuthorityFile">PEM of the authority whose certificates are members. Names in certificates are not compared: the authority is the cluster's own.</param>
/// <param name="Fingerprints">SHA-256 of single certificates that are accepted, hex.</param>
public sealed record SiloTls(string CertificateFile, string? KeyFile, string? Password, string? AuthorityFile, IReadOnlyList<string> Fingerprints)
{
    /// <summary>Null when no certificate is named.</summary>
    internal static SiloTls? Read(Func<string, string?> variable)
    {
        if (variable("BENCH_SILO_CERTIFICATE") is not { Length: > 0 } certificate)
            return null;
        var fingerprints = (variable("BENCH_SILO_FINGERPRINTS") ?? "").Split([',', ' '], StringSplitOptions.RemoveEmptyEntries);
        var authority = variable("BENCH_SILO_CA");
        if (string.IsNullOrEmpty(authority) && fingerprints.Length == 0)
        {
            throw new UserErrorException(
                "BENCH_SILO_CERTIFICATE says who this silo is, but not whom it believes: name the authority's certificate in BENCH_SILO_CA, "
                + "or the accepted certificates' SHA-256 fingerprints in BENCH_SILO_FINGERPRINTS");
        }

        return new SiloTls(certificate, variable("BENCH_SILO_KEY"), variable("BENCH_SILO_PASSWORD"), authority, fingerprints);
    }

    /// <summary>The silo's own certificate with its key.</summary>
    /// <exception cref="UserErrorException">The files cannot be read.</exception>
    public X509Certificate2 LoadCertificate()
    {
        try
        {
            if (Path.GetExtension(CertificateFile) is ".pfx" or ".p12")
                return X509CertificateLoader.LoadPkcs12FromFile(CertificateFile, Password);
            return string.IsNullOrEmpty(Password)
                ? X509Certificate2.CreateFromPemFile(CertificateFile, KeyFile)
                : X509Certificate2.CreateFromEncryptedPemFile(CertificateFile, Password, KeyFile);
        }
        catch (Exception e) when (e is CryptographicException or IOException or UnauthorizedAccessException)
        {
            throw new UserErrorException($"the silo's certificate {CertificateFile} cannot be used: {e.Message}", e);
        }
    }

    /// <summary>Decides which silos are believed.</summary>
    /// <exception cref="UserErrorException">The authority's file cannot be read, or a fingerprint is none.</exception>
    public Func<X509Certificate2, bool> MakeValidation()
    {
        var accepted = Fingerprints.Select(Normalize).ToHashSet(StringComparer.Ordinal);
        var authorities = string.IsNullOrEmpty(AuthorityFile) ? [] : LoadAuthorities(AuthorityFile);
        return certificate =>
            accepted.Contains(certificate.GetCertHashString(HashAlgorithmName.SHA256)) || (authorities.Count > 0 && ChainsTo(certificate, authorities));
    }

    private static bool ChainsTo(X509Certificate2 certificate, X509Certificate2Collection authorities)
    {
        using var chain = new X509Chain();
        chain.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
        chain.ChainPolicy.CustomTrustStore.AddRange(authorities);
        chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck; // a private authority has no revocation service
        chain.ChainPolicy.DisableCertificateDownloads = true;
        return chain.Build(certificate);
    }

    private static X509Certificate2Collection LoadAuthorities(string file)
    {
        var authorities = new X509Certificate2Collection();
        try
        {
            authorities.ImportFromPemFile(file);
        }
        catch (Exception e) when (e is CryptographicException or IOException or UnauthorizedAccessException)
        {
            throw new UserErrorException($"the authority's certificate {file} cannot be used: {e.Message}", e);
        }

        return authorities.Count > 0 ? authorities : throw new UserErrorException($"{file} has no certificate in it; BENCH_SILO_CA must be a PEM file");
    }

    private static string Normalize(string fingerprint)
    {
        var hex = fingerprint.Replace(":", "", StringComparison.Ordinal).ToUpperInvariant();
        return hex.Length == 64 && hex.All(char.IsAsciiHexDigitUpper)
            ? hex
            : throw new UserErrorException($"'{fingerprint}' in BENCH_SILO_FINGERPRINTS is not a SHA-256 fingerprint: 64 hex digits");
    }
}

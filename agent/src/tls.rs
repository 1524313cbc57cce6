//! TLS as a client: which authorities are trusted, and who we say we are. [`server`] is the other
//! side.

pub(crate) mod server;
mod verifier;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use pipeline::certificate::Certificate;
use pipeline::config::TlsConfig;
use pipeline::time::WallClock;
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::CryptoProvider;
use rustls::sign::{CertifiedKey, Signer, SingleCertAndKey};
use rustls::{ClientConfig, InconsistentKeys, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::clock::Clock;
use verifier::Verifier;

/// When certificates end, once they are known: milliseconds since 1970, 0 is not known.
#[derive(Debug, Default)]
pub(crate) struct Ends {
    peer_ms: AtomicI64,
    own_ms: AtomicI64,
}

impl Ends {
    /// Of the server's certificate that was accepted last.
    pub(crate) fn peer(&self) -> Option<WallClock> {
        known(&self.peer_ms)
    }

    /// Of the certificate that is shown to the server.
    pub(crate) fn own(&self) -> Option<WallClock> {
        known(&self.own_ms)
    }
}

fn known(end_ms: &AtomicI64) -> Option<WallClock> {
    let end_ms = end_ms.load(Ordering::Relaxed);
    (end_ms != 0).then(|| WallClock::from_millis(end_ms))
}

/// Why TLS cannot be set up; all of it is in files, so a later try may go well.
#[derive(Debug)]
pub(crate) enum TlsError {
    /// A file cannot be read or is not PEM.
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: pem::Error,
    },
    /// A file has no certificate in it.
    NoCertificate(PathBuf),
    /// A certificate authority cannot be used.
    Authority(PathBuf, rustls::Error),
    /// Certificate and key were not both given.
    Incomplete,
    /// The client certificate and its key do not fit together.
    Identity(PathBuf, rustls::Error),
    /// No protocol version is left.
    Protocol(rustls::Error),
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, source } => {
                write!(f, "{}: ", path.display())?;
                if matches!(source, pem::Error::NoItemsFound) {
                    f.write_str("no private key in it")
                } else if let pem::Error::Io(error) = source {
                    error.fmt(f)
                } else {
                    source.fmt(f)
                }
            }
            Self::NoCertificate(path) => write!(f, "{}: no certificate in it", path.display()),
            Self::Authority(path, error) => {
                write!(
                    f,
                    "{}: not a certificate authority: {error}",
                    path.display()
                )
            }
            Self::Incomplete => {
                f.write_str("a client certificate needs both certificate_file and key_file")
            }
            Self::Identity(path, error) => {
                write!(
                    f,
                    "{}: certificate and key do not work: {error}",
                    path.display()
                )
            }
            Self::Protocol(error) => write!(f, "TLS cannot be set up: {error}"),
        }
    }
}

impl std::error::Error for TlsError {}

/// Reads the files that `tls` names. Without a file of its own it trusts the system's
/// authorities, and where the system has none those of Mozilla.
pub(crate) fn client_config(tls: &TlsConfig) -> Result<ClientConfig, TlsError> {
    client_config_with(tls, &Arc::default())
}

/// The same, which tells when certificates end.
pub(crate) fn client_config_with(
    tls: &TlsConfig,
    ends: &Arc<Ends>,
) -> Result<ClientConfig, TlsError> {
    let roots = match &tls.ca_file {
        Some(path) => roots_of(path)?,
        None => system_roots(),
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let clock = Clock::start();
    let roots = WebPkiServerVerifier::builder_with_provider(roots.into(), Arc::clone(&provider))
        .build()
        .map_err(|error| TlsError::Protocol(rustls::Error::General(error.to_string())))?;
    let versions = if tls.is_1_3_only {
        &[&rustls::version::TLS13][..]
    } else {
        rustls::DEFAULT_VERSIONS
    };
    let verifier = Verifier {
        roots,
        clock,
        pins: tls.pins.clone(),
        ends: Arc::clone(ends),
    };
    let builder = ClientConfig::builder_with_details(Arc::clone(&provider), Arc::new(clock))
        .with_protocol_versions(versions)
        .map_err(TlsError::Protocol)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    match (&tls.certificate_file, &tls.key_file) {
        (None, None) => Ok(builder.with_no_client_auth()),
        (Some(certificate), Some(key)) => {
            let identity = identity(certificate, key, &provider)?;
            let own = identity.cert.first();
            if let Some(own) = own.and_then(|own| Certificate::read(own)) {
                ends.own_ms
                    .store(own.not_after.as_millis(), Ordering::Relaxed);
            }
            Ok(builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity))))
        }
        _ => Err(TlsError::Incomplete),
    }
}

/// A certificate with its key. Whether they fit is checked where that can be told: a certificate
/// of version 1, as `openssl x509 -req` makes it, is not rustls's to read but the server's.
fn identity(
    certificate: &Path,
    key: &Path,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, TlsError> {
    let chain = certificates(certificate)?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|source| TlsError::File {
        path: key.to_owned(),
        source,
    })?;
    let private = provider
        .key_provider
        .load_private_key(private)
        .map_err(|error| TlsError::Identity(key.to_owned(), error))?;
    let identity = CertifiedKey::new(chain, private);
    match identity.keys_match() {
        Err(error @ rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            Err(TlsError::Identity(certificate.to_owned(), error))
        }
        Ok(()) | Err(_) => Ok(identity),
    }
}

/// A certificate that signs something else than a handshake.
pub(crate) struct Identity {
    /// The certificate itself first.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    /// Signs with SHA-256: RSA as PKCS #1 1.5, ECDSA in DER.
    pub(crate) signer: Box<dyn Signer>,
    /// Which of the two.
    pub(crate) is_rsa: bool,
}

/// Reads a certificate and its key, which is one that can sign with SHA-256.
pub(crate) fn signer(certificate: &Path, key: &Path) -> Result<Identity, TlsError> {
    const SCHEMES: [SignatureScheme; 2] = [
        SignatureScheme::RSA_PKCS1_SHA256,
        SignatureScheme::ECDSA_NISTP256_SHA256,
    ];
    let identity = identity(certificate, key, &rustls::crypto::ring::default_provider())?;
    let signer = identity.key.choose_scheme(&SCHEMES).ok_or_else(|| {
        let text = "the key is neither RSA nor ECDSA on the curve P-256".to_owned();
        TlsError::Identity(key.to_owned(), rustls::Error::General(text))
    })?;
    Ok(Identity {
        chain: identity.cert,
        is_rsa: signer.scheme() == SignatureScheme::RSA_PKCS1_SHA256,
        signer,
    })
}

fn roots_of(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots
            .add(certificate)
            .map_err(|error| TlsError::Authority(path.to_owned(), error))?;
    }
    Ok(roots)
}

fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    // A certificate that does not parse is the system's affair; the others still work.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots
}

/// The certificates in a file, at least one.
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let file = |source| TlsError::File {
        path: path.to_owned(),
        source,
    };
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).map_err(file)?.collect();
    let found = found.map_err(file)?;
    if found.is_empty() {
        Err(TlsError::NoCertificate(path.to_owned()))
    } else {
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(tls: &TlsConfig, expected: &str) {
        let told = match client_config(tls) {
            Ok(_) => "ok".to_owned(),
            Err(error) => error.to_string(),
        };
        assert!(
            told.contains(expected),
            "{told:?} does not say {expected:?}"
        );
    }

    /// A certificate of version 1.
    const VERSION_1: &str = "\
-----BEGIN CERTIFICATE-----
MIIBGDCBvwIUGQRJyf0KPtgDnEgPVUadbuJjy4AwCgYIKoZIzj0EAwIwETEPMA0G
A1UEAwwGdGVzdGNhMB4XDTI2MTEyMzE3Mzc0M1oXDTI2MTIyMzE3Mzc0M1owDTEL
MAkGA1UEAwwCZ3cwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAQyuYoLL4R+blzD
ncEzSmChYQ+TkKSGlyANfgA2RAxfNx1FhOmH9pB2DNP3RXzwQlz1Tif4UZt2Pk34
Y7KH6fBiMAoGCCqGSM49BAMCA0gAMEUCIQDlT/2DzIS59XmMvaNSSvJhNRc5ZuTI
cQbRdO6TQO+NcQIgEgVMdp7eez53jaGD/ut5C9nUv4zoM1F6/cVpdojrtEQ=
-----END CERTIFICATE-----
";

    #[test]
    fn files_are_named_when_they_fail() {
        let folder = std::env::temp_dir().join(format!("hydrant-tls-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = |name: &str| folder.join(name);
        let put = |name: &str, text: &str| {
            let file = std::fs::File::create(path(name)).unwrap();
            std::io::Write::write_all(&mut { file }, text.as_bytes()).unwrap();
        };
        let mine = rcgen::generate_simple_self_signed(vec!["gateway".to_owned()]).unwrap();
        let other = rcgen::generate_simple_self_signed(vec!["other".to_owned()]).unwrap();
        put("cert.pem", &mine.cert.pem());
        put("key.pem", &mine.signing_key.serialize_pem());
        put("other.pem", &other.signing_key.serialize_pem());
        put("empty.pem", "");
        put("version1.pem", VERSION_1);
        let tls = |ca: Option<&str>, certificate: Option<&str>, key: Option<&str>| TlsConfig {
            ca_file: ca.map(path),
            certificate_file: certificate.map(path),
            key_file: key.map(path),
            ..TlsConfig::default()
        };
        check(&TlsConfig::default(), "ok");
        check(&tls(Some("cert.pem"), None, None), "ok");
        check(
            &tls(Some("cert.pem"), Some("cert.pem"), Some("key.pem")),
            "ok",
        );
        check(&tls(None, Some("version1.pem"), Some("key.pem")), "ok");
        check(&tls(Some("none.pem"), None, None), "none.pem: No such file");
        check(
            &tls(Some("empty.pem"), None, None),
            "empty.pem: no certificate",
        );
        check(
            &tls(None, Some("cert.pem"), None),
            "certificate_file and key_file",
        );
        check(
            &tls(None, Some("cert.pem"), Some("empty.pem")),
            "empty.pem: no private key",
        );
        check(
            &tls(None, Some("cert.pem"), Some("other.pem")),
            "cert.pem: certificate and key do not work",
        );
        std::fs::remove_dir_all(&folder).unwrap();
    }
}

//! Whether a server is who it says it is.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use pipeline::certificate::{Certificate, KeyPin};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::Ends;
use crate::clock::Clock;

/// A chain of certificates is no longer than this.
const CHAIN_MAX: usize = 8;

/// Checks certificates as the roots say, and lets a machine that does not know the time yet learn
/// it: a certificate that seems not to be valid yet only says how late it is at least.
///
/// What has expired stays expired; a clock that is behind cannot see that, whatever is done here.
#[derive(Debug)]
pub(super) struct Verifier {
    pub(super) roots: Arc<WebPkiServerVerifier>,
    pub(super) clock: Clock,
    /// The key must be one of these; none is any key.
    pub(super) pins: Vec<KeyPin>,
    pub(super) ends: Arc<Ends>,
}

impl Verifier {
    /// Looks at a certificate that was found good otherwise.
    fn look(&self, shown: &CertificateDer<'_>) -> Result<(), rustls::Error> {
        let read = Certificate::read(shown);
        let end = read.map_or(0, |read| read.not_after.as_millis());
        self.ends.peer_ms.store(end, Ordering::Relaxed);
        if self.pins.is_empty() {
            return Ok(());
        }
        let pin = read.map(|read| KeyPin::of(read.public_key));
        if pin.is_some_and(|pin| self.pins.contains(&pin)) {
            return Ok(());
        }
        let shown = pin.map_or_else(|| "none".to_owned(), |pin| pin.to_string());
        Err(rustls::Error::General(format!(
            "the server's key is {shown}, which is not among tls.pins"
        )))
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        mut now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verify = |now| {
            ServerCertVerifier::verify_server_cert(
                &*self.roots,
                end_entity,
                intermediates,
                name,
                ocsp,
                now,
            )
        };
        let mut verified = verify(now);
        for _ in 0..CHAIN_MAX {
            let Err(rustls::Error::InvalidCertificate(CertificateError::NotValidYetContext {
                not_before,
                ..
            })) = verified
            else {
                break;
            };
            if !self.clock.moment().taken.is_unsynced || not_before <= now {
                break;
            }
            now = not_before;
            verified = verify(now);
        }
        let verified = verified?;
        self.look(end_entity)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.roots
            .verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.roots
            .verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.roots.supported_verify_schemes()
    }
}

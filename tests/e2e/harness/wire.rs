//! One connection of a server in a test, with or without TLS.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::Certificates;

/// What the server shows of itself.
#[derive(Clone)]
pub(super) struct Tls(Arc<ServerConfig>);

impl Tls {
    pub(super) fn new(certificates: &Certificates) -> Self {
        let (certificate, key) = &certificates.server;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![CertificateDer::from_pem_file(certificate).unwrap()],
                PrivateKeyDer::from_pem_file(key).unwrap(),
            );
        Tls(Arc::new(config.unwrap()))
    }
}

/// One connection.
pub(super) enum Wire {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ServerConnection, TcpStream>>),
}

impl Wire {
    pub(super) fn new(stream: TcpStream, tls: Option<&Tls>) -> Self {
        stream.set_nodelay(true).unwrap();
        match tls {
            None => Wire::Plain(stream),
            Some(Tls(config)) => {
                let connection = ServerConnection::new(Arc::clone(config)).unwrap();
                Wire::Tls(Box::new(StreamOwned::new(connection, stream)))
            }
        }
    }

    pub(super) fn socket(&self) -> &TcpStream {
        match self {
            Wire::Plain(stream) => stream,
            Wire::Tls(stream) => stream.get_ref(),
        }
    }

    /// Sends all of it at once.
    pub(super) fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Wire::Plain(stream) => stream.write_all(bytes),
            Wire::Tls(stream) => {
                stream.write_all(bytes)?;
                stream.flush()
            }
        }
    }
}

impl Read for Wire {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        match self {
            Wire::Plain(stream) => stream.read(room),
            Wire::Tls(stream) => stream.read(room),
        }
    }
}

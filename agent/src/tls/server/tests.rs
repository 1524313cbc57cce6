//! The server's side against rustls's own client, over real sockets.

use std::path::PathBuf;

use pipeline::config::TlsConfig;
use rcgen::{CertificateParams, DnType, Issuer, KeyPair};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsConnector;

use super::*;
use crate::tls::client_config;

/// A folder of certificates that is removed at the end.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

type Authority = Issuer<'static, KeyPair>;

impl Folder {
    fn new(name: &str) -> Self {
        let folder = format!("hydrant-tls-server-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Replaces a file as certbot does: by another one with the same name.
    fn put(&self, name: &str, text: &str) {
        let beside = self.path("new");
        io::Write::write_all(
            &mut std::fs::File::create(&beside).unwrap(),
            text.as_bytes(),
        )
        .unwrap();
        std::fs::rename(beside, self.path(name)).unwrap();
    }

    /// A new authority in `NAME.ca.pem`.
    fn authority(&self, name: &str) -> Authority {
        let mut params = params(name);
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        self.put(&format!("{name}.ca.pem"), &certificate.pem());
        Issuer::new(params, key)
    }

    /// A new certificate in `NAME.pem`, and its key in `NAME.key.pem`.
    fn issue(&self, authority: &Authority, name: &str, common_name: &str) {
        let key = KeyPair::generate().unwrap();
        let certificate = params(common_name).signed_by(&key, authority).unwrap();
        self.put(&format!("{name}.pem"), &certificate.pem());
        self.put(&format!("{name}.key.pem"), &key.serialize_pem());
    }

    fn server(&self, client_ca: Option<&str>) -> ServerTlsConfig {
        ServerTlsConfig {
            certificate_file: self.path("server.pem"),
            key_file: self.path("server.key.pem"),
            client_ca_file: client_ca.map(|name| self.path(name)),
        }
    }

    fn client(&self, name: Option<&str>) -> TlsConfig {
        TlsConfig {
            ca_file: Some(self.path("plant.ca.pem")),
            certificate_file: name.map(|name| self.path(&format!("{name}.pem"))),
            key_file: name.map(|name| self.path(&format!("{name}.key.pem"))),
            ..TlsConfig::default()
        }
    }
}

fn params(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params
}

/// What the server says of a client, and whom of the server's certificate the client has seen.
struct Met {
    told: Result<Option<String>, String>,
    shown: Option<String>,
}

async fn meet(server: &TlsServer, client: &TlsConfig) -> Met {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connector = TlsConnector::from(Arc::new(client_config(client).unwrap()));
    let client = tokio::spawn(async move {
        let stream = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = connector.connect(name, stream).await.ok()?;
        // With TLS 1.3 the client learns only now whether its certificate was taken.
        drop(stream.read_u8().await);
        let (_, session) = stream.get_ref();
        let shown = session.peer_certificates()?.first()?;
        Certificate::read(shown)?.common_name.map(str::to_owned)
    });
    let (stream, _) = listener.accept().await.unwrap();
    let told = match server.accept(stream).await {
        Ok(mut stream) => {
            stream.write_u8(1).await.unwrap();
            Ok(client_name(&stream))
        }
        Err(error) => Err(error.to_string()),
    };
    let shown = client.await.unwrap();
    Met { told, shown }
}

fn server(config: &ServerTlsConfig) -> TlsServer {
    TlsServer::new("test", config, Clock::start()).unwrap()
}

#[tokio::test]
async fn clients_are_let_in_by_their_certificates() {
    let folder = Folder::new("clients");
    let plant = folder.authority("plant");
    folder.issue(&plant, "server", "gateway");
    folder.issue(&plant, "dev", "dev-7");
    let other = folder.authority("other");
    folder.issue(&other, "stranger", "dev-7");
    let everybody = server(&folder.server(None));
    let met = meet(&everybody, &folder.client(None)).await;
    assert_eq!(
        (met.told, met.shown.as_deref()),
        (Ok(None), Some("gateway"))
    );
    let known = server(&folder.server(Some("plant.ca.pem")));
    let met = meet(&known, &folder.client(Some("dev"))).await;
    assert_eq!(met.told, Ok(Some("dev-7".to_owned())));
    let check = async |client: Option<&str>, expected: &str| {
        let told = meet(&known, &folder.client(client)).await.told.unwrap_err();
        assert!(
            told.contains(expected),
            "{told:?} does not say {expected:?}"
        );
    };
    check(None, "has no certificate").await;
    check(Some("stranger"), "of no authority in tls.client_ca_file").await;
    let strange = TlsConfig {
        ca_file: Some(folder.path("other.ca.pem")),
        ..folder.client(None)
    };
    let told = meet(&everybody, &strange).await.told.unwrap_err();
    assert!(told.contains("refuses the certificate"), "{told:?}");
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_and_a_bad_one_is_not() {
    let folder = Folder::new("renewed");
    let plant = folder.authority("plant");
    folder.issue(&plant, "server", "first");
    let server = server(&folder.server(None));
    let check = async |expected: &str| {
        server.look(&mut server.loaded.lock().unwrap());
        let met = meet(&server, &folder.client(None)).await;
        assert_eq!(met.shown.as_deref(), Some(expected));
    };
    check("first").await;
    folder.issue(&plant, "server", "second");
    check("second").await;
    // A certificate whose key has not come yet, and one that is cut.
    let key = std::fs::read_to_string(folder.path("server.key.pem")).unwrap();
    folder.issue(&plant, "server", "third");
    let third = std::fs::read_to_string(folder.path("server.key.pem")).unwrap();
    folder.put("server.key.pem", &key);
    check("second").await;
    folder.put("server.key.pem", &third[..third.len() / 2]);
    check("second").await;
    folder.put("server.key.pem", &third);
    check("third").await;
    std::fs::remove_file(folder.path("server.pem")).unwrap();
    check("third").await;
}

#[tokio::test]
async fn who_speaks_no_tls_or_nothing_is_told_so() {
    let folder = Folder::new("plain");
    let plant = folder.authority("plant");
    folder.issue(&plant, "server", "gateway");
    let server = server(&folder.server(None));
    let check = async |bytes: &[u8], expected: &str| {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        client.write_all(bytes).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let limit = Duration::from_millis(50);
        let told = server
            .accept_within(limit, stream)
            .await
            .unwrap_err()
            .to_string();
        assert!(
            told.contains(expected),
            "{told:?} does not say {expected:?}"
        );
    };
    check(
        b"\x10\x0f\0\x04MQTT\x04\x02\0\x0a\0\x03dev",
        "does not speak TLS",
    )
    .await;
    check(b"GET / HTTP/1.1\r\n\r\n", "does not speak TLS").await;
    check(b"", "took too long").await;
    check(b"\x16\x03\x01\x02", "took too long").await;
}

#[test]
fn files_are_named_when_they_fail() {
    let folder = Folder::new("files");
    let plant = folder.authority("plant");
    folder.issue(&plant, "server", "gateway");
    folder.put("empty.pem", "");
    let check = |config: &ServerTlsConfig, expected: &str| {
        let told = server_config(config, Clock::start())
            .unwrap_err()
            .to_string();
        assert!(
            told.contains(expected),
            "{told:?} does not say {expected:?}"
        );
    };
    let right = folder.server(None);
    let mut wrong = right.clone();
    wrong.certificate_file = folder.path("none.pem");
    check(&wrong, "none.pem: No such file");
    wrong.certificate_file = folder.path("plant.ca.pem");
    check(&wrong, "plant.ca.pem: certificate and key do not work");
    wrong = right.clone();
    wrong.key_file = folder.path("empty.pem");
    check(&wrong, "empty.pem: no private key");
    check(
        &folder.server(Some("empty.pem")),
        "empty.pem: no certificate",
    );
}

/// A gateway without a battery starts in 1970.
#[test]
fn time_is_never_before_our_own_certificate() {
    let at = |issued| {
        let time = NotBefore {
            clock: Clock::start(),
            issued: WallClock::from_millis(issued),
        };
        time.current_time().unwrap().as_secs()
    };
    assert_eq!(at(9_000_000_000_000), 9_000_000_000);
    let now = u64::try_from(Clock::start().wall().as_millis() / 1000).unwrap();
    assert!(at(0).abs_diff(now) <= 1);
}

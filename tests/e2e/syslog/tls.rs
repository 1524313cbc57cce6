//! Syslog over TLS (RFC 5425), from the programs that send it.

use std::net::{Ipv4Addr, TcpStream, UdpSocket};

use crate::harness::{
    Agent, Certificates, Folder, Receiver, Rsyslog, free_port, run, run_with, wait_until,
};

struct Secure {
    agent: Agent,
    receiver: Receiver,
    port: u16,
    certificates: Certificates,
    _folder: Folder,
}

impl Secure {
    /// Lets in whom the authority knows, or everybody.
    fn start(with_clients: bool) -> Self {
        let folder = Folder::new();
        let certificates = Certificates::make(&folder);
        let receiver = Receiver::start();
        let port = free_port();
        let (certificate, key) = &certificates.server;
        let clients = if with_clients {
            format!(", client_ca_file = \"{}\"", certificates.ca)
        } else {
            String::new()
        };
        let source = format!(
            "[sources.network]\ntype = \"syslog\"\nlisten = [\"tls://127.0.0.1:{port}\"]\n\
             tls = {{ certificate_file = \"{certificate}\", key_file = \"{key}\"{clients} }}\n"
        );
        let config = format!("{source}{}", receiver.destination("lake"));
        let mut agent = Agent::new(folder.path(), &config);
        agent.start();
        Secure {
            agent,
            receiver,
            port,
            certificates,
            _folder: folder,
        }
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

/// Both of rsyslog's libraries, with a certificate that is checked on either side.
#[test]
fn rsyslog_forwards_over_tls_with_a_client_certificate() {
    let secure = Secure::start(true);
    let certificates = &secure.certificates;
    for driver in ["gtls", "ossl"] {
        let global = format!(
            "global(DefaultNetstreamDriverCAFile=\"{}\" DefaultNetstreamDriverCertFile=\"{}\" \
             DefaultNetstreamDriverKeyFile=\"{}\")",
            certificates.ca, certificates.client.0, certificates.client.1
        );
        let action = format!(
            "target=\"127.0.0.1\" port=\"{}\" protocol=\"tcp\" TCP_Framing=\"octet-counted\" \
             template=\"RSYSLOG_SyslogProtocol23Format\" StreamDriver=\"{driver}\" \
             StreamDriverMode=\"1\" StreamDriverAuthMode=\"x509/name\" \
             StreamDriverPermittedPeers=\"localhost\"",
            secure.port
        );
        let folder = Folder::new();
        let rsyslog = Rsyslog::with_actions(&folder, &global, &[&action]);
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        for number in 0..100 {
            let sent = format!("<155>1 - gw-7 plc 4211 - - by {driver} {number}");
            let to = (Ipv4Addr::LOCALHOST, rsyslog.port);
            socket.send_to(sent.as_bytes(), to).unwrap();
        }
        let record = secure.receiver.wait_for_message(&format!("by {driver} 99"));
        assert_eq!(record["tls_peer"], "client", "{record}");
        assert_eq!(record["peer"], "127.0.0.1", "{record}");
        assert_eq!(record["app"], "plc", "{record}");
    }
    assert_eq!(secure.receiver.wait_for_messages(200).len(), 200);
    let told = secure.agent.status()["sources"]["network"].clone();
    assert_eq!(told["refused"], 0, "{told}");
}

/// Counts octets, sends many records in one go, and says goodbye.
const CLIENT: &str = "import socket, ssl, sys
context = ssl.create_default_context(cafile=sys.argv[2])
with socket.create_connection(('127.0.0.1', int(sys.argv[1]))) as plain:
    with context.wrap_socket(plain, server_hostname='localhost') as secure:
        messages = [b'<13>1 - h py - - - %d\\nof many %s' % (n, b'x' * 300) for n in range(500)]
        secure.sendall(b''.join(b'%d %s' % (len(m), m) for m in messages))
        secure.unwrap()
";

#[test]
fn openssl_and_python_without_a_certificate() {
    let secure = Secure::start(false);
    let (address, ca) = (secure.address(), secure.certificates.ca.as_str());
    for version in ["-tls1_2", "-tls1_3"] {
        let args = [
            "s_client",
            "-quiet",
            "-no_ign_eof",
            "-verify_return_error",
            version,
            "-connect",
            &address,
            "-servername",
            "localhost",
            "-CAfile",
            ca,
        ];
        let message = format!("with {version}");
        run_with("openssl", &args, format!("<13>a: {message}\n").as_bytes());
        let record = secure.receiver.wait_for_message(&message);
        assert!(record["tls_peer"].is_null(), "{record}");
    }
    let port = secure.port.to_string();
    run("python3", &["-c", CLIENT, &port, ca]);
    assert_eq!(secure.receiver.wait_for_messages(502).len(), 502);
    wait_until("the ends", || {
        (secure.agent.count("sources", "network", "connections") == 0).then_some(())
    });
}

#[test]
fn who_is_not_known_is_refused_with_the_reason() {
    let secure = Secure::start(true);
    let other = Folder::new();
    let strangers = Certificates::make(&other);
    let (address, ca) = (secure.address(), secure.certificates.ca.as_str());
    let client = |certificate: &[&str]| {
        let mut args = vec!["s_client", "-quiet", "-no_ign_eof", "-connect", &address];
        args.extend(["-servername", "localhost", "-CAfile", ca]);
        args.extend(certificate);
        // It ends badly, which is what is wanted; how depends on its version.
        let outcome = std::process::Command::new("openssl")
            .args(args)
            .stdin(std::process::Stdio::null())
            .output();
        outcome.unwrap();
    };
    client(&[]);
    client(&["-cert", &strangers.client.0, "-key", &strangers.client.1]);
    let mut plain = TcpStream::connect((Ipv4Addr::LOCALHOST, secure.port)).unwrap();
    std::io::Write::write_all(&mut plain, b"<13>a: in the clear\n").unwrap();
    secure
        .agent
        .wait_for_count("sources", "network", "refused", 3);
    let told = secure.agent.status()["sources"]["network"].clone();
    assert_eq!(told["refused_by"]["tls"], 3, "{told}");
    assert_eq!(told["received"], 0, "{told}");
    assert!(secure.agent.log().contains("has no certificate"));
    client(&[
        "-cert",
        &secure.certificates.client.0,
        "-key",
        &secure.certificates.client.1,
    ]);
    let args = [
        "s_client",
        "-quiet",
        "-no_ign_eof",
        "-connect",
        &address,
        "-CAfile",
        ca,
        "-cert",
        &secure.certificates.client.0,
        "-key",
        &secure.certificates.client.1,
    ];
    run_with("openssl", &args, b"<13>a: known\n");
    let record = secure.receiver.wait_for_message("known");
    assert_eq!(record["tls_peer"], "client", "{record}");
}

/// A certificate that comes later is waited for, and told meanwhile.
#[test]
fn a_certificate_that_is_missing_is_told_and_waited_for() {
    let folder = Folder::new();
    let certificates = Certificates::make(&folder);
    let receiver = Receiver::start();
    let port = free_port();
    let late = folder.text("late.pem");
    let source = format!(
        "[sources.network]\ntype = \"syslog\"\nlisten = [\"tls://127.0.0.1:{port}\"]\n\
         tls = {{ certificate_file = \"{late}\", key_file = \"{}\" }}\n",
        certificates.server.1
    );
    let config = format!("{source}{}", receiver.destination("lake"));
    let mut agent = Agent::new(folder.path(), &config);
    agent.launch();
    agent.wait_for_error("sources", "network", &["tls://127.0.0.1", "late.pem"]);
    let told = agent.status()["sources"]["network"].clone();
    assert_eq!(told["starting"], true, "{told}");
    std::fs::copy(&certificates.server.0, &late).unwrap();
    agent.ready();
    let args = [
        "s_client",
        "-quiet",
        "-no_ign_eof",
        "-connect",
        &format!("127.0.0.1:{port}"),
        "-CAfile",
        &certificates.ca,
    ];
    run_with("openssl", &args, b"<13>a: at last\n");
    receiver.wait_for_message("at last");
}

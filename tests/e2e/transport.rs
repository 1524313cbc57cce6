//! How servers are reached and verified: keys that are pinned, versions, files that change,
//! proxies, names that cannot be resolved any more, and how many handshakes that takes.

use std::process::Command;

use crate::harness::{
    Agent, Certificates, Folder, Nginx, Proxy, Receiver, append, run, run_with, wait_until, write,
};

/// A destination over TLS, with `more` in its table.
fn destination(port: u16, more: &str) -> String {
    format!(
        "[destinations.lake]\ntype = \"http\"\nurl = \"https://localhost:{port}/in\"\n\
         batch = {{ age_max = \"100ms\" }}\n\
         retry = {{ initial = \"20ms\", max = \"200ms\", timeout = \"5s\" }}\n{more}"
    )
}

fn agent(folder: &Folder, destination: &str) -> Agent {
    let input = folder.text("input.log");
    let source = format!("[sources.app]\ntype = \"file\"\npaths = [\"{input}\"]\n");
    Agent::new(folder.path(), &format!("{source}{destination}"))
}

fn feed(folder: &Folder, line: &str) {
    append(&folder.join("input.log"), format!("{line}\n"));
}

/// The hash of the public key in a certificate, as curl wants it; by openssl alone.
fn pin(certificate: &str) -> String {
    let key = run(
        "openssl",
        &["x509", "-in", certificate, "-pubkey", "-noout"],
    )
    .stdout;
    let der = run_with("openssl", &["pkey", "-pubin", "-outform", "der"], &key).stdout;
    let hash = run_with("openssl", &["dgst", "-sha256", "-binary"], &der).stdout;
    let text = run_with("base64", &["-w0"], &hash).stdout;
    format!("sha256//{}", String::from_utf8(text).unwrap().trim())
}

/// A certificate of the right authority does not do when its key is another one; and it is told
/// when certificates end, which is in two days.
#[test]
fn a_pinned_key_is_the_only_one_that_is_believed() {
    let folder = Folder::new();
    let certificates = Certificates::make(&folder);
    let receiver = Receiver::start();
    let nginx = Nginx::start(&folder, &certificates, receiver.port, "");
    let table = |pin: &str| {
        let (ca, client) = (&certificates.ca, &certificates.client);
        let tls = format!(
            "tls = {{ ca_file = \"{ca}\", pins = [\"{pin}\"], certificate_file = \"{}\", \
             key_file = \"{}\" }}\n",
            client.0, client.1
        );
        destination(nginx.port, &tls)
    };
    let (right, wrong) = (pin(&certificates.server.0), pin(&certificates.client.0));
    let mut agent = agent(&folder, &table(&wrong));
    agent.start();
    feed(&folder, "first");
    let error = agent.wait_for_error("destinations", "lake", &["tls.pins"]);
    assert!(error.contains(&right.to_lowercase()), "{error}");
    assert!(receiver.log().requests.is_empty());
    agent.stop();
    agent.configure("16MiB", &{
        let input = folder.text("input.log");
        format!(
            "[sources.app]\ntype = \"file\"\npaths = [\"{input}\"]\n{}",
            table(&right)
        )
    });
    agent.start();
    agent.wait_for_count("destinations", "lake", "delivered", 1);
    let now = i64::try_from(crate::harness::now().as_secs()).unwrap();
    for name in ["peer_certificate_expires_s", "own_certificate_expires_s"] {
        let end = agent.count("destinations", "lake", name);
        let left = i64::try_from(end).unwrap() - now;
        assert!((1..=2 * 24 * 3600).contains(&left), "{name}: {left} s");
    }
    let log = agent.log();
    for what in [
        "the server's certificate expires at",
        "our own certificate expires at",
    ] {
        assert_eq!(log.matches(what).count(), 1, "{what}: {log}");
    }
}

/// A server that knows nothing newer than TLS 1.2 is refused where 1.3 is asked for.
#[test]
fn an_old_version_of_tls_is_refused() {
    let folder = Folder::new();
    let certificates = Certificates::make(&folder);
    let receiver = Receiver::start();
    let options = "ssl_protocols TLSv1.2;\n";
    let nginx = Nginx::start(&folder, &certificates, receiver.port, options);
    let tls = |version: &str| {
        let ca = &certificates.ca;
        let tls = format!("tls = {{ ca_file = \"{ca}\", version_min = \"{version}\" }}\n");
        destination(nginx.port, &tls)
    };
    let mut agent = agent(&folder, &tls("1.3"));
    agent.start();
    feed(&folder, "first");
    agent.wait_for_error("destinations", "lake", &["version"]);
    drop(agent);
    let second = Folder::new();
    let mut agent = self::agent(&second, &tls("1.2"));
    agent.start();
    feed(&second, "first");
    agent.wait_for_count("destinations", "lake", "delivered", 1);
}

/// A renewed certificate is shown without a reload, and not over a session of the old one.
#[test]
fn a_changed_client_certificate_is_shown() {
    let folder = Folder::new();
    let certificates = Certificates::make(&folder);
    let receiver = Receiver::start();
    let options = "ssl_verify_client optional_no_ca;\nproxy_set_header X-Name $ssl_client_s_dn;\n";
    let nginx = Nginx::start(&folder, &certificates, receiver.port, options);
    let table = certificates.client_table();
    let mut agent = agent(&folder, &destination(nginx.port, &table));
    agent.start();
    feed(&folder, "first");
    agent.wait_for_count("destinations", "lake", "delivered", 1);
    let (renewed, key) = (folder.text("renewed.pem"), folder.text("renewed.key"));
    let mut args = vec![
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-subj",
        "/CN=renewed",
    ];
    args.extend(["-keyout", &key, "-out", &renewed]);
    run("openssl", &args);
    // What does not fit is told, and what was read before stays.
    std::fs::rename(&renewed, &certificates.client.0).unwrap();
    wait_until("a word about the files", || {
        feed(&folder, "more");
        let log = agent.log();
        log.contains("what was read before stays").then_some(())
    });
    std::fs::rename(&key, &certificates.client.1).unwrap();
    receiver.wait("a request with the new certificate", |log| {
        append(&folder.join("input.log"), "more\n");
        let last = &log.requests.last()?.0;
        (last.header("x-name") == "CN=renewed").then_some(())
    });
    let log = receiver.log();
    assert_eq!(log.requests[0].0.header("x-name"), "CN=client");
}

/// A server that is broken for a long time is asked again and again over one connection; one that
/// closes it each time shakes hands once and goes on with that session.
#[test]
fn an_outage_does_not_end_in_handshakes() {
    let folder = Folder::new();
    let certificates = Certificates::make(&folder);
    for (more, is_kept) in [("", true), ("keepalive_timeout 0;\n", false)] {
        let own = Folder::new();
        let receiver = Receiver::scripted({
            let mut attempts = 0;
            move |_| {
                attempts += 1;
                let is_down = (2..30).contains(&attempts);
                crate::harness::Answer::status(if is_down { 503 } else { 200 })
            }
        });
        let options = format!(
            "{more}proxy_set_header X-Reused $ssl_session_reused;\n\
             proxy_set_header X-Requests $connection_requests;\n"
        );
        let nginx = Nginx::start(&own, &certificates, receiver.port, &options);
        let mut agent = agent(
            &own,
            &destination(nginx.port, &certificates.anonymous_table()),
        );
        agent.start();
        feed(&own, "first");
        agent.wait_for_count("destinations", "lake", "delivered", 1);
        feed(&own, "second");
        agent.wait_for_count("destinations", "lake", "delivered", 2);
        let log = receiver.log();
        let requests: Vec<_> = log.requests.iter().map(|(request, _)| request).collect();
        assert_eq!(requests.len(), 30);
        let connections = requests
            .iter()
            .filter(|r| r.header("x-requests") == "1")
            .count();
        let handshakes = requests
            .iter()
            .filter(|r| r.header("x-requests") == "1" && r.header("x-reused") != "r")
            .count();
        assert_eq!(handshakes, 1, "kept: {is_kept}");
        assert_eq!(connections, if is_kept { 1 } else { 30 });
    }
}

/// Both kinds of proxies are given the name, and look it up themselves.
#[test]
fn proxies_resolve_the_name() {
    let folder = Folder::new();
    let certificates = Certificates::make(&folder);
    let receiver = Receiver::start();
    let nginx = Nginx::start(&folder, &certificates, receiver.port, "");
    for kind in ["http", "socks5"] {
        let own = Folder::new();
        let mut proxy = Proxy::start(&own, kind, "gateway", "hush-proxy");
        let table = |password: &str| {
            let more = format!(
                "{}proxy = {{ url = \"{kind}://127.0.0.1:{}\", username = \"gateway\", \
                 password = \"{password}\" }}\n",
                certificates.anonymous_table(),
                proxy.port
            );
            destination(nginx.port, &more)
        };
        let mut agent = agent(&own, &table("hush-wrong"));
        agent.start();
        feed(&own, "first");
        let error = agent.wait_for_error("destinations", "lake", &[]);
        assert!(!error.contains("hush"), "{error}");
        drop(agent);
        let second = Folder::new();
        let mut agent = self::agent(&second, &table("hush-proxy"));
        agent.start();
        feed(&second, "first");
        agent.wait_for_count("destinations", "lake", "delivered", 1);
        proxy
            .program
            .wait_for_line(&format!("asked for localhost {}", nginx.port));
        assert!(!agent.log().contains("hush"));
    }
}

/// A name that nobody can resolve any more is reached where it was last.
#[test]
fn the_last_address_outlives_the_resolver() {
    let namespaces = Command::new("unshare").args(["--mount", "true"]).output();
    if !namespaces.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: it needs root and mount namespaces");
        return;
    }
    let folder = Folder::new();
    let receiver = Receiver::start();
    let hosts = folder.join("hosts");
    write(&hosts, "127.0.0.1 localhost collector.invalid\n");
    let config = receiver
        .destination("lake")
        .replace("127.0.0.1", "collector.invalid");
    let mut agent = agent(&folder, &config);
    let script = format!("mount --bind {} /etc/hosts && exec \"$@\"", hosts.display());
    agent.launch_under(&["unshare", "--mount", "sh", "-c", &script, "sh"]);
    agent.ready();
    feed(&folder, "first");
    agent.wait_for_count("destinations", "lake", "delivered", 1);
    // The same file, because it is the file that is mounted.
    write(&hosts, "127.0.0.1 localhost\n");
    receiver.set_down(true);
    feed(&folder, "second");
    wait_until("a question that nobody answers", || {
        let log = agent.log();
        log.contains("collector.invalid cannot be resolved, its last addresses are used")
            .then_some(())
    });
    receiver.set_down(false);
    agent.wait_for_count("destinations", "lake", "delivered", 2);
}

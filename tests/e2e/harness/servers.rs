//! The real programs at the other ends.

use std::net::{Ipv4Addr, TcpStream};
use std::process::Command;

use serde_json::Value;

use super::program::{Program, python, run, run_with};
use super::{Certificates, Folder, free_port, wait_until, write};

/// Waits until something accepts connections.
fn wait_for_port(program: &mut Program, port: u16) {
    wait_for_address(program, "127.0.0.1", port);
}

fn wait_for_address(program: &mut Program, host: &str, port: u16) {
    wait_until(&format!("port {port}"), || {
        program.check();
        TcpStream::connect((host, port)).ok()
    });
}

/// mosquitto.
pub(crate) struct Broker {
    pub(crate) port: u16,
    host: &'static str,
    folder: std::path::PathBuf,
    program: Program,
}

impl Broker {
    /// One that lets everybody in.
    pub(crate) fn start(folder: &Folder) -> Self {
        Broker::with(folder, free_port(), "allow_anonymous true\n")
    }

    /// One that wants certificates.
    pub(crate) fn with_tls(folder: &Folder, certificates: &Certificates) -> Self {
        let options = format!(
            "allow_anonymous true\nrequire_certificate true\n\
             cafile {}\ncertfile {}\nkeyfile {}\n",
            certificates.ca, certificates.server.0, certificates.server.1
        );
        Broker::with(folder, free_port(), &options)
    }

    /// One that wants this name and password.
    pub(crate) fn with_password(folder: &Folder, name: &str, password: &str) -> Self {
        let file = folder.text("passwords");
        run("mosquitto_passwd", &["-b", "-c", &file, name, password]);
        Broker::with(
            folder,
            free_port(),
            &format!("allow_anonymous false\npassword_file {file}\n"),
        )
    }

    /// One with these options beside the usual ones.
    pub(crate) fn with(folder: &Folder, port: u16, options: &str) -> Self {
        Broker::at(folder, "127.0.0.1", port, options)
    }

    /// One at another address of this machine.
    pub(crate) fn at(folder: &Folder, host: &'static str, port: u16, options: &str) -> Self {
        let config = folder.join("mosquitto.conf");
        let window = if options.contains("max_inflight_messages") {
            ""
        } else {
            "max_inflight_messages 20\n"
        };
        // Unlimited queues, so that it is not the broker that drops.
        write(
            &config,
            format!(
                "user root\nlog_type all\nlistener {port} {host}\n{options}\
                 max_queued_messages 0\n{window}"
            ),
        );
        let mut command = Command::new("mosquitto");
        command.arg("-c").arg(config);
        let mut program = Program::start(folder.path(), "mosquitto", &command);
        wait_for_address(&mut program, host, port);
        Broker {
            port,
            host,
            folder: folder.path().to_path_buf(),
            program,
        }
    }

    /// Ends it and starts it anew; without persistence it remembers nobody.
    pub(crate) fn restart(&mut self) {
        self.stop();
        self.resume();
    }

    /// Ends it.
    pub(crate) fn stop(&mut self) {
        self.program.kill();
    }

    /// Ends it in order: what it keeps is saved.
    pub(crate) fn end(&mut self) {
        self.program.signal(rustix::process::Signal::TERM);
        self.program.ended();
    }

    /// Starts it anew.
    pub(crate) fn resume(&mut self) {
        let mut command = Command::new("mosquitto");
        command.arg("-c").arg(self.folder.join("mosquitto.conf"));
        self.program = Program::start(&self.folder, "mosquitto", &command);
        wait_for_address(&mut self.program, self.host, self.port);
    }

    pub(crate) fn url(&self) -> String {
        format!("mqtt://{}:{}", self.host, self.port)
    }

    pub(crate) fn publish(&self, topic: &str, message: &str, more: &[&str]) {
        publish_at(self.host, self.port, topic, message, more);
    }

    /// Publishes each message to `plant/1/data`, by one `mosquitto_pub`.
    pub(crate) fn publish_all(&self, messages: &[String], qos: &str) {
        let port = self.port.to_string();
        let to = ["-h", self.host, "-p", &port, "-t", "plant/1/data"];
        let args = [&to[..], &["-q", qos, "-l"]].concat();
        let lines = messages.join("\n") + "\n";
        run_with("mosquitto_pub", &args, lines.as_bytes());
    }

    /// Waits until it has said something, such as who subscribed.
    pub(crate) fn wait_for_line(&mut self, text: &str) {
        self.program.wait_for_line(text);
    }
}

/// A WebSocket in front of a broker.
pub(crate) struct WebSocketBridge {
    pub(crate) port: u16,
    _program: Program,
}

impl WebSocketBridge {
    /// Passes on to `target`, with TLS if there are certificates.
    pub(crate) fn start(folder: &Folder, target: u16, certificates: Option<&Certificates>) -> Self {
        let port = free_port();
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent();
        let script = root.unwrap().join("tests/e2e/websocket_bridge.py");
        let mut command = Command::new(python());
        command
            .arg(script)
            .args([port.to_string(), target.to_string()]);
        if let Some(certificates) = certificates {
            command.args([&certificates.server.0, &certificates.server.1]);
        }
        let mut program = Program::start(folder.path(), "websocket", &command);
        wait_for_port(&mut program, port);
        WebSocketBridge {
            port,
            _program: program,
        }
    }
}

/// Publishes one message with `mosquitto_pub`.
pub(crate) fn publish(port: u16, topic: &str, message: &str, more: &[&str]) {
    publish_at("127.0.0.1", port, topic, message, more);
}

fn publish_at(host: &str, port: u16, topic: &str, message: &str, more: &[&str]) {
    let port = port.to_string();
    let mut args = vec!["-h", host, "-p", &port, "-t", topic, "-s"];
    args.extend(more);
    run_with("mosquitto_pub", &args, message.as_bytes());
}

/// nginx with TLS in front of something that has none.
pub(crate) struct Nginx {
    pub(crate) port: u16,
    _program: Program,
}

impl Nginx {
    pub(crate) fn start(
        folder: &Folder,
        certificates: &Certificates,
        behind: u16,
        options: &str,
    ) -> Self {
        let port = free_port();
        let config = folder.join("nginx.conf");
        let at = folder.path().display();
        let protocols = if options.contains("ssl_protocols") {
            ""
        } else {
            "ssl_protocols TLSv1.2 TLSv1.3;"
        };
        write(
            &config,
            format!(
                "daemon off; master_process off; pid {at}/nginx.pid; error_log stderr info;\n\
                 events {{ }}\n\
                 http {{\n\
                 access_log {at}/access.log;\n\
                 client_body_temp_path {at}/body; proxy_temp_path {at}/proxy;\n\
                 fastcgi_temp_path {at}/fastcgi; uwsgi_temp_path {at}/uwsgi;\n\
                 scgi_temp_path {at}/scgi;\n\
                 server {{\n\
                 listen 127.0.0.1:{port} ssl;\n\
                 ssl_certificate {}; ssl_certificate_key {};\n\
                 ssl_client_certificate {}; {protocols}\n\
                 {options}\n\
                 location / {{ proxy_pass http://127.0.0.1:{behind}; }}\n\
                 }} }}\n",
                certificates.server.0, certificates.server.1, certificates.ca
            ),
        );
        let mut command = Command::new("nginx");
        command.arg("-e").arg("stderr").arg("-c").arg(config);
        let mut program = Program::start(folder.path(), "nginx", &command);
        wait_for_port(&mut program, port);
        Nginx {
            port,
            _program: program,
        }
    }
}

/// rsyslog that takes datagrams and forwards them.
pub(crate) struct Rsyslog {
    pub(crate) port: u16,
    _program: Program,
}

impl Rsyslog {
    /// Forwards over TCP with octet counting.
    pub(crate) fn forwarding_to(folder: &Folder, target: u16) -> Self {
        let options = format!(
            "target=\"127.0.0.1\" port=\"{target}\" protocol=\"tcp\" \
             TCP_Framing=\"octet-counted\" template=\"RSYSLOG_SyslogProtocol23Format\""
        );
        Rsyslog::with_actions(folder, "", &[&options])
    }

    /// Does each of these `omfwd` actions with what it takes at its port; `more` are further lines.
    pub(crate) fn with_actions(folder: &Folder, more: &str, actions: &[&str]) -> Self {
        let port = free_port();
        let config = folder.join("rsyslog.conf");
        let at = folder.path().display();
        let actions: Vec<String> = actions
            .iter()
            .map(|options| {
                format!(
                    "action(type=\"omfwd\" {options}\n\
                     action.resumeRetryCount=\"-1\" action.resumeInterval=\"1\")\n"
                )
            })
            .collect();
        write(
            &config,
            format!(
                "global(workDirectory=\"{at}\")\n\
                 module(load=\"imudp\")\n\
                 input(type=\"imudp\" address=\"127.0.0.1\" port=\"{port}\")\n{more}\n{}",
                actions.concat()
            ),
        );
        let mut command = Command::new("rsyslogd");
        command
            .args(["-n", "-i"])
            .arg(folder.join("rsyslog.pid"))
            .arg("-f")
            .arg(config);
        let mut program = Program::start(folder.path(), "rsyslogd", &command);
        wait_until("rsyslog's port", || {
            program.check();
            // Two cannot have it.
            std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, port))
                .is_err()
                .then_some(())
        });
        Rsyslog {
            port,
            _program: program,
        }
    }
}

/// A proxy with a user name and a password.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    pub(crate) program: Program,
}

impl Proxy {
    /// One of `http` or `socks5`.
    pub(crate) fn start(folder: &Folder, kind: &str, user: &str, password: &str) -> Self {
        let port = free_port();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/e2e/proxy.py");
        let mut command = Command::new(python());
        command.args([script, &port.to_string(), kind, user, password]);
        let mut program = Program::start(folder.path(), "proxy", &command);
        wait_for_port(&mut program, port);
        Proxy { port, program }
    }
}

/// A stand-in for IAM Roles Anywhere that checks certificates and signatures.
pub(crate) struct RolesAnywhere {
    pub(crate) port: u16,
    _program: Program,
}

impl RolesAnywhere {
    /// One that trusts what these certificates signed.
    pub(crate) fn start(folder: &Folder, anchors: &[&str]) -> Self {
        let port = free_port();
        let script = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../tests/e2e/roles_anywhere.py"
        );
        let mut command = Command::new(python());
        command.args([script, &port.to_string()]).args(anchors);
        let mut program = Program::start(folder.path(), "roles_anywhere", &command);
        wait_for_port(&mut program, port);
        RolesAnywhere {
            port,
            _program: program,
        }
    }
}

/// moto's Firehose, Kinesis and S3, with TLS and with the check of signatures on.
pub(crate) struct Moto {
    pub(crate) port: u16,
    pub(crate) access_key: String,
    pub(crate) secret_key: String,
    ca: String,
    _program: Program,
}

impl Moto {
    pub(crate) const STREAM: &str = "plant-telemetry";
    pub(crate) const REGION: &str = "eu-west-1";
    const HELPER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/e2e/aws.py");

    pub(crate) fn start(folder: &Folder, certificates: &Certificates) -> Self {
        let port = free_port();
        let python = python();
        let mut command = Command::new(&python);
        command.args([
            "-m",
            "moto.server",
            "-H",
            "127.0.0.1",
            "-p",
            &port.to_string(),
        ]);
        command.args(["-c", &certificates.server.0, "-k", &certificates.server.1]);
        // The calls of `aws.py setup`; from then on moto checks signatures.
        command.env("INITIAL_NO_AUTH_ACTION_COUNT", "6");
        let mut program = Program::start(folder.path(), "moto", &command);
        wait_for_port(&mut program, port);
        let mut moto = Moto {
            port,
            access_key: String::new(),
            secret_key: String::new(),
            ca: certificates.ca.clone(),
            _program: program,
        };
        let keys: Value = serde_json::from_slice(&moto.call("setup")).unwrap();
        moto.access_key = keys["access_key"].as_str().unwrap().to_owned();
        moto.secret_key = keys["secret_key"].as_str().unwrap().to_owned();
        moto
    }

    pub(crate) fn url(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    /// Everything that Firehose has put into the bucket, in the order of the calls.
    pub(crate) fn delivered(&self) -> Vec<u8> {
        self.call("fetch")
    }

    /// A role that the user may take and that may deliver; its ARN.
    pub(crate) fn make_role(&self) -> String {
        String::from_utf8(self.call("role"))
            .unwrap()
            .trim()
            .to_owned()
    }

    /// Every record in the shards of the Kinesis stream, aggregated ones taken apart.
    pub(crate) fn kinesis_records(&self) -> Vec<Value> {
        let lines = String::from_utf8(self.call("fetch-kinesis")).unwrap();
        let records = lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap());
        records.collect()
    }

    /// Every object of the bucket, with its key, body and what it was stored with.
    pub(crate) fn objects(&self) -> Vec<Value> {
        let lines = String::from_utf8(self.call("objects")).unwrap();
        lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    fn call(&self, what: &str) -> Vec<u8> {
        let url = self.url();
        let args = [
            Moto::HELPER,
            what,
            &url,
            &self.ca,
            Moto::REGION,
            Moto::STREAM,
            &self.access_key,
            &self.secret_key,
        ];
        run(python().to_str().unwrap(), &args).stdout
    }
}

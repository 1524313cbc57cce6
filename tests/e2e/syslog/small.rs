//! What small systems log with: busybox, and dnsmasq, which writes to `/dev/log` by itself.
//!
//! Each has a `/dev` of its own, so that nothing of this machine hears it.

use std::process::Command;

use super::Syslog;
use crate::harness::{Agent, Folder, Program, Receiver, run};

/// A shell line that makes `/dev` anew.
const OWN_DEV: &str = "mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3 && \
                       mknod -m 666 /dev/urandom c 1 9";

/// Whether mounts can be hidden from others; says so if not.
fn has_namespaces() -> bool {
    let tried = Command::new("unshare").args(["--mount", "true"]).output();
    let is_root = tried.is_ok_and(|output| output.status.success());
    if !is_root {
        eprintln!("SKIPPED: it needs root, for a /dev of its own");
    }
    is_root
}

#[test]
fn busybox_forwards() {
    if !has_namespaces() {
        return;
    }
    let syslog = Syslog::start("");
    // It has no name for the machine, so its address is all that is known.
    let script = format!(
        "{OWN_DEV} && {{ setpriv --pdeathsig KILL busybox syslogd -n -R 127.0.0.1:{} -O {} & }} && \
         until [ -S /dev/log ]; do busybox usleep 1000; done && \
         busybox logger -t pump -p local0.warn 'pressure is low' && \
         busybox logger -s -t pump[12] -p daemon.err 'pressure is gone' && wait",
        syslog.port,
        syslog.folder.text("messages")
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &script]);
    let mut busybox = Program::start(syslog.folder.path(), "busybox", &command);
    for (message, severity, procid) in [
        ("pressure is low", "warning", None),
        ("pressure is gone", "err", Some("12")),
    ] {
        let record = syslog.receiver.wait_for_message(message);
        assert_eq!(record["app"], "pump", "{record}");
        assert_eq!(record["severity"], severity, "{record}");
        assert_eq!(record["procid"].as_str(), procid, "{record}");
        assert_eq!(record["peer"], "127.0.0.1", "{record}");
        assert!(record["hydrant"]["time"].is_string(), "{record}");
        assert!(record["decode_error"].is_null(), "{record}");
    }
    busybox.kill();
}

#[test]
fn programs_of_a_small_system_write_to_dev_log() {
    if !has_namespaces() {
        return;
    }
    let folder = Folder::new();
    let receiver = Receiver::start();
    let socket = folder.text("dev-log");
    let config = format!(
        "[sources.machine]\ntype = \"syslog\"\nlisten = [\"unixgram://{socket}\"]\n{}",
        receiver.destination("lake")
    );
    let mut agent = Agent::new(folder.path(), &config);
    agent.start();
    let linked = format!("{OWN_DEV} && ln -s {socket} /dev/log");
    let logger = format!("{linked} && busybox logger -t pump -p local0.warn 'pressure is low'");
    run("unshare", &["--mount", "sh", "-c", &logger]);
    let record = receiver.wait_for_message("pressure is low");
    assert_eq!(record["app"], "pump", "{record}");
    assert_eq!(record["facility"], "local0", "{record}");
    assert!(record["peer_pid"].is_number(), "{record}");
    // No port, no leases, no files: it only says that it has started.
    let dnsmasq = format!("{linked} && exec dnsmasq -k -p 0 -C /dev/null -x '' -u root -R -h");
    let mut command = Command::new("unshare");
    command.args(["--mount", "--net", "sh", "-c", &dnsmasq]);
    let mut dnsmasq = Program::start(folder.path(), "dnsmasq", &command);
    let record = receiver.wait("what dnsmasq says", |log| {
        let mut records = log.records.iter();
        let of_dnsmasq = records.find(|record| record["app"] == "dnsmasq");
        of_dnsmasq.cloned()
    });
    let message = record["message"].as_str().unwrap();
    assert!(message.starts_with("started, version"), "{record}");
    assert_eq!(record["procid"], record["peer_pid"].to_string(), "{record}");
    assert_eq!(record["facility"], "daemon", "{record}");
    dnsmasq.kill();
}

//! Sockets of this machine, those of the agent and those of the service manager.

use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::harness::{Agent, Folder, Receiver, free_port, run, wait_until};

/// What a program of this machine says, by way of the C library and of `logger`.
const PROGRAM: &str = "import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.sendto(b'<30>Nov 23 16:39:58 plc[7]: by hand', sys.argv[1])
";

#[test]
fn programs_of_this_machine_write_to_a_socket() {
    let folder = Folder::new();
    let receiver = Receiver::start();
    let (datagrams, streams) = (folder.text("dev-log"), folder.text("stream-log"));
    let config = format!(
        "[sources.machine]\ntype = \"syslog\"\nsocket_mode = \"0622\"\n\
         listen = [\"unixgram://{datagrams}\", \"unix://{streams}\"]\n{}",
        receiver.destination("lake")
    );
    let mut agent = Agent::new(folder.path(), &config);
    for round in 0..2 {
        agent.start();
        for (way, socket) in [("-d", &datagrams), ("-T", &streams)] {
            let socket_errors = "--socket-errors=on";
            let message = format!("round {round} {way}");
            let args = [
                "-u",
                socket,
                way,
                socket_errors,
                "-t",
                "welder",
                "-i",
                &message,
            ];
            run("logger", &args);
            let record = receiver.wait_for_message(&message);
            assert_eq!(record["app"], "welder", "{record}");
            assert_eq!(record["procid"], record["peer_pid"].to_string(), "{record}");
            assert_eq!(
                record["peer_uid"],
                rustix::process::getuid().as_raw(),
                "{record}"
            );
            assert!(
                record["host"].is_null() && record["peer"].is_null(),
                "{record}"
            );
        }
        // A socket that a killed agent left behind is replaced.
        agent.kill();
    }
    agent.start();
    run("python3", &["-c", PROGRAM, &datagrams]);
    let record = receiver.wait_for_message("by hand");
    assert_eq!(record["app"], "plc", "{record}");
    assert_eq!(agent.stop().code(), Some(0));
    assert!(!std::path::Path::new(&datagrams).exists());
}

/// Opens sockets of all four kinds, names them, and becomes the agent, as systemd would.
const SERVICE_MANAGER: &str = "import os, socket, sys
folder, port = sys.argv[1], int(sys.argv[2])
def unix(name, kind):
    s = socket.socket(socket.AF_UNIX, kind)
    s.bind(os.path.join(folder, name))
    return s
def ip(family, kind, address):
    s = socket.socket(family, kind)
    s.bind((address, port))
    return s
sockets = [unix('dgram', socket.SOCK_DGRAM), unix('stream', socket.SOCK_STREAM),
    ip(socket.AF_INET, socket.SOCK_DGRAM, '127.0.0.1'), ip(socket.AF_INET, socket.SOCK_STREAM, '127.0.0.1')]
sockets[1].listen(5)
sockets[3].listen(5)
# What arrives before the agent runs waits in the socket.
early = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
early.sendto(b'<30>Nov 23 16:39:58 early[7]: before the start', os.path.join(folder, 'dgram'))
fds = [os.dup(s.fileno()) for s in sockets]
for target, fd in enumerate(fds, 3):
    os.dup2(fd, target + 40)
for target in range(3, 3 + len(fds)):
    os.dup2(target + 40, target)
os.closerange(3 + len(fds), 100)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='4',
    LISTEN_FDNAMES='machine:machine:network:network')
os.execvp(sys.argv[3], sys.argv[3:])
";

#[test]
fn sockets_of_the_service_manager_are_taken_over() {
    let folder = Folder::new();
    let receiver = Receiver::start();
    let port = free_port();
    let source = |name: &str, listen: &str| {
        format!("[sources.{name}]\ntype = \"syslog\"\nlisten = [\"systemd:{listen}\"]\n")
    };
    let lake = receiver.destination("lake");
    let first = format!("{}{lake}", source("machine", "machine"));
    let mut agent = Agent::new(folder.path(), &first);
    let port_text = port.to_string();
    let folder_text = folder.path().to_str().unwrap();
    agent.launch_under(&["python3", "-c", SERVICE_MANAGER, folder_text, &port_text]);
    agent.ready();
    let record = receiver.wait_for_message("before the start");
    assert_eq!(record["app"], "early", "{record}");
    for (way, socket) in [("-d", "dgram"), ("-T", "stream")] {
        let socket = folder.text(socket);
        run(
            "logger",
            &["-u", &socket, way, "-t", "welder", &format!("local {way}")],
        );
        receiver.wait_for_message(&format!("local {way}"));
    }
    // A reload brings another source, which takes what nobody had.
    let both = format!("{}{}", source("network", "network"), first);
    agent.configure("16MiB", &both);
    agent.signal(rustix::process::Signal::HUP);
    let listens = "listening on systemd:network";
    wait_until(listens, || agent.log().contains(listens).then_some(()));
    for way in ["-d", "-T"] {
        let message = format!("network {way}");
        run(
            "logger",
            &[
                "-n",
                "127.0.0.1",
                "-P",
                &port_text,
                way,
                "-t",
                "welder",
                &message,
            ],
        );
        let record = receiver.wait_for_message(&message);
        assert_eq!(record["peer"], "127.0.0.1", "{record}");
    }
    // A name that nobody passed is told, with the names that were.
    agent.configure("16MiB", &format!("{}{both}", source("other", "othre")));
    agent.signal(rustix::process::Signal::HUP);
    agent.wait_for_error("sources", "other", &["systemd:othre", "machine", "network"]);
}

/// A full ring that makes sources wait must not make the whole machine wait.
#[test]
fn programs_are_not_held_up_by_a_full_ring() {
    let folder = Folder::new();
    let log = folder.text("dev-log");
    let nowhere = free_port();
    let rest = format!(
        "compression = \"none\"\nwhen_full = \"block\"\n[sources.machine]\ntype = \"syslog\"\n\
         listen = [\"unixgram://{log}\"]\n\
         [destinations.lake]\ntype = \"http\"\nurl = \"http://127.0.0.1:{nowhere}/\"\n"
    );
    let mut agent = Agent::with_ring(folder.path(), "1MiB", &rest);
    agent.start();
    let (sent, end) = (
        Arc::new(AtomicU64::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let program = {
        let (sent, end) = (Arc::clone(&sent), Arc::clone(&end));
        std::thread::spawn(move || {
            let socket = UnixDatagram::unbound().unwrap();
            let message = format!("<13>Nov 23 16:39:58 program: {}", "x".repeat(8_000));
            while !end.load(Ordering::Relaxed) {
                socket.send_to(message.as_bytes(), &log).unwrap();
                sent.fetch_add(1, Ordering::Relaxed);
            }
        })
    };
    let refused = || agent.status()["sources"]["machine"]["refused_by"]["store"].as_u64();
    let first = wait_until("a refusal", || refused().filter(|count| *count > 0));
    let before = sent.load(Ordering::Relaxed);
    wait_until("another", || refused().filter(|count| *count > first));
    assert!(sent.load(Ordering::Relaxed) > before, "the program goes on");
    end.store(true, Ordering::Relaxed);
    program.join().unwrap();
    let said = agent
        .log()
        .matches("messages of this machine are refused")
        .count();
    assert_eq!(said, 1, "told once a minute");
}

//! Disks, ports and peers that are not as they should be: each gets a clear error or a counter.

use std::fs::{self, File};
use std::io::{Seek, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

use crate::harness::{
    Agent, Folder, Publisher, Receiver, append, free_port, hydrant, wait_until, write,
};

fn source(folder: &Folder) -> String {
    format!(
        "[sources.app]\ntype = \"file\"\npaths = [\"{}\"]\n",
        folder.text("input.log")
    )
}

/// Exit code 74 tells that the storage cannot be used, and the text says which.
fn check_storage_error(agent: &mut Agent, words: &[&str]) {
    let status = agent.ended();
    assert_eq!(status.code(), Some(74), "{}", agent.log());
    for word in words {
        assert!(
            agent.log().contains(word),
            "no {word:?} in:\n{}",
            agent.log()
        );
    }
}

#[test]
fn a_state_directory_that_cannot_be_written() {
    let folder = Folder::new();
    let receiver = Receiver::start();
    write(&folder.join("state"), "a file where the folder should be");
    let mut agent = Agent::new(
        folder.path(),
        &format!("{}{}", source(&folder), receiver.destination("lake")),
    );
    agent.launch();
    check_storage_error(&mut agent, &["state"]);
}

/// A full disk is found at installation, not in the field.
#[test]
fn a_ring_that_does_not_fit() {
    let folder = Folder::new();
    let receiver = Receiver::start();
    let config = format!("{}{}", source(&folder), receiver.destination("lake"));
    let mut agent = Agent::new(folder.path(), &config);
    // No file may grow beyond 4 MiB, and who tries is told instead of killed.
    agent.launch_under(&["prlimit", "--fsize=4194304", "env", "--ignore-signal=XFSZ"]);
    check_storage_error(&mut agent, &["state"]);
}

/// A disk that fails ends the agent at once; it comes back and has lost nothing.
#[test]
fn a_failed_sync_ends_in_recovery() {
    let folder = Folder::new();
    let receiver = Receiver::start();
    let config = format!("{}{}", source(&folder), receiver.destination("lake"));
    let mut agent = Agent::new(folder.path(), &config);
    agent.start();
    append(&folder.join("input.log"), "before\n");
    receiver.wait_for_message("before");
    assert_eq!(agent.stop().code(), Some(0));
    folder.make("trace");
    let log = folder.text("trace/strace.log");
    // The second of the store thread's own syncs fails, and all that follow.
    let fault = "inject=fdatasync:error=EIO:when=2+";
    let strace = [
        "strace",
        "-f",
        "-qq",
        "-o",
        &log,
        "-e",
        "trace=fdatasync",
        "-e",
        fault,
    ];
    agent.launch_under(&[&strace[..], &["setpriv", "--pdeathsig", "KILL"]].concat());
    let mut fed = 0;
    let status = wait_until("the end of the agent", || {
        append(&folder.join("input.log"), format!("line {fed}\n"));
        fed += 1;
        agent.try_ended()
    });
    assert_eq!(status.code(), Some(74), "{}", agent.log());
    agent.start();
    let last = format!("line {}", fed - 1);
    receiver.wait_for_message(&last);
    let mut expected = vec!["before".to_owned()];
    expected.extend((0..fed).map(|number| format!("line {number}")));
    assert_eq!(receiver.log().messages_once(), expected);
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(files_below(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found
}

/// No content of the disk stops it from starting.
#[test]
fn a_ring_of_garbage_does_not_stop_the_start() {
    for (what, garbage) in [("zeros", vec![0u8; 1 << 20]), ("ones", vec![0xff; 1 << 20])] {
        let folder = Folder::new();
        let receiver = Receiver::start();
        let config = format!("{}{}", source(&folder), receiver.destination("lake"));
        let mut agent = Agent::with_ring(folder.path(), "1MiB", &config);
        agent.start();
        append(&folder.join("input.log"), "before\n");
        receiver.wait_for_message("before");
        agent.kill();
        for path in files_below(&folder.join("state")) {
            let length = usize::try_from(fs::metadata(&path).unwrap().len()).unwrap();
            let mut file = File::options().write(true).open(&path).unwrap();
            file.rewind().unwrap();
            file.write_all(&garbage[..length.min(garbage.len())])
                .unwrap();
        }
        agent.start();
        append(&folder.join("input.log"), "behind\n");
        receiver.wait_for_message("behind");
        assert_eq!(agent.stop().code(), Some(0), "{what}");
    }
}

#[test]
fn two_agents_do_not_share_a_ring() {
    let folder = Folder::new();
    let receiver = Receiver::start();
    let config = format!("{}{}", source(&folder), receiver.destination("lake"));
    let mut agent = Agent::new(folder.path(), &config);
    agent.start();
    let second = hydrant(&["run", "--config", agent.config()]);
    assert!(
        second.code == 74 || second.code == 1,
        "ended with {}",
        second.code
    );
    assert!(second.stderr.contains("state"), "{}", second.stderr);
    append(&folder.join("input.log"), "still here\n");
    receiver.wait_for_message("still here");
    agent.check();
}

/// A port that is taken is told, nothing else waits for it, and it is tried again.
#[test]
fn a_port_that_is_taken_is_tried_again() {
    let folder = Folder::new();
    let receiver = Receiver::start();
    let port = free_port();
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    let config = format!(
        "{}[sources.devices]\ntype = \"mqtt_listener\"\nlisten = \"127.0.0.1:{port}\"\n{}",
        source(&folder),
        receiver.destination("lake")
    );
    let mut agent = Agent::new(folder.path(), &config);
    agent.launch();
    append(&folder.join("input.log"), "a line\n");
    receiver.wait_for_message("a line");
    agent.wait_for_error("sources", "devices", &[&port.to_string()]);
    drop(taken);
    agent.ready();
    let mut device = Publisher::new(port, "device");
    wait_until("an acknowledgement", || device.step().then_some(()));
}

/// A broker that is none.
#[test]
fn a_broker_that_speaks_something_else() {
    let folder = Folder::new();
    let receiver = Receiver::start();
    let web = Receiver::start();
    let config = format!(
        "{}[sources.plant]\ntype = \"mqtt\"\nurl = \"mqtt://127.0.0.1:{}\"\ntopics = [\"#\"]\n{}",
        source(&folder),
        web.port,
        receiver.destination("lake")
    );
    let mut agent = Agent::new(folder.path(), &config);
    agent.launch();
    append(&folder.join("input.log"), "a line\n");
    receiver.wait_for_message("a line");
    agent.wait_for_error("sources", "plant", &[]);
    agent.check();
}

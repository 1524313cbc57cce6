//! What the agent can write to: a program that it starts, and so is confined as it is, tries.

use std::path::Path;

use rustix::process::Signal;

use crate::harness::{Agent, Folder, append, free_port, wait_until, write};

/// Follows a file, and asks a program for keys.
fn components(folder: &Folder) -> String {
    format!(
        "[sources.app]\ntype = \"file\"\npaths = [\"{}\"]\n[destinations.lake]\n\
         type = \"firehose\"\nstream = \"plant\"\nregion = \"eu-west-1\"\n\
         endpoint = \"http://127.0.0.1:{}\"\nbatch = {{ age_max = \"100ms\" }}\n\
         credentials.process = [\"/bin/sh\", \"{}\"]\n",
        folder.text("input.log"),
        free_port(),
        folder.text("script")
    )
}

/// Starts an agent whose program tries to write to `outside`, and waits until it has.
fn start(folder: &Folder, outside: &Path, is_confined: bool) -> Agent {
    let script = format!(
        "(echo here > '{}') 2> /dev/null\necho $? > '{}'\n",
        outside.display(),
        folder.text("outcome")
    );
    write(&folder.join("script"), script);
    let mut agent = Agent::new(folder.path(), &components(folder));
    if !is_confined {
        let config = std::fs::read_to_string(agent.config()).unwrap();
        let config = config.replace("[agent]\n", "[agent]\nlandlock = false\n");
        write(Path::new(agent.config()), config);
    }
    agent.start();
    append(&folder.join("input.log"), "line\n");
    wait_until("the program tries", || {
        let outcome = std::fs::read_to_string(folder.join("outcome")).ok()?;
        outcome.ends_with('\n').then_some(())
    });
    agent
}

#[test]
fn nothing_is_written_outside_of_the_folders_configured() {
    let (folder, elsewhere) = (Folder::new(), Folder::new());
    let outside = elsewhere.join("file");
    let mut agent = start(&folder, &outside, true);
    if agent.log().contains("this kernel has no Landlock") {
        return eprintln!("not tested: this kernel has no Landlock");
    }
    assert!(!outside.exists());

    let more = format!(
        "[destinations.disk]\ntype = \"directory\"\npath = \"{}\"\n\
         batch = {{ age_max = \"100ms\" }}\n",
        elsewhere.text("lines/here")
    );
    agent.configure("16MiB", &(components(&folder) + &more));
    agent.signal(Signal::HUP);
    let refusal = format!(
        "the old one stays: no other folder such as {} can be written to while hydrant runs; \
         restart it",
        elsewhere.text("lines")
    );
    wait_until("the refusal", || {
        agent.log().contains(&refusal).then_some(())
    });
    agent.stop();
    agent.start();
    append(&folder.join("input.log"), "another\n");
    wait_until("a file of the other folder", || {
        elsewhere.join("lines/here").read_dir().ok()?.next()?.ok()
    });
}

#[test]
fn nothing_is_confined_that_shall_not_be() {
    let (folder, elsewhere) = (Folder::new(), Folder::new());
    let outside = elsewhere.join("file");
    let _agent = start(&folder, &outside, false);
    assert!(outside.exists());
}

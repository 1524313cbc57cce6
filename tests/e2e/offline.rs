//! A destination that is away for long: everything waits in order, or the oldest makes room.

use std::fmt::Write;

use crate::harness::{Agent, Folder, Publisher, Receiver, append, free_port, wait_until};

const RECORDS: usize = 100_000;

/// Debug builds are larger than what is given to users, whose budget is half of this.
const MEMORY_KIB_MAX: u64 = 32 * 1024;

fn line(number: usize) -> String {
    // Of little repetition, so that compression in the ring does not blur what fits into it.
    let noise = (u64::try_from(number).unwrap() + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!(
        "{number:06} {noise:016x}{:016x}",
        noise.rotate_left(23).wrapping_mul(noise)
    )
}

/// Lines of a file that is followed by an agent whose destination is down.
struct Offline {
    agent: Agent,
    receiver: Receiver,
    folder: Folder,
}

impl Offline {
    fn start(ring: &str) -> Self {
        let folder = Folder::new();
        let receiver = Receiver::start_down();
        let config = format!(
            "[sources.app]\ntype = \"file\"\npaths = [\"{}\"]\n{}",
            folder.text("input.log"),
            receiver.destination("lake")
        );
        let mut agent = Agent::with_ring(folder.path(), ring, &config);
        agent.start();
        Offline {
            agent,
            receiver,
            folder,
        }
    }

    fn feed(&self, from: usize, to: usize) {
        let mut text = String::new();
        for number in from..to {
            writeln!(text, "{}", line(number)).unwrap();
        }
        append(&self.folder.join("input.log"), text);
        wait_until("every line in the ring", || {
            let status = self.agent.ask()?;
            let waiting = status["destinations"]["lake"]["waiting"].as_u64()?;
            let evicted = status["destinations"]["lake"]["evicted"].as_u64()?;
            (waiting + evicted == u64::try_from(to).unwrap()).then_some(())
        });
    }

    fn evicted(&self) -> usize {
        usize::try_from(self.agent.count("destinations", "lake", "evicted")).unwrap()
    }
}

#[test]
fn everything_waits_and_arrives_in_order() {
    let mut offline = Offline::start("64MiB");
    offline.feed(0, RECORDS);
    assert!(
        !offline
            .agent
            .wait_for_error("destinations", "lake", &[])
            .is_empty()
    );
    offline.receiver.set_down(false);
    let messages = offline.receiver.wait_for_messages(RECORDS);
    assert_eq!(messages.len(), RECORDS, "some came twice");
    for (number, message) in messages.iter().enumerate() {
        assert_eq!(*message, line(number));
    }
    assert_eq!(offline.evicted(), 0);
    wait_until("nothing waits", || {
        let status = offline.agent.status();
        let lake = &status["destinations"]["lake"];
        (lake["waiting"] == 0 && lake["error"].is_null() && lake["delivered"] == RECORDS)
            .then_some(())
    });
    let peak = offline.agent.memory_peak_kib();
    eprintln!("peak memory: {peak} KiB");
    assert!(peak < MEMORY_KIB_MAX, "{peak} KiB");
}

/// Checks that what came is in order and ends with the newest, and that the rest was counted.
///
/// A batch that was being tried when its records were evicted from the ring may still come.
fn check_newest(offline: &Offline) {
    let last = line(RECORDS - 1);
    offline.receiver.wait_for_message(&last);
    let evicted = offline.evicted();
    let log = offline.receiver.log();
    let messages = log.messages_once();
    assert!(evicted > 0, "the ring was large enough");
    eprintln!(
        "{} came, {} once, {evicted} evicted",
        log.records.len(),
        messages.len()
    );
    assert!(messages.is_sorted(), "order is kept");
    assert_eq!(
        messages.len() + evicted,
        RECORDS,
        "received = delivered + evicted"
    );
}

#[test]
fn a_ring_too_small_evicts_the_oldest_and_counts_them() {
    let mut offline = Offline::start("2MiB");
    offline.feed(0, RECORDS);
    offline.receiver.set_down(false);
    check_newest(&offline);
    let peak = offline.agent.memory_peak_kib();
    assert!(peak < MEMORY_KIB_MAX, "{peak} KiB");
}

/// The counter of what was evicted survives a crash, and goes on from there.
#[test]
fn evictions_are_counted_over_crashes() {
    let mut offline = Offline::start("2MiB");
    for part in 0..4 {
        offline.feed(part * RECORDS / 4, (part + 1) * RECORDS / 4);
        let before = offline.evicted();
        offline.agent.kill();
        offline.agent.start();
        assert!(
            offline.evicted() >= before,
            "{before} were counted before the crash"
        );
    }
    offline.receiver.set_down(false);
    check_newest(&offline);
}

/// With `block` nothing is evicted: the device is not acknowledged, and keeps what it has.
#[test]
fn a_full_ring_that_blocks_makes_the_device_wait() {
    let folder = Folder::new();
    let receiver = Receiver::start_down();
    let port = free_port();
    let config = format!(
        "when_full = \"block\"\n\
         [sources.devices]\ntype = \"mqtt_listener\"\nlisten = \"127.0.0.1:{port}\"\n\
         [sources.app]\ntype = \"file\"\npaths = [\"{}\"]\n{}",
        folder.text("input.log"),
        receiver.destination("lake")
    );
    let mut agent = Agent::with_ring(folder.path(), "1MiB", &config);
    agent.start();
    let mut text = String::new();
    for number in 0..40_000 {
        writeln!(text, "{}", line(number)).unwrap();
    }
    append(&folder.join("input.log"), text);
    wait_until("a ring that takes no more", || {
        (agent.status()["buffers"]["default"]["blocked"] == true).then_some(())
    });
    let stored = agent.count("sources", "app", "stored");
    assert!(stored < 40_000, "the ring was large enough");
    receiver.set_down(false);
    let mut device = Publisher::new(port, "device");
    wait_until("an acknowledgement", || device.step().then_some(()));
    let messages = receiver.wait_for_messages(40_001);
    let lines: Vec<&String> = messages
        .iter()
        .filter(|message| !message.starts_with("device"))
        .collect();
    assert!(
        lines
            .iter()
            .enumerate()
            .all(|(number, text)| **text == line(number))
    );
    assert_eq!(agent.count("destinations", "lake", "evicted"), 0);
}

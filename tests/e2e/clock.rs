//! A machine that does not know the time: it starts in 1970, jumps, and reboots in between.

use std::time::Duration;

use pipeline::time::WallClock;
use serde_json::Value;

use crate::harness::{
    Agent, Answer, Certificates, Folder, Machine, Nginx, Receiver, append, hydrant, now, wait_until,
};

/// How far a time may be from the truth: a `Date` is right to the second, tests take their time.
const TOLERANCE: Duration = Duration::from_secs(4);

/// Ten years.
const YEARS_S: i64 = 315_360_000;

/// An agent that follows a file, on a machine of its own.
struct Gateway {
    machine: Machine,
    agent: Agent,
    receiver: Receiver,
    folder: Folder,
}

/// When a record was written, in truth.
type Written = (String, Duration);

impl Gateway {
    fn new(receiver: Receiver) -> Option<Self> {
        let destination = receiver.destination("lake");
        Self::with_destination(Folder::new(), receiver, &destination)
    }

    fn with_destination(folder: Folder, receiver: Receiver, destination: &str) -> Option<Self> {
        let machine = Machine::boot(&folder)?;
        let source = format!(
            "[sources.app]\ntype = \"file\"\npaths = [\"{}\"]\n",
            folder.text("app.log")
        );
        let agent = Agent::with_doubts(folder.path(), &format!("{source}{destination}"));
        Some(Gateway {
            machine,
            agent,
            receiver,
            folder,
        })
    }

    fn start(&mut self) {
        self.machine.start(&mut self.agent);
    }

    /// Writes a line and waits until it is durable.
    fn write(&self, line: &str) -> Written {
        let stored = self.agent.count("sources", "app", "stored");
        let written = (line.to_owned(), now());
        append(&self.folder.join("app.log"), format!("{line}\n"));
        self.agent
            .wait_for_count("sources", "app", "stored", stored + 1);
        wait_until("a durable ring", || {
            let buffer = self.agent.ask()?["buffers"]["default"].clone();
            (buffer["durable_seq"] == buffer["next_seq"]).then_some(())
        });
        written
    }

    fn wait_for_clock(&self, is_synced: bool) -> Value {
        wait_until(&format!("a clock that is synced: {is_synced}"), || {
            let clock = self.agent.ask()?["clock"].clone();
            (clock["synced"] == is_synced).then_some(clock)
        })
    }

    fn metadata(&self, line: &str) -> Value {
        self.receiver.wait_for_message(line)["hydrant"].clone()
    }

    /// Expects a record that knew the time.
    fn check_plain(&self, written: &Written) {
        let metadata = self.metadata(&written.0);
        assert_true_time(&metadata, written.1);
        assert_eq!(metadata.get("clock"), None, "{metadata}");
    }

    /// Expects a record whose time was put right: what was added in seconds.
    fn check_corrected(&self, written: &Written) -> i64 {
        let metadata = self.metadata(&written.0);
        assert_true_time(&metadata, written.1);
        assert_eq!(metadata["clock"], "corrected", "{metadata}");
        metadata["clock_offset_ms"].as_i64().unwrap() / 1000
    }

    /// Expects a record of which nobody knows the time, with what would put it right.
    fn check_unsynced(&self, line: &str, boot: &str) {
        let metadata = self.metadata(line);
        assert_eq!(metadata["clock"], "unsynced", "{metadata}");
        assert_eq!(metadata["boot"], boot, "{metadata}");
        let monotonic_ms = metadata["monotonic_ms"].as_u64().unwrap();
        assert!((30_000..150_000).contains(&monotonic_ms), "{metadata}");
    }
}

fn assert_true_time(metadata: &Value, truth: Duration) {
    let told: WallClock = metadata["received_at"].as_str().unwrap().parse().unwrap();
    let told = Duration::from_millis(told.as_millis().try_into().unwrap());
    let off = told.abs_diff(truth);
    assert!(off < TOLERANCE, "{off:?} from the truth: {metadata}");
}

#[test]
fn records_of_1970_are_put_right_once_the_time_is_known() {
    let Some(mut gateway) = Gateway::new(Receiver::scripted(|_| Answer::status(503))) else {
        return;
    };
    gateway.machine.set_1970();
    gateway.start();
    let clock = gateway.wait_for_clock(false);
    assert!(clock["machine_time"].as_str().unwrap().starts_with("1970-"));
    let early = [
        gateway.write("first of 1970"),
        gateway.write("second of 1970"),
    ];
    // The first of them was tried, and says that its time is not known.
    gateway.receiver.wait("an attempt", |log| {
        let (request, _) = log.requests.first()?;
        assert!(request.text().contains("\"clock\":\"unsynced\""));
        Some(())
    });
    gateway.machine.synchronize();
    let clock = gateway.wait_for_clock(true);
    assert_eq!(clock["by"], "time daemon");
    let late = gateway.write("of today");
    gateway.receiver.set_script(|_| Answer::ok());
    for written in &early {
        let added = gateway.check_corrected(written);
        assert!(added > 50 * 365 * 86_400, "{added}");
    }
    gateway.check_plain(&late);
    let log = gateway.receiver.log();
    let key_of = |text: &str| {
        let mut requests = log.requests.iter().map(|(request, _)| request);
        let request = requests.find(|request| request.text().contains(text));
        request.unwrap().header("idempotency-key").to_owned()
    };
    let unsynced = key_of("\"clock\":\"unsynced\"");
    assert_eq!(unsynced, key_of("\"clock\":\"corrected\""), "another batch");
    drop(log);
    gateway
        .agent
        .wait_for_count("destinations", "lake", "corrected", 2);
    let socket = gateway.folder.text("control.sock");
    let page = hydrant(&["status", "--socket", &socket]).stdout;
    assert!(page.contains("by the time daemon"), "{page}");
    assert!(
        page.contains("the time of 2 records was put right"),
        "{page}"
    );
    // What was stored in 1970 is found by its true time.
    let since = i64::try_from(early[1].1.as_millis()).unwrap();
    let since = WallClock::from_millis(since).to_string();
    gateway
        .agent
        .wait_for_count("destinations", "lake", "delivered", 3);
    let replay = hydrant(&[
        "replay", "-d", "lake", "--socket", &socket, "--since", &since,
    ]);
    assert_eq!(replay.code, 0, "{}", replay.stderr);
    gateway
        .agent
        .wait_for_count("destinations", "lake", "replayed", 2);
}

#[test]
fn a_clock_that_jumps_changes_nothing_once_the_time_is_known() {
    let receiver = Receiver::start_down();
    let destination = receiver.destination("lake").replace(
        "retry = { ",
        "drain = { order = \"newest_first\", live_age_max = \"10m\" }\n\
         retry = { give_up_after = \"1h\", ",
    );
    let made = Gateway::with_destination(Folder::new(), receiver, &destination);
    let Some(mut gateway) = made else {
        return;
    };
    gateway.machine.synchronize();
    gateway.start();
    gateway.wait_for_clock(true);
    let mut written = vec![gateway.write("before")];
    for (offset_s, line) in [(YEARS_S, "forward"), (-YEARS_S / 5, "back"), (0, "right")] {
        gateway.machine.set_wall(offset_s);
        written.push(gateway.write(line));
        let status = gateway.agent.status();
        assert_eq!(status["clock"]["synced"], true, "{line}");
        let lake = &status["destinations"]["lake"];
        let age = lake["oldest_waiting_ms"].as_u64().unwrap();
        assert!(age < 120_000, "{line}: the oldest waits for {age} ms");
        assert_eq!(lake["rejected"], 0, "{line}: given up");
        assert_eq!(lake["stretches"].as_array().unwrap().len(), 0, "{line}");
    }
    gateway.receiver.set_down(false);
    for written in &written {
        gateway.check_plain(written);
    }
    // Back by years again, with nothing that waits: batches do not wait for the old time.
    gateway.machine.set_wall(-YEARS_S);
    let back = gateway.write("long ago");
    gateway.check_plain(&back);
}

#[test]
fn a_clock_that_jumps_before_the_time_is_known_is_not_believed() {
    let Some(mut gateway) = Gateway::new(Receiver::start_down()) else {
        return;
    };
    let mut written = Vec::new();
    gateway.machine.set_1970();
    gateway.start();
    written.push(gateway.write("1970"));
    for (offset_s, line) in [(YEARS_S, "forward"), (-YEARS_S, "back")] {
        gateway.machine.set_wall(offset_s);
        written.push(gateway.write(line));
    }
    gateway.wait_for_clock(false);
    gateway.machine.synchronize();
    gateway.wait_for_clock(true);
    gateway.receiver.set_down(false);
    let added: Vec<i64> = written
        .iter()
        .map(|written| gateway.check_corrected(written))
        .collect();
    assert!(added[1] < 0 && added[2] > 0, "{added:?}");
}

#[test]
fn each_boot_is_put_right_by_what_it_learned() {
    let Some(mut gateway) = Gateway::new(Receiver::start_down()) else {
        return;
    };
    gateway.machine.set_1970();
    gateway.start();
    let first = gateway.write("first boot");
    gateway.machine.synchronize();
    gateway.wait_for_clock(true);
    // Durable with what is stored behind it.
    let known = gateway.write("first boot, known");
    gateway.agent.kill();
    // The process alone was restarted: what the boot has learned, it knows.
    gateway.machine.set_1970();
    gateway.start();
    gateway.wait_for_clock(true);
    let again = gateway.write("first boot, again");
    gateway.agent.kill();

    gateway.machine.reboot();
    gateway.machine.set_1970();
    gateway.start();
    gateway.wait_for_clock(false);
    gateway.write("second boot");
    let second_boot = gateway.machine.boot_id();
    gateway.agent.kill();

    gateway.machine.reboot();
    gateway.machine.set_1970();
    gateway.start();
    let third = gateway.write("third boot");
    gateway.machine.synchronize();
    gateway.wait_for_clock(true);
    gateway.receiver.set_down(false);
    gateway.check_corrected(&first);
    gateway.check_plain(&known);
    gateway.check_plain(&again);
    gateway.check_unsynced("second boot", &second_boot);
    gateway.check_corrected(&third);
}

/// chronyd where it answers `chronyc`, and as a server of NTP, which other daemons are as well.
#[test]
fn a_time_daemon_that_is_asked_tells_the_time() {
    const SERVER: &str = "local stratum 5\nbindaddress 127.0.0.9\nport 123\nallow\ncmdport 0\n";
    const FOLLOWS: &str = "server 127.0.0.9 iburst minpoll 0 maxpoll 0\n";
    for more in ["port 0\n", "cmdport 0\nallow\nbindaddress 127.0.0.1\n"] {
        let Some(mut gateway) = Gateway::new(Receiver::start_down()) else {
            return;
        };
        let follower = format!("{FOLLOWS}{more}");
        if !gateway.machine.run_chronyd(&[SERVER, &follower]) {
            return;
        }
        gateway.start();
        let clock = gateway.wait_for_clock(true);
        assert_eq!(clock["by"], "time daemon", "{more}");
    }
}

#[test]
fn a_destination_over_tls_tells_the_time() {
    let folder = Folder::new();
    let receiver = Receiver::start();
    let certificates = Certificates::make(&folder);
    let nginx = Nginx::start(&folder, &certificates, receiver.port, "");
    let destination = format!(
        "[destinations.lake]\ntype = \"http\"\nurl = \"https://localhost:{}/in\"\n\
         batch = {{ age_max = \"0s\" }}\n{}",
        nginx.port,
        certificates.anonymous_table()
    );
    let Some(mut gateway) = Gateway::with_destination(folder, receiver, &destination) else {
        return;
    };
    // By this clock the certificate is not valid yet.
    gateway.machine.set_1970();
    gateway.start();
    gateway.wait_for_clock(false);
    gateway.write("asks for the time");
    gateway.check_unsynced("asks for the time", &gateway.machine.boot_id());
    let clock = gateway.wait_for_clock(true);
    assert_eq!(clock["by"], "date of a destination");
    let written = gateway.write("knows the time");
    gateway.check_plain(&written);
    // What expired by the true time is refused from now on as well.
    assert!(clock["machine_time"].as_str().unwrap().starts_with("1970-"));
}

/// A certificate of the past is not believed by a machine in 1970 whose last boot was later.
#[test]
fn a_certificate_that_expired_before_the_last_boot_is_refused() {
    let folder = Folder::new();
    if Machine::boot(&folder).is_none() {
        return;
    }
    let certificates = Certificates::make_at(&folder, "2026-11-02 00:00:00");
    let receiver = Receiver::start();
    let nginx = Nginx::start(&folder, &certificates, receiver.port, "");
    let tls = certificates.anonymous_table();
    let url = format!("https://localhost:{}/in", nginx.port);
    let destination = receiver.destination("lake").replace(&receiver.url(), &url) + &tls;
    let (first, second) = (Receiver::start(), Receiver::start());
    // One that has never known better cannot tell.
    let mut fresh = Gateway::with_destination(Folder::new(), first, &destination).unwrap();
    fresh.machine.set_1970();
    fresh.start();
    fresh.write("fresh");
    fresh
        .agent
        .wait_for_count("destinations", "lake", "delivered", 1);
    // One that has does.
    let mut known = Gateway::with_destination(Folder::new(), second, &destination).unwrap();
    known.machine.synchronize();
    known.start();
    known.wait_for_clock(true);
    known.write("early");
    known
        .agent
        .wait_for_error("destinations", "lake", &["expired"]);
    known.agent.stop();
    known.machine.reboot();
    known.machine.set_1970();
    known.start();
    known.wait_for_clock(false);
    known.write("late");
    known
        .agent
        .wait_for_error("destinations", "lake", &["expired"]);
    assert_eq!(known.agent.count("destinations", "lake", "delivered"), 0);
}

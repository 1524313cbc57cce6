//! Devices, a followed file and a syslog sender at full speed, with kills in between, and for each
//! record how long the disk's write log was when it was sent and when it was acknowledged.
//!
//! Each record is known by its stream and number, and its text follows from both. A device that
//! misses its PUBACK goes on with new records, so that every record is sent once.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver as Ticks, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, park_timeout, spawn};
use std::time::Duration;

use diskring::sim::Rng;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::harness::{
    Agent, Answer, MqttPeer, Receiver, Request, append, free_port, long, wait_until,
};
use crate::write_log::LogMeter;

/// How many records each device wants acknowledged.
const QUOTA: usize = 2_000;

/// How many messages of a device wait for their PUBACK at most: few, so that syncs are many.
const WINDOW: usize = 4;

/// The longest padding of a record.
const PADDING_MAX: usize = 1_100;

/// The stream of the file, whose records are stored once and without a gap.
pub(crate) const LINES: &str = "line";

/// A record that was sent.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Sent {
    /// How long the log was before.
    pub(crate) at: u64,
    /// How long it was once its PUBACK had been read.
    pub(crate) acknowledged: Option<u64>,
}

/// Records in the order of being sent; the first has number 1.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Stream {
    pub(crate) name: String,
    pub(crate) source: String,
    pub(crate) sent: Vec<Sent>,
}

/// A record that the destination took.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Accepted {
    /// How long the log was before the destination answered.
    pub(crate) at: u64,
    pub(crate) text: String,
}

/// All that is known of a run.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) streams: Vec<Stream>,
    /// By seq.
    pub(crate) accepted: BTreeMap<u64, Accepted>,
    /// How long the log was before and after each start of the agent.
    pub(crate) starts: Vec<(u64, u64)>,
    /// The blocks of the disk where the ring lies.
    pub(crate) ring_blocks: BTreeSet<usize>,
    /// The followed file.
    pub(crate) lines: PathBuf,
}

/// The text of a record.
pub(crate) fn text_of(stream: &str, number: usize) -> String {
    let seed = stream.bytes().fold(number, |seed, byte| {
        seed.wrapping_mul(257).wrapping_add(usize::from(byte))
    });
    let mut chance = Rng::new(u64::try_from(seed).unwrap());
    let mut text = format!("{stream} {number} ");
    for _ in 0..chance.below(PADDING_MAX) {
        let letters = b"abcdefghijklmnopqrstuvwxyz0123456789";
        text.push(char::from(letters[chance.below(letters.len())]));
    }
    text
}

/// The stream and number of a text, which must be theirs to the last byte.
pub(crate) fn origin_of(text: &str) -> Result<(&str, usize), String> {
    let unknown = || format!("nobody sent {text:?}");
    let (stream, rest) = text.split_once(' ').ok_or_else(unknown)?;
    let number = rest
        .split(' ')
        .next()
        .and_then(|number| number.parse().ok());
    let number = number.ok_or_else(unknown)?;
    if text == text_of(stream, number) {
        Ok((stream, number))
    } else {
        Err(format!("{stream} {number} is altered: {text:?}"))
    }
}

/// What the feeders share.
struct Shared {
    meter: LogMeter,
    /// How many records were acknowledged.
    acknowledged: AtomicUsize,
}

/// A device that publishes until enough was acknowledged.
struct Device {
    shared: Arc<Shared>,
    port: u16,
    stream: Stream,
    /// Numbers of records by packet id.
    waiting: BTreeMap<u16, usize>,
    /// Told of each acknowledgement.
    ticks: SyncSender<()>,
}

impl Device {
    fn feed(mut self, quota: usize) -> Stream {
        let mut acknowledged = 0;
        let mut peer = None;
        while acknowledged < quota {
            let Some(connected) = &mut peer else {
                // Whoever was missed stays missed.
                self.waiting.clear();
                peer = MqttPeer::connect(self.port, &self.stream.name).ok();
                if peer.is_none() {
                    park_timeout(Duration::from_millis(2));
                }
                continue;
            };
            match self.talk(connected) {
                Ok(read) => acknowledged += usize::from(read),
                Err(_) => peer = None,
            }
        }
        self.stream
    }

    /// Fills the window and reads a packet; true when that was an acknowledgement.
    fn talk(&mut self, peer: &mut MqttPeer) -> io::Result<bool> {
        while self.waiting.len() < WINDOW {
            let at = self.shared.meter.bytes();
            self.stream.sent.push(Sent {
                at,
                acknowledged: None,
            });
            let number = self.stream.sent.len();
            let id = u16::try_from(number % 65_535 + 1).unwrap();
            self.waiting.insert(id, number);
            let text = text_of(&self.stream.name, number);
            peer.publish(id, false, "plant/data", &text)?;
        }
        let (first, body) = peer.read_packet()?;
        if first != 0x40 {
            return Ok(false);
        }
        let at = self.shared.meter.bytes();
        let id = u16::from(body[0]) * 256 + u16::from(body[1]);
        let number = self
            .waiting
            .remove(&id)
            .expect("a PUBACK for what was sent");
        self.stream.sent[number - 1].acknowledged = Some(at);
        self.shared.acknowledged.fetch_add(1, Ordering::Relaxed);
        // The others keep pace.
        self.ticks.send(()).ok();
        Ok(true)
    }
}

/// Programs that nobody answers: one that writes lines, one that sends syslog.
struct Others {
    shared: Arc<Shared>,
    lines: Stream,
    path: PathBuf,
    messages: Stream,
    port: u16,
}

impl Others {
    fn feed(mut self, ticks: &Ticks<()>) -> (Stream, Stream) {
        let mut connection = None;
        while ticks.recv().is_ok() {
            let number = note(&self.shared, &mut self.lines);
            append(&self.path, text_of(LINES, number) + "\n");
            if number.is_multiple_of(2) {
                self.say(&mut connection);
            }
        }
        (self.lines, self.messages)
    }

    fn say(&mut self, connection: &mut Option<TcpStream>) {
        if connection.is_none() {
            *connection = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).ok();
        }
        let Some(stream) = connection else {
            return;
        };
        let number = note(&self.shared, &mut self.messages);
        let text = text_of(&self.messages.name, number);
        if writeln!(stream, "<13>1 - h a - - - {text}").is_err() {
            *connection = None;
        }
    }
}

/// Notes that a record is about to be sent; gives its number.
fn note(shared: &Shared, stream: &mut Stream) -> usize {
    let at = shared.meter.bytes();
    stream.sent.push(Sent {
        at,
        acknowledged: None,
    });
    stream.sent.len()
}

/// A destination that notes how long the log was before it answered.
struct Destination {
    receiver: Receiver,
    refusing: Arc<AtomicBool>,
    /// Seq, length of the log, text.
    taken: Arc<Mutex<Vec<(u64, u64, String)>>>,
}

impl Destination {
    fn start(log: &Path) -> Self {
        let meter = LogMeter::new(log);
        let refusing = Arc::new(AtomicBool::new(false));
        let taken = Arc::new(Mutex::new(Vec::new()));
        let (refuses, takes) = (Arc::clone(&refusing), Arc::clone(&taken));
        let receiver = Receiver::scripted(move |request: &Request| {
            if refuses.load(Ordering::Relaxed) {
                return Answer::status(503);
            }
            let at = meter.bytes();
            let records = request.text().lines().map(|line| {
                let (seq, text) = seq_and_text(&serde_json::from_str(line).unwrap());
                (seq, at, text)
            });
            takes.lock().unwrap().extend(records);
            Answer::ok()
        });
        Destination {
            receiver,
            refusing,
            taken,
        }
    }

    fn refuse(&self, refuse: bool) {
        self.refusing.store(refuse, Ordering::Relaxed);
    }

    /// What was taken first under each seq; whatever came later was the same.
    fn accepted(&self) -> BTreeMap<u64, Accepted> {
        let mut accepted: BTreeMap<u64, Accepted> = BTreeMap::new();
        for (seq, at, text) in self.taken.lock().unwrap().drain(..) {
            origin_of(&text).unwrap();
            let first = accepted.entry(seq).or_insert_with(|| Accepted {
                at,
                text: text.clone(),
            });
            assert_eq!(first.text, text, "two records under one seq");
        }
        accepted
    }
}

/// The seq of a delivered record, and its text.
pub(crate) fn seq_and_text(record: &Value) -> (u64, String) {
    let id = record["hydrant"]["id"].as_str().unwrap();
    let (_ring, seq) = id.split_once('-').unwrap();
    let text = record["message"].as_str().unwrap();
    (seq.parse().unwrap(), text.to_owned())
}

/// What an agent is given besides its destination.
pub(crate) fn sources(devices: u16, network: u16, lines: &Path) -> String {
    format!(
        "[sources.devices]\ntype = \"mqtt_listener\"\nlisten = \"127.0.0.1:{devices}\"\n\
         [sources.app]\ntype = \"file\"\npaths = [\"{}\"]\n\
         [sources.network]\ntype = \"syslog\"\nlisten = [\"tcp://127.0.0.1:{network}\"]\n",
        lines.display()
    )
}

/// Runs an agent in this folder, whose state lies on the disk with this log.
pub(crate) fn run(folder: &Path, log: &Path, ring: &str) -> Run {
    let shared = Arc::new(Shared {
        meter: LogMeter::new(log),
        acknowledged: AtomicUsize::new(0),
    });
    let destination = Destination::start(log);
    let (devices, network) = (free_port(), free_port());
    let lines = folder.join("app.log");
    append(&lines, "");
    let config = format!(
        "sync_bytes = \"16KiB\"\n{}{}",
        sources(devices, network, &lines),
        destination.receiver.destination("lake")
    );
    let mut agent = Agent::with_ring(folder, ring, &config);
    let mut starts = Vec::new();
    let mut start = |agent: &mut Agent| {
        let before = shared.meter.bytes();
        agent.start();
        starts.push((before, shared.meter.bytes()));
    };
    let quota = if long() { 5 * QUOTA } else { QUOTA };
    let feeders = Feeders::start(&shared, devices, network, &lines, quota);
    start(&mut agent);
    let wait_for = |share: usize| {
        wait_until("acknowledgements", || {
            let acknowledged = shared.acknowledged.load(Ordering::Relaxed);
            (acknowledged * 100 >= 2 * quota * share).then_some(())
        });
    };
    wait_for(20);
    destination.refuse(true);
    wait_for(30);
    agent.kill();
    start(&mut agent);
    wait_for(55);
    agent.kill();
    start(&mut agent);
    wait_for(60);
    destination.refuse(false);
    wait_for(75);
    assert_eq!(agent.stop().code(), Some(0), "{}", agent.log());
    start(&mut agent);
    let streams = feeders.end();
    assert_eq!(agent.stop().code(), Some(0), "{}", agent.log());
    Run {
        streams,
        accepted: destination.accepted(),
        starts,
        ring_blocks: BTreeSet::new(),
        lines,
    }
}

/// The threads that feed.
struct Feeders {
    devices: Vec<JoinHandle<Stream>>,
    others: JoinHandle<(Stream, Stream)>,
}

impl Feeders {
    fn start(shared: &Arc<Shared>, devices: u16, network: u16, lines: &Path, quota: usize) -> Self {
        let stream = |name: &str, source: &str| Stream {
            name: name.to_owned(),
            source: source.to_owned(),
            sent: Vec::new(),
        };
        let (ticks, ticked) = sync_channel(64);
        let others = Others {
            shared: Arc::clone(shared),
            lines: stream(LINES, "app"),
            path: lines.to_path_buf(),
            messages: stream("message", "network"),
            port: network,
        };
        let others = spawn(move || others.feed(&ticked));
        let device = |name: &str| {
            let device = Device {
                shared: Arc::clone(shared),
                port: devices,
                stream: stream(name, "devices"),
                waiting: BTreeMap::new(),
                ticks: ticks.clone(),
            };
            spawn(move || device.feed(quota))
        };
        Feeders {
            devices: vec![device("boiler"), device("pump")],
            others,
        }
    }

    fn end(self) -> Vec<Stream> {
        let devices = self.devices.into_iter();
        let mut streams: Vec<Stream> = devices.map(|device| device.join().unwrap()).collect();
        let (lines, messages) = self.others.join().unwrap();
        streams.extend([lines, messages]);
        streams
    }
}

//! As much of an MQTT 3.1.1 client as is needed to load something: QoS 1 with a window.

#![expect(clippy::big_endian_bytes, reason = "MQTT has the high byte first")]

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

const CONNACK: u8 = 0x20;
const PUBLISH_QOS_1: u8 = 0x32;
const PUBACK: u8 = 0x40;
const SUBACK: u8 = 0x90;

/// Latencies of acknowledged messages, and how long all of them took.
pub(crate) struct Published {
    pub(crate) elapsed: Duration,
    latencies: Vec<Duration>,
}

impl Published {
    /// Messages a second.
    pub(crate) fn rate(&self) -> f64 {
        self.latencies.len() as f64 / self.elapsed.as_secs_f64()
    }

    /// The latency that so many of a thousand messages keep.
    pub(crate) fn latency_ms(&self, of_1000: usize) -> f64 {
        let at = (self.latencies.len() * of_1000 / 1000).min(self.latencies.len() - 1);
        self.latencies[at].as_secs_f64() * 1000.0
    }
}

/// What is in flight: when each message was sent, by packet id.
struct Flight {
    sent: Mutex<(Vec<Option<Instant>>, usize)>,
    acknowledged: Condvar,
}

/// Publishes `payloads` in turn, `count` messages with QoS 1, of which `window` may be unacknowledged.
pub(crate) fn publish(
    broker: SocketAddr,
    topic: &str,
    payloads: &[String],
    count: usize,
    window: usize,
) -> Published {
    let mut stream = connect(broker, "bench-publisher");
    let flight = Arc::new(Flight {
        sent: Mutex::new((vec![None; 65_536], 0)),
        acknowledged: Condvar::new(),
    });
    let reader = {
        let (stream, flight) = (stream.try_clone().unwrap(), Arc::clone(&flight));
        std::thread::spawn(move || read_acknowledgements(stream, &flight, count))
    };
    let started = Instant::now();
    let mut sent = 0;
    let mut out = Vec::new();
    while sent < count {
        let mut state = flight.sent.lock().unwrap();
        while state.1 >= window {
            state = flight.acknowledged.wait(state).unwrap();
        }
        out.clear();
        let now = Instant::now();
        while sent < count && state.1 < window && out.len() < 32 << 10 {
            let id = u16::try_from(sent % 65_535 + 1).unwrap();
            state.0[usize::from(id)] = Some(now);
            state.1 += 1;
            let payload = &payloads[sent % payloads.len()];
            push_publish(&mut out, topic, id, payload.as_bytes());
            sent += 1;
        }
        drop(state);
        stream.write_all(&out).unwrap();
    }
    let mut latencies = reader.join().unwrap();
    let elapsed = started.elapsed();
    latencies.sort_unstable();
    Published { elapsed, latencies }
}

fn read_acknowledgements(stream: TcpStream, flight: &Flight, count: usize) -> Vec<Duration> {
    let mut packets = Packets::new(stream);
    let mut latencies = Vec::with_capacity(count);
    while latencies.len() < count {
        packets.fill().unwrap();
        let now = Instant::now();
        let mut state = flight.sent.lock().unwrap();
        while let Some((kind, body)) = packets.next() {
            assert_eq!(kind, PUBACK, "only PUBACK is expected");
            let id = u16::from_be_bytes([body[0], body[1]]);
            let sent = state.0[usize::from(id)].take().unwrap();
            state.1 -= 1;
            latencies.push(now.duration_since(sent));
        }
        drop(state);
        flight.acknowledged.notify_one();
    }
    latencies
}

/// A subscriber that acknowledges at once and does nothing else.
pub(crate) struct Subscriber(Packets);

impl Subscriber {
    /// Connects and subscribes to `topic` with QoS 1.
    pub(crate) fn start(broker: SocketAddr, topic: &str) -> Self {
        let mut stream = connect(broker, "bench-subscriber");
        let mut body = vec![0, 1];
        push_text(&mut body, topic);
        body.push(1);
        let mut packet = vec![0x82];
        push_len(&mut packet, body.len());
        packet.extend_from_slice(&body);
        stream.write_all(&packet).unwrap();
        let mut packets = Packets::new(stream);
        loop {
            packets.fill().unwrap();
            if let Some((kind, _)) = packets.next() {
                assert_eq!(kind, SUBACK);
                return Self(packets);
            }
        }
    }

    /// Takes `count` messages.
    pub(crate) fn take(&mut self, count: usize) {
        let mut taken = 0;
        let mut out = Vec::new();
        while taken < count {
            self.0.fill().unwrap();
            out.clear();
            while let Some((kind, body)) = self.0.next() {
                assert_eq!(kind & 0xf7, PUBLISH_QOS_1);
                let topic = usize::from(u16::from_be_bytes([body[0], body[1]]));
                out.extend_from_slice(&[PUBACK, 2, body[2 + topic], body[3 + topic]]);
                taken += 1;
            }
            self.0.stream.write_all(&out).unwrap();
        }
    }
}

/// Packets out of a stream.
struct Packets {
    stream: TcpStream,
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Packets {
    fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            bytes: vec![0; 256 << 10],
            start: 0,
            end: 0,
        }
    }

    /// Reads once.
    fn fill(&mut self) -> io::Result<()> {
        self.bytes.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        match self.stream.read(&mut self.bytes[self.end..])? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            len => {
                self.end += len;
                Ok(())
            }
        }
    }

    /// The next whole packet: its first byte and its body.
    fn next(&mut self) -> Option<(u8, &[u8])> {
        let bytes = &self.bytes[self.start..self.end];
        let kind = *bytes.first()?;
        let mut len = 0;
        let mut header = 1;
        loop {
            let byte = usize::from(*bytes.get(header)?);
            len |= (byte & 0x7f) << (7 * (header - 1));
            header += 1;
            if byte < 0x80 {
                break;
            }
        }
        let body = bytes.get(header..header + len)?;
        self.start += header + len;
        Some((kind, body))
    }
}

/// A connection that the server has accepted.
pub(crate) fn connect(broker: SocketAddr, client: &str) -> TcpStream {
    let mut stream = TcpStream::connect(broker).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut body = b"\0\x04MQTT\x04\x02\0\x3c".to_vec();
    push_text(&mut body, client);
    let mut packet = vec![0x10];
    push_len(&mut packet, body.len());
    packet.extend_from_slice(&body);
    stream.write_all(&packet).unwrap();
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!((answer[0], answer[3]), (CONNACK, 0), "the broker refuses");
    stream
}

fn push_publish(out: &mut Vec<u8>, topic: &str, id: u16, payload: &[u8]) {
    out.push(PUBLISH_QOS_1);
    push_len(out, 2 + topic.len() + 2 + payload.len());
    push_text(out, topic);
    let [high, low] = id.to_be_bytes();
    out.extend_from_slice(&[high, low]);
    out.extend_from_slice(payload);
}

fn push_text(out: &mut Vec<u8>, text: &str) {
    let [high, low] = u16::try_from(text.len()).unwrap().to_be_bytes();
    out.extend_from_slice(&[high, low]);
    out.extend_from_slice(text.as_bytes());
}

fn push_len(out: &mut Vec<u8>, mut len: usize) {
    loop {
        let byte = u8::try_from(len & 0x7f).unwrap();
        len >>= 7;
        if len == 0 {
            out.push(byte);
            return;
        }
        out.push(byte | 0x80);
    }
}

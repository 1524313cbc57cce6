//! A device that speaks MQTT 3.1.1, written from the standard so that it shares no code with
//! what it tests.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use super::DEADLINE;

/// A CONNECT packet with clean session, as bytes to send or to spoil.
pub(crate) fn connect_packet(client: &str) -> Vec<u8> {
    connect(client, true)
}

fn connect(client: &str, clean: bool) -> Vec<u8> {
    let mut body = text("MQTT");
    body.extend([4, if clean { 2 } else { 0 }, 0, 60]);
    body.extend(text(client));
    packet(0x10, &body)
}

fn text(value: &str) -> Vec<u8> {
    let mut bytes = length16(value.len()).to_vec();
    bytes.extend(value.as_bytes());
    bytes
}

fn length16(value: usize) -> [u8; 2] {
    [
        u8::try_from(value / 256).unwrap(),
        u8::try_from(value % 256).unwrap(),
    ]
}

/// A packet with its fixed header.
fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut left = body.len();
    loop {
        let low = u8::try_from(left % 128).unwrap();
        left /= 128;
        bytes.push(if left > 0 { low | 0x80 } else { low });
        if left == 0 {
            break;
        }
    }
    bytes.extend(body);
    bytes
}

/// One connection to a broker or listener.
pub(crate) struct MqttPeer {
    stream: TcpStream,
}

impl MqttPeer {
    /// A connection on which nothing was sent.
    pub(crate) fn open(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        Ok(MqttPeer { stream })
    }

    /// A connection that was accepted with CONNACK 0.
    pub(crate) fn connect(port: u16, client: &str) -> io::Result<Self> {
        MqttPeer::connect_as(port, &connect_packet(client))
    }

    /// A connection whose session lasts.
    pub(crate) fn resume(port: u16, client: &str) -> io::Result<Self> {
        MqttPeer::connect_as(port, &connect(client, false))
    }

    fn connect_as(port: u16, connect: &[u8]) -> io::Result<Self> {
        let mut peer = MqttPeer::open(port)?;
        peer.send(connect)?;
        match peer.read_packet()? {
            (0x20, body) if body.get(1) == Some(&0) => Ok(peer),
            (first, body) => Err(io::Error::other(format!(
                "{first:#x} {body:?} instead of CONNACK 0"
            ))),
        }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    pub(crate) fn publish(
        &mut self,
        id: u16,
        again: bool,
        topic: &str,
        payload: &str,
    ) -> io::Result<()> {
        let mut body = text(topic);
        body.extend(length16(usize::from(id)));
        body.extend(payload.as_bytes());
        self.send(&packet(if again { 0x3a } else { 0x32 }, &body))
    }

    /// The next packet: its first byte and its body.
    pub(crate) fn read_packet(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let first = self.read_byte()?;
        let mut bytes = 0;
        for shift in 0..4 {
            let byte = self.read_byte()?;
            bytes += usize::from(byte & 0x7f) << (7 * shift);
            if byte & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; bytes];
        self.stream.read_exact(&mut body)?;
        Ok((first, body))
    }

    /// Asserts that nothing is said for so long.
    pub(crate) fn assert_silent(&mut self, time: Duration) {
        self.stream.set_read_timeout(Some(time)).unwrap();
        let error = self.read_byte().expect_err("something was said");
        let kind = error.kind();
        let is_silent = matches!(kind, io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
        assert!(is_silent, "{error}");
        self.stream.set_read_timeout(Some(DEADLINE)).unwrap();
    }

    /// Reads until the other side closes; an error when it does not.
    pub(crate) fn wait_for_close(&mut self) -> io::Result<()> {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Err(e) if e.kind() != io::ErrorKind::ConnectionReset => Err(e),
            _ => Ok(()),
        }
    }

    fn read_byte(&mut self) -> io::Result<u8> {
        let mut byte = [0];
        self.stream.read_exact(&mut byte)?;
        Ok(byte[0])
    }
}

/// A device that keeps what was not acknowledged, and sends it again after a reconnect.
pub(crate) struct Publisher {
    port: u16,
    client: String,
    noise_bytes: usize,
    peer: Option<MqttPeer>,
    next: u32,
    waiting: BTreeMap<u16, String>,
    /// The payloads that were acknowledged, in that order.
    pub(crate) acknowledged: Vec<String>,
    /// How often each payload was sent more than once.
    pub(crate) repeated: BTreeMap<String, usize>,
}

impl Publisher {
    /// How many messages wait for their PUBACK at most.
    const WINDOW: usize = 20;

    pub(crate) fn new(port: u16, client: &str) -> Self {
        Publisher::with_noise(port, client, 0)
    }

    /// One whose messages are at least so long and do not compress.
    pub(crate) fn with_noise(port: u16, client: &str, noise_bytes: usize) -> Self {
        Publisher {
            port,
            client: client.to_owned(),
            noise_bytes,
            peer: None,
            next: 0,
            waiting: BTreeMap::new(),
            acknowledged: Vec::new(),
            repeated: BTreeMap::new(),
        }
    }

    /// Publishes until the window is full and reads an acknowledgement; false when there is
    /// nobody to talk to.
    pub(crate) fn step(&mut self) -> bool {
        let done = self.talk(true);
        if done.is_err() {
            self.peer = None;
        }
        done.is_ok()
    }

    /// Publishes nothing new; true when everything was acknowledged.
    pub(crate) fn finish(&mut self) -> bool {
        if self.waiting.is_empty() {
            return true;
        }
        if self.talk(false).is_err() {
            self.peer = None;
        }
        false
    }

    fn talk(&mut self, more: bool) -> io::Result<()> {
        let mut peer = match self.peer.take() {
            Some(peer) => peer,
            None => self.reconnect()?,
        };
        while more && self.waiting.len() < Self::WINDOW {
            self.next += 1;
            let id = u16::try_from(self.next % 65_535 + 1).unwrap();
            let payload = format!("{}-{}{}", self.client, self.next, self.noise());
            self.waiting.insert(id, payload.clone());
            peer.publish(id, false, "device/data", &payload)?;
        }
        let (first, body) = peer.read_packet()?;
        if first == 0x40 {
            let id = u16::from(body[0]) * 256 + u16::from(body[1]);
            let payload = self
                .waiting
                .remove(&id)
                .expect("a PUBACK for what was sent");
            self.acknowledged.push(payload);
        }
        self.peer = Some(peer);
        Ok(())
    }

    fn noise(&self) -> String {
        let mut noise = String::new();
        let mut state = u64::from(self.next) + 1;
        while noise.len() < self.noise_bytes {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            write!(noise, " {:016x}", state ^ (state >> 29)).unwrap();
        }
        noise
    }

    fn reconnect(&mut self) -> io::Result<MqttPeer> {
        let mut peer = MqttPeer::resume(self.port, &self.client)?;
        for (id, payload) in &self.waiting {
            peer.publish(*id, true, "device/data", payload)?;
            *self.repeated.entry(payload.clone()).or_default() += 1;
        }
        Ok(peer)
    }
}

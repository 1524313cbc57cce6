//! An HTTP/1.1 server on loopback that takes everything and counts it.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use miniz_oxide::inflate::decompress_to_vec;

/// Bytes of a gzip member around its deflate stream.
const GZIP_HEADER: usize = 10;
const GZIP_TRAILER: usize = 8;

/// One request's body.
struct Body {
    bytes: Vec<u8>,
    is_gzip: bool,
}

/// The far end of a server.
pub(crate) struct Sink {
    pub(crate) address: SocketAddr,
    bodies: Receiver<Body>,
}

/// What a server has taken.
#[derive(Default)]
pub(crate) struct Taken {
    pub(crate) requests: u64,
    pub(crate) lines: u64,
    /// As sent, and before compression.
    pub(crate) bytes: u64,
    pub(crate) raw_bytes: u64,
}

impl Sink {
    /// Starts a server.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, bodies) = sync_channel(8);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let sender = sender.clone();
                let stream = stream.unwrap();
                // A connection that breaks is made again by the agent.
                std::thread::spawn(move || drop(serve(&stream, &sender)));
            }
        });
        Self { address, bodies }
    }

    /// Takes until `lines` lines are there, or nothing has come for `patience`.
    pub(crate) fn take(&self, lines: u64, patience: Duration) -> (Taken, Instant) {
        let mut taken = Taken::default();
        let mut last = Instant::now();
        while taken.lines < lines {
            let Ok(body) = self.bodies.recv_timeout(patience) else {
                break;
            };
            last = Instant::now();
            taken.requests += 1;
            taken.bytes += body.bytes.len() as u64;
            let raw = if body.is_gzip {
                let end = body.bytes.len() - GZIP_TRAILER;
                decompress_to_vec(&body.bytes[GZIP_HEADER..end]).unwrap()
            } else {
                body.bytes
            };
            taken.raw_bytes += raw.len() as u64;
            taken.lines += memchr::memchr_iter(b'\n', &raw).count() as u64;
        }
        (taken, last)
    }
}

fn serve(stream: &TcpStream, bodies: &SyncSender<Body>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::with_capacity(64 << 10, stream);
    loop {
        let mut len = 0;
        let mut is_gzip = false;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                len = value.trim().parse().unwrap();
            }
            is_gzip |= line == "content-encoding: gzip";
        }
        let mut bytes = vec![0; len];
        reader.read_exact(&mut bytes)?;
        let mut answer = stream;
        answer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")?;
        if bodies.send(Body { bytes, is_gzip }).is_err() {
            return Ok(());
        }
    }
}

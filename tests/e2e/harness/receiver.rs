//! A destination that answers by a script: well, badly, late or not at all.

use std::collections::HashMap;
use std::io::{BufReader, Read};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use socket2::SockRef;

use super::wire::{Tls, Wire};
use super::{Certificates, DEADLINE, Request};

/// A slow answer comes in so many pieces, with a pause after each.
const SLOW_PIECES: usize = 20;
const SLOW_PAUSE: Duration = Duration::from_millis(5);

/// What a receiver does with a request.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// Status, headers and body.
    Status(u16, Vec<(&'static str, String)>, String),
    /// The same, piece by piece.
    Slow(u16, Vec<(&'static str, String)>, String),
    /// No answer, with the connection left open.
    Hang,
    /// The connection is reset.
    Reset,
    /// The answer ends in the middle of its body.
    Truncate,
    /// Something that is not HTTP.
    Rubbish,
}

impl Answer {
    pub(crate) fn ok() -> Self {
        Answer::status(200)
    }

    pub(crate) fn status(code: u16) -> Self {
        Answer::Status(code, Vec::new(), String::new())
    }

    /// The same answer, piece by piece.
    pub(crate) fn slowly(self) -> Self {
        if let Answer::Status(code, headers, body) = self {
            return Answer::Slow(code, headers, body);
        }
        self
    }

    /// Whether the sender may count what it sent as delivered.
    fn accepts(&self) -> bool {
        matches!(
            self,
            Answer::Status(200..=299, ..) | Answer::Slow(200..=299, ..)
        )
    }
}

type Script = Box<dyn FnMut(&Request) -> Answer + Send>;

/// What came in so far.
pub(crate) struct Log {
    /// Every complete request, with the answer it got.
    pub(crate) requests: Vec<(Request, Answer)>,
    /// Every record of an accepted uncompressed NDJSON body, in the order of coming in.
    pub(crate) records: Vec<Value>,
    script: Script,
    /// Connections that a hanging answer keeps open.
    hanging: Vec<TcpStream>,
    /// A destination that is down takes connections away from clients.
    down: bool,
    closed: bool,
}

impl Log {
    /// The payloads of the accepted records.
    pub(crate) fn messages(&self) -> Vec<&str> {
        self.records
            .iter()
            .map(|record| record["message"].as_str().unwrap_or_default())
            .collect()
    }

    /// The accepted records, each once: a repeat after a crash has the same id and is the same.
    pub(crate) fn once(&self) -> Vec<&Value> {
        let mut seen: HashMap<&str, &Value> = HashMap::new();
        let mut once = Vec::new();
        for record in &self.records {
            let id = record["hydrant"]["id"].as_str().unwrap();
            match seen.insert(id, record) {
                None => once.push(record),
                Some(first) => assert_eq!(first, record, "one id for two records"),
            }
        }
        once
    }

    /// The payloads of those.
    pub(crate) fn messages_once(&self) -> Vec<&str> {
        let once = self.once().into_iter();
        once.map(|record| record["message"].as_str().unwrap_or_default())
            .collect()
    }
}

struct Shared {
    log: Mutex<Log>,
    changed: Condvar,
}

/// An HTTP server on loopback.
pub(crate) struct Receiver {
    pub(crate) port: u16,
    scheme: &'static str,
    shared: Arc<Shared>,
}

impl Receiver {
    /// One that takes everything.
    pub(crate) fn start() -> Self {
        Receiver::scripted(|_| Answer::ok())
    }

    /// One that is down until it is told otherwise.
    pub(crate) fn start_down() -> Self {
        let receiver = Receiver::start();
        receiver.set_down(true);
        receiver
    }

    pub(crate) fn scripted(script: impl FnMut(&Request) -> Answer + Send + 'static) -> Self {
        Receiver::listening(Box::new(script), None)
    }

    /// One with TLS, whose certificate is that of the server.
    pub(crate) fn with_tls(
        certificates: &Certificates,
        script: impl FnMut(&Request) -> Answer + Send + 'static,
    ) -> Self {
        Receiver::listening(Box::new(script), Some(Tls::new(certificates)))
    }

    fn listening(script: Script, tls: Option<Tls>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let log = Log {
            requests: Vec::new(),
            records: Vec::new(),
            script,
            hanging: Vec::new(),
            down: false,
            closed: false,
        };
        let shared = Arc::new(Shared {
            log: Mutex::new(log),
            changed: Condvar::new(),
        });
        let accepting = Arc::clone(&shared);
        let scheme = if tls.is_some() { "https" } else { "http" };
        thread::spawn(move || {
            for stream in listener.incoming() {
                if accepting.log().closed {
                    return;
                }
                let shared = Arc::clone(&accepting);
                let wire = Wire::new(stream.unwrap(), tls.as_ref());
                thread::spawn(move || shared.serve(wire));
            }
        });
        Receiver {
            port,
            scheme,
            shared,
        }
    }

    /// Where it listens, without a path.
    pub(crate) fn endpoint(&self) -> String {
        format!("{}://127.0.0.1:{}", self.scheme, self.port)
    }

    pub(crate) fn url(&self) -> String {
        self.endpoint() + "/in"
    }

    /// A destination called `name` that sends here at once.
    pub(crate) fn destination(&self, name: &str) -> String {
        format!(
            "[destinations.{name}]\ntype = \"http\"\nurl = \"{}\"\n\
             batch = {{ age_max = \"100ms\" }}\n\
             retry = {{ initial = \"20ms\", max = \"200ms\", timeout = \"2s\" }}\n",
            self.url()
        )
    }

    pub(crate) fn set_down(&self, down: bool) {
        self.log().down = down;
    }

    pub(crate) fn set_script(&self, script: impl FnMut(&Request) -> Answer + Send + 'static) {
        self.log().script = Box::new(script);
    }

    pub(crate) fn log(&self) -> MutexGuard<'_, Log> {
        self.shared.log()
    }

    /// Waits until what came in shows something.
    pub(crate) fn wait<T>(&self, what: &str, look: impl FnMut(&mut Log) -> Option<T>) -> T {
        self.look_for(look).unwrap_or_else(|| {
            let log = self.log();
            let (records, requests) = (log.records.len(), log.requests.len());
            drop(log);
            panic!("waited {DEADLINE:?} for {what}; {records} records, {requests} requests");
        })
    }

    /// What came in shows, as soon as it does; `None` when it does not until the deadline.
    pub(crate) fn look_for<T>(&self, mut look: impl FnMut(&mut Log) -> Option<T>) -> Option<T> {
        let start = Instant::now();
        let mut log = self.log();
        loop {
            if let Some(seen) = look(&mut log) {
                return Some(seen);
            }
            let left = DEADLINE.checked_sub(start.elapsed())?;
            log = self.shared.changed.wait_timeout(log, left).unwrap().0;
        }
    }

    /// Waits for so many accepted records and returns their payloads.
    pub(crate) fn wait_for_messages(&self, count: usize) -> Vec<String> {
        self.wait(&format!("{count} records"), |log| {
            (log.records.len() >= count)
                .then(|| log.messages().into_iter().map(str::to_owned).collect())
        })
    }

    /// Waits for the first record with this payload.
    pub(crate) fn wait_for_message(&self, message: &str) -> Value {
        self.wait(&format!("a record {message:?}"), |log| {
            log.records
                .iter()
                .find(|record| record["message"] == message)
                .cloned()
        })
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let Ok(mut log) = self.shared.log.lock() else {
            return;
        };
        log.closed = true;
        log.hanging.clear();
        drop(log);
        // The accepting thread sees it at the next connection.
        drop(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)));
    }
}

impl Shared {
    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap()
    }

    /// Answers the requests of one connection until one side has enough.
    fn serve(&self, wire: Wire) {
        let mut reader = BufReader::new(wire);
        while !self.log().down {
            let Ok(Some(request)) = Request::read(&mut reader) else {
                break;
            };
            if self.log().down || !self.answer(reader.get_mut(), request) {
                break;
            }
        }
    }

    /// Whether the connection goes on.
    fn answer(&self, wire: &mut Wire, request: Request) -> bool {
        let answer = {
            let mut log = self.log();
            let answer = (log.script)(&request);
            if answer.accepts() && request.header("content-type").contains("ndjson") {
                let lines = String::from_utf8_lossy(&request.body);
                let parsed = lines
                    .lines()
                    .filter_map(|line| serde_json::from_str(line).ok());
                log.records.extend(parsed);
            }
            log.requests.push((request, answer.clone()));
            answer
        };
        self.changed.notify_all();
        match answer {
            Answer::Status(code, headers, body) => {
                let head = head(code, &headers, body.len());
                wire.say(format!("{head}{body}").as_bytes()).is_ok()
            }
            Answer::Slow(code, headers, body) => {
                let whole = head(code, &headers, body.len()) + &body;
                whole
                    .as_bytes()
                    .chunks(whole.len().div_ceil(SLOW_PIECES))
                    .all(|piece| {
                        thread::park_timeout(SLOW_PAUSE);
                        wire.say(piece).is_ok()
                    })
            }
            Answer::Truncate => {
                drop(wire.say(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this"));
                false
            }
            Answer::Rubbish => {
                drop(wire.say(b"\x00\xff SSH-2.0 not what you think\r\n\r\n"));
                false
            }
            Answer::Reset => {
                SockRef::from(wire.socket())
                    .set_linger(Some(Duration::ZERO))
                    .unwrap();
                false
            }
            Answer::Hang => {
                self.log().hanging.push(wire.socket().try_clone().unwrap());
                // Ends when the other side gives up, or the receiver does.
                drop(wire.read(&mut [0; 1]));
                false
            }
        }
    }
}

fn head(code: u16, headers: &[(&'static str, String)], len: usize) -> String {
    let mut head = format!("HTTP/1.1 {code} Said\r\nContent-Length: {len}\r\n");
    for (name, value) in headers {
        head.extend([name, ": ", value, "\r\n"]);
    }
    head + "\r\n"
}

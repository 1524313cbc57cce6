//! One device's connection: moves bytes, keeps the timers, and leaves the rest to [`Protocol`].
//!
//! An idle connection holds no buffer. While the store has no room, or the device has used up
//! its window, nothing more is read; what is owed still goes out.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use pipeline::decode::mqtt::Header;
use pipeline::receipt::Receipt;
use pipeline::time::Monotonic;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::io::{AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::mpsc;

use super::accounts::{Verifying, verified};
use super::protocol::{Close, Moment, Protocol, Question, Step};
use super::reading::{read_some, read_to_end};
use super::sessions::Mark;
use super::{Hint, Shared, Tell};
use crate::intake::{Closed, IntakeBatch, Shutdown};
use crate::source::mqtt::window::Window;
use crate::source::mqtt::{Io, Sending, deliver, ended, hand_over, handed_over, sleep_until};
use crate::telemetry::SourceCount;

/// With so much still to be sent nothing more is read.
const OUT_BYTES_MAX: usize = 64 * 1024;

/// How long a device may take to say CONNECT.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// How long the last words may take.
const FAREWELL_MAX: Duration = Duration::from_secs(1);

/// A connection and its device.
pub(super) struct Connection {
    shared: Arc<Shared>,
    number: u32,
    protocol: Protocol,
    inbox: BytesMut,
    out: BytesMut,
    window: Window,
    accepted: Monotonic,
    /// When something was last heard.
    heard: Monotonic,
    /// Since when a packet is incomplete.
    incomplete: Option<Monotonic>,
    /// The password file is being asked; CONNECT waits in the inbox.
    verifying: Option<Verifying>,
    /// Keys of the marks that went with the last batch.
    marked: Vec<Vec<u8>>,
    /// The device has sent more than it may.
    is_overrun: bool,
    closing: Option<Close>,
}

/// What a connection waits for.
enum Event {
    Tell(Option<Tell>),
    Verified(bool),
    HandedOver(Result<(), Closed>),
    Delivered(io::Result<()>),
    Read(io::Result<usize>),
    Time,
    Shutdown,
}

impl Connection {
    /// Connection number `number`, just accepted from one whose certificate names `certified`.
    pub(super) fn new(shared: Arc<Shared>, number: u32, certified: Option<String>) -> Self {
        let accepted = shared.intake.clock().monotonic();
        let window = Window::new(usize::from(shared.limits.in_flight_max));
        Self {
            shared,
            number,
            protocol: Protocol::new(number, certified),
            inbox: BytesMut::new(),
            out: BytesMut::new(),
            window,
            accepted,
            heard: accepted,
            incomplete: None,
            verifying: None,
            marked: Vec::new(),
            is_overrun: false,
            closing: None,
        }
    }

    /// Serves the device until its connection ends; `peer` is who it is before it says so.
    pub(super) async fn run(
        &mut self,
        stream: Box<dyn Io>,
        peer: SocketAddr,
        mut tells: mpsc::Receiver<Tell>,
        mut shutdown: Shutdown,
    ) {
        let (mut read, mut write) = tokio::io::split(stream);
        let mut sending = None;
        let mut delivered = true;
        loop {
            if sending.is_none() {
                sending = self.handle_bytes();
            }
            if self.is_overrun && self.closing.is_none() {
                self.settle_last(sending.take(), &mut tells).await;
                self.finish(Close::InFlight);
            }
            if self.closing.is_some() && sending.is_none() {
                break;
            }
            self.sync_if_stalled(sending.is_some());
            delivered &= self.out.is_empty();
            let reading = sending.is_none() && self.wants_more();
            let deadline = self.deadline(sending.is_some());
            let stalled = match sending {
                Some(_) => None,
                None => self.window.poll_timeout(),
            };
            let wake = deadline.into_iter().chain(stalled).min();
            let event = tokio::select! {
                tell = tells.recv() => Event::Tell(tell),
                verdict = verified(&mut self.verifying) => Event::Verified(verdict),
                result = handed_over(&mut sending) => Event::HandedOver(result),
                result = deliver(&mut write, &mut self.out), if !delivered => {
                    Event::Delivered(result)
                }
                result = read_some(&mut read, &mut self.inbox), if reading => Event::Read(result),
                () = sleep_until(self.shared.intake.clock(), wake) => Event::Time,
                () = ended(&mut shutdown) => Event::Shutdown,
            };
            match event {
                Event::Tell(tell) => {
                    self.handle_tell(tell);
                    // All of a sync at once, so that they leave as one.
                    while let Ok(tell) = tells.try_recv() {
                        self.handle_tell(Some(tell));
                    }
                }
                Event::Verified(is_right) => {
                    self.verifying = None;
                    self.protocol.handle_verdict(is_right);
                }
                Event::HandedOver(Ok(())) => sending = None,
                Event::Delivered(Ok(())) => delivered = true,
                Event::Read(Ok(count)) if count > 0 => self.heard = self.now(),
                Event::Time if deadline.is_none_or(|deadline| deadline > self.now()) => {}
                // Silent, gone, or gone without a word.
                Event::Time | Event::Delivered(Err(_)) | Event::Read(_) => {
                    self.finish(Close::Silent);
                }
                Event::HandedOver(Err(Closed)) | Event::Shutdown => {
                    self.settle_last(sending.take(), &mut tells).await;
                    self.finish(Close::Shutdown);
                }
            }
        }
        self.end(peer, &mut read, &mut write).await;
    }

    /// Takes packets apart until one is incomplete or the device has used up its window. What
    /// the store has no room for is left to be sent.
    fn handle_bytes(&mut self) -> Option<Sending> {
        if self.inbox.is_empty() {
            return None;
        }
        let mut batch = self.shared.intake.batch();
        self.marked.clear();
        let mut owed = 0;
        let now = self.now();
        let mut moment = Moment {
            now,
            received_at: batch.received_at(),
            random: 0,
        };
        let mut waiting = false;
        while self.wants_more_than(owed) {
            let header = match Header::read(&self.inbox) {
                Ok(Some(header)) => header,
                Ok(None) => {
                    waiting = true;
                    break;
                }
                Err(malformed) => {
                    self.finish(Close::Malformed(malformed));
                    break;
                }
            };
            if let Err(close) = self.protocol.check_header(header, &self.shared.limits) {
                self.finish(close);
                break;
            }
            if self.inbox.len() < header.packet_len() {
                waiting = true;
                break;
            }
            if self.protocol.session().is_none() {
                moment.random = random();
            }
            self.incomplete = None;
            owed += self.handle_packet(moment, header, &mut batch);
        }
        for key in self.shared.hub().sessions.take_forgotten() {
            batch.forget_checkpoint(&key);
        }
        self.window.handle_arrivals(now, owed);
        if self.inbox.is_empty() {
            self.inbox = BytesMut::new();
        } else if waiting {
            self.incomplete.get_or_insert(now);
        }
        hand_over(&self.shared.intake, batch)
    }

    /// Whether anything more of the device is taken in at this moment.
    fn wants_more(&self) -> bool {
        self.wants_more_than(0)
    }

    fn wants_more_than(&self, owed: usize) -> bool {
        let in_flight = self.window.unsettled() + owed;
        self.closing.is_none()
            && !self.is_overrun
            && self.verifying.is_none()
            && self.out.len() < OUT_BYTES_MAX
            // Who is held to it ends its connection; the others are held back.
            && (self.protocol.is_strict()
                || in_flight < usize::from(self.shared.limits.in_flight_max))
    }

    fn sync_if_stalled(&mut self, sending: bool) {
        let now = self.now();
        if !sending && self.window.poll_sync(now) {
            self.shared.intake.sync_now();
        }
    }

    /// Handles the first packet of the inbox; says how many receipts are owed for it.
    fn handle_packet(&mut self, moment: Moment, header: Header, batch: &mut IntakeBatch) -> usize {
        let step = {
            let packet = self.inbox.get(..header.packet_len()).unwrap_or_default();
            let body = packet.get(header.header_len..).unwrap_or_default();
            let mut hub = self.shared.hub();
            let (limits, out) = (&self.shared.limits, &mut self.out);
            let sessions = &mut hub.sessions;
            self.protocol
                .handle_packet(moment, (header, body), limits, sessions, out)
        };
        if let Step::Ask(question) = step {
            self.ask(question);
            return 0;
        }
        self.inbox.advance(header.packet_len());
        match step {
            Step::Done | Step::Ask(_) => 0,
            Step::Opened { taken_from } => {
                self.opened(taken_from);
                0
            }
            Step::Store(mut record, receipt, mark) => {
                self.shared.topic_templates.add_fields(&mut record);
                let owed = usize::from(receipt.is_some());
                batch.push(record, receipt);
                self.set_mark(mark, batch);
                owed
            }
            Step::Owe(receipt, mark) => {
                self.set_mark(mark, batch);
                batch.owe(receipt);
                1
            }
            Step::Deny(receipt) => self.deny(receipt, batch),
            Step::Overrun => {
                self.is_overrun = true;
                0
            }
            Step::Close(close) => {
                self.closing = Some(close);
                0
            }
        }
    }

    fn ask(&mut self, question: Question) {
        match &self.shared.accounts {
            Some(accounts) => self.verifying = Some(accounts.verify(question)),
            // Nobody is asked for a file that is not configured.
            None => self.protocol.handle_verdict(false),
        }
    }

    fn opened(&self, taken_from: Option<u32>) {
        let mut hub = self.shared.hub();
        hub.handle_opened(self.number);
        if let Some(connection) = taken_from {
            hub.tell(connection, Tell::TakenOver);
        }
        if hub.sessions.will_timeout().is_some() {
            self.shared.wills.notify_one();
        }
        // What was wrong with another device is in the log; this one is well.
        self.shared.intake.counters().clear_error();
    }

    fn set_mark(&mut self, mark: Option<Mark>, batch: &mut IntakeBatch) {
        let Some(Mark { key, bits }) = mark else {
            return;
        };
        match bits {
            Some(bits) => batch.set_checkpoint(&key, bits),
            None => batch.forget_checkpoint(&key),
        }
        if !self.marked.contains(&key) {
            self.marked.push(key);
        }
    }

    fn deny(&self, receipt: Option<Receipt>, batch: &mut IntakeBatch) -> usize {
        self.tell_denied();
        let owed = usize::from(receipt.is_some());
        if let Some(receipt) = receipt {
            batch.owe(receipt);
        }
        owed
    }

    /// Counts a message that its device may not publish, and tells now and then.
    fn tell_denied(&self) {
        let client = self.protocol.client().unwrap_or_default();
        let topic = self.protocol.denied().unwrap_or_default();
        let told = format!(
            "device {client:?} may not publish to {topic:?}: it needs a filter for that in rights"
        );
        let counters = self.shared.intake.counters();
        counters.add(SourceCount::Refused, 1);
        if self.shared.may_tell(Hint::Denied) {
            tracing::warn!(source = self.shared.intake.name(), "{told}");
        }
        counters.set_error(told);
    }

    fn handle_tell(&mut self, tell: Option<Tell>) {
        match tell {
            Some(Tell::Settled(kind, packet_id, reason_code)) => {
                let answer = (kind, packet_id, reason_code);
                self.protocol.handle_settled(answer, &mut self.out);
                self.window.handle_settled(self.now(), 1);
            }
            Some(Tell::TakenOver) => self.finish(Close::TakenOver),
            Some(Tell::MakeRoom) => self.finish(Close::MakeRoom),
            // More was owed than can be: the device gets it again on its next connection.
            None => self.finish(Close::InFlight),
        }
    }

    fn finish(&mut self, close: Close) {
        let now = self.now();
        let mut hub = self.shared.hub();
        self.protocol
            .close(now, close, &mut hub.sessions, &mut self.out);
        self.closing = Some(close);
    }

    /// When the device has been silent for too long, or has left a packet incomplete for too
    /// long. Silence means nothing while it is we who do not listen.
    fn deadline(&self, sending: bool) -> Option<Monotonic> {
        if sending || self.window.is_full() {
            return None;
        }
        let Some(silence_max) = self.protocol.silence_max() else {
            return Some(self.accepted.after(CONNECT_MAX));
        };
        let silent = self.heard.after(silence_max);
        let limit = self.shared.limits.idle_max.max(silence_max);
        let incomplete = self.incomplete.map(|since| since.after(limit));
        Some(incomplete.map_or(silent, |incomplete| incomplete.min(silent)))
    }

    /// Waits a little for what is owed, so that a device need not send it again.
    async fn settle_last(&mut self, sending: Option<Sending>, tells: &mut mpsc::Receiver<Tell>) {
        let settle = async {
            if let Some(sending) = sending
                && sending.await.is_err()
            {
                return;
            }
            self.shared.intake.sync_now();
            while self.window.unsettled() > 0 {
                let Some(tell) = tells.recv().await else {
                    return;
                };
                self.handle_tell(Some(tell));
            }
        };
        // What is not acknowledged comes again.
        drop(tokio::time::timeout(FAREWELL_MAX, settle).await);
    }

    /// Says the last words, and stores the will of a device that has said none.
    async fn end(
        &mut self,
        peer: SocketAddr,
        read: &mut ReadHalf<Box<dyn Io>>,
        write: &mut WriteHalf<Box<dyn Io>>,
    ) {
        let has_words = !self.out.is_empty();
        let farewell = async {
            write.write_all(&self.out).await?;
            write.shutdown().await
        };
        // A device that does not listen any more does not miss it.
        drop(tokio::time::timeout(FAREWELL_MAX, farewell).await);
        let Some(close) = self.closing else { return };
        self.tell_end(peer, close);
        self.leave_behind().await;
        if has_words && (close.is_refusal() || close == Close::TakenOver) {
            // With anything unread the kernel would take back what was said.
            drop(tokio::time::timeout(FAREWELL_MAX, read_to_end(read)).await);
        }
    }

    fn tell_end(&self, peer: SocketAddr, close: Close) {
        let intake = &self.shared.intake;
        if close == Close::Denied {
            return self.tell_denied();
        }
        let told = match self.protocol.client() {
            Some(client) => format!("device {client:?} at {peer}: {close}"),
            None => format!("device at {peer}: {close}"),
        };
        // Seldom louder: whoever can connect could fill the log.
        if matches!(close, Close::Version(_)) && self.shared.may_tell(Hint::Version) {
            tracing::warn!(source = intake.name(), "{told}");
        } else {
            tracing::debug!(source = intake.name(), "{told}");
        }
        if close.is_refusal() {
            intake.counters().add(SourceCount::Refused, 1);
            intake.counters().set_error(told);
        }
    }

    /// Stores the last will, and forgets in the ring what a session that is gone held.
    async fn leave_behind(&mut self) {
        let intake = &self.shared.intake;
        let mut batch = intake.batch();
        if let Some(mut will) = self.protocol.take_will(batch.received_at()) {
            self.shared.topic_templates.add_fields(&mut will);
            batch.push(will, None);
        }
        {
            let mut hub = self.shared.hub();
            let session = self.protocol.session();
            // Its last batch may have come after those who forgot it.
            if session.is_some_and(|session| !hub.sessions.knows(session)) {
                for key in self.marked.drain(..) {
                    batch.forget_checkpoint(&key);
                }
            }
            for key in hub.sessions.take_forgotten() {
                batch.forget_checkpoint(&key);
            }
            if hub.sessions.will_timeout().is_some() {
                self.shared.wills.notify_one();
            }
        }
        if intake.send(batch).await == Err(Closed) {
            tracing::debug!(source = intake.name(), "the store ended before a will");
        }
    }

    fn now(&self) -> Monotonic {
        self.shared.intake.clock().monotonic()
    }
}

fn random() -> u64 {
    let mut bytes = [0; 8];
    match SystemRandom::new().fill(&mut bytes) {
        Ok(()) => u64::from_le_bytes(bytes),
        Err(_) => 0,
    }
}

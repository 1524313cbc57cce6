//! One connection to a broker, from its CONNACK to its end.
//!
//! Moves bytes and keeps the timers; what a packet means is decided by
//! [`super::session::Session`], [`super::subscriptions::Subscriptions`] and [`Window`]. Nothing
//! here waits for one thing only: while the store has no room, or a broker sends more than its
//! window, nothing more is read, but acknowledgements and pings still go out.

use std::time::Duration;

use bytes::BytesMut;
use pipeline::config::{MqttConfig, MqttVersion, Qos};
use pipeline::decode::mqtt::{
    Ack, Aliases, Disconnect, Granted, PacketType, Publish, Sender, SubAck, UnsubAck,
};
use pipeline::receipt::Receipt;
use pipeline::time::Monotonic;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};

use super::inbox::{Inbox, Packet};
use super::kept::{Kept, Left, Place};
use super::owed::Owed;
use super::packets::{
    write_disconnect, write_disconnect_because, write_ping_request, write_subscribe,
    write_unsubscribe,
};
use super::session::{Arrival, Mark};
use super::subscriptions::{Answer, Leave};
use super::window::Window;
use super::{Io, Lost, Sending, deliver, ended, hand_over, handed_over, sleep_until};
use crate::intake::{Closed, Intake, IntakeBatch, Shutdown};

/// How many topic aliases the broker may use.
pub(super) const ALIASES_MAX: u16 = 64;

/// A broker is sent away that has so many times in flight what it was told. A little more is common:
/// mosquitto 2.0 under load sends a third more than it may.
const EXCESS_MAX: usize = 2;

/// Reason code of MQTT 5 for what is well formed and must not be.
const PROTOCOL_ERROR: u8 = 0x82;

/// Reason code of MQTT 5 for a message beyond the receive maximum.
const RECEIVE_MAXIMUM_EXCEEDED: u8 = 0x93;

/// How long receipts are waited for at the end.
const FAREWELL_MAX: Duration = Duration::from_secs(1);

/// A connection that the broker has accepted.
pub(super) struct Connection<'a> {
    config: &'a MqttConfig,
    intake: &'a Intake,
    kept: &'a mut Kept,
    others: [&'a mut [Kept]; 2],
    inbox: Inbox,
    aliases: Aliases,
    window: Window,
    out: BytesMut,
    keep_alive: Option<Duration>,
    /// When something was last sent: a broker wants to hear from us.
    last_sent: Monotonic,
    /// When the broker was asked whether it is there, while it has not said anything since.
    pinged: Option<Monotonic>,
    /// Whether the broker is held to what it was told that it may send at a time. One that goes on
    /// with a session is not: mosquitto sends what was in flight before on top of that.
    is_strict: bool,
    /// Messages of this connection that the broker has no PUBACK or PUBCOMP for, at least.
    in_flight: usize,
    /// Why the connection must end, once what came before is on its way to the store.
    failed: Option<Lost>,
}

impl<'a> Connection<'a> {
    /// `body_bytes_max` is the largest packet that is kept whole.
    pub(super) fn new(
        config: &'a MqttConfig,
        intake: &'a Intake,
        place: Place<'a>,
        keep_alive: Duration,
        session_present: bool,
        body_bytes_max: usize,
    ) -> Self {
        Self {
            config,
            intake,
            kept: place.this,
            others: [place.before, place.after],
            inbox: Inbox::new(body_bytes_max),
            aliases: Aliases::new(ALIASES_MAX),
            window: Window::new(usize::from(config.in_flight_max)),
            out: BytesMut::new(),
            keep_alive: (!keep_alive.is_zero()).then_some(keep_alive),
            last_sent: intake.clock().monotonic(),
            pinged: None,
            is_strict: config.version == MqttVersion::V5 && !session_present,
            in_flight: 0,
            failed: None,
        }
    }

    /// Serves the connection. Returns why it ended: it was lost, the agent ends, or `better` came.
    pub(super) async fn run<T>(
        mut self,
        stream: Box<dyn Io>,
        forgotten: IntakeBatch,
        shutdown: &mut Shutdown,
        better: impl Future<Output = T>,
    ) -> Result<Left<T>, Lost> {
        let (read, mut write) = tokio::io::split(stream);
        let ended = self
            .exchange(read, &mut write, forgotten, shutdown, better)
            .await;
        let (left, sending) = match ended {
            Ok(ended) => ended,
            Err(lost) => {
                if let Lost::Overrun = lost {
                    // What is acknowledged does not come again, or the next connection would be no
                    // better.
                    self.settle_last(None).await?;
                }
                self.tell_off(&lost, &mut write).await;
                return Err(lost);
            }
        };
        self.leave(write, sending).await?;
        Ok(left)
    }

    async fn exchange<T>(
        &mut self,
        mut read: ReadHalf<Box<dyn Io>>,
        write: &mut WriteHalf<Box<dyn Io>>,
        forgotten: IntakeBatch,
        shutdown: &mut Shutdown,
        better: impl Future<Output = T>,
    ) -> Result<(Left<T>, Option<Sending>), Lost> {
        let mut better = std::pin::pin!(better);
        let mut sending = hand_over(self.intake, forgotten);
        self.intake.sync_now();
        if self.kept.session.is_asking() {
            write_ping_request(&mut self.out);
            self.pinged = Some(self.now());
        }
        let mut all_delivered = true;
        loop {
            let now = self.now();
            if sending.is_none() && self.window.poll_sync(now) {
                self.intake.sync_now();
            }
            if sending.is_none()
                && let Some(lost) = self.failed.take()
            {
                return Err(lost);
            }
            let has_room = self.is_strict || !self.window.is_full();
            let reading = sending.is_none() && has_room;
            self.handle_time(now, reading)?;
            all_delivered &= self.out.is_empty();
            let stalled = match sending {
                Some(_) => None,
                None => self.window.poll_timeout(),
            };
            let wake = self.poll_timeout(reading).into_iter().chain(stalled).min();
            tokio::select! {
                receipts = self.intake.settled() => self.handle_settled(receipts),
                sent = handed_over(&mut sending) => {
                    sending = None;
                    sent.map_err(|Closed| Lost::StoreEnded)?;
                }
                delivered = deliver(write, &mut self.out), if !all_delivered => {
                    delivered.map_err(Lost::Io)?;
                    all_delivered = true;
                    self.last_sent = self.now();
                }
                count = read.read_buf(self.inbox.room()), if reading => {
                    if count.map_err(Lost::Io)? == 0 {
                        return Err(Lost::ClosedByBroker);
                    }
                    self.pinged = None;
                    sending = self.handle_bytes();
                }
                () = sleep_until(self.intake.clock(), wake) => {}
                better = &mut better => return Ok((Left::For(better), sending)),
                () = ended(shutdown) => return Ok((Left::ForGood, sending)),
            }
        }
    }

    /// Takes in what was read; a batch that the store has no room for is left to be sent. What
    /// came before a mistake is stored: the session knows it already.
    fn handle_bytes(&mut self) -> Option<Sending> {
        let mut batch = self.intake.batch();
        let mut owed = 0;
        self.failed = self.handle_packets(&mut batch, &mut owed).err();
        self.window.handle_arrivals(self.now(), owed);
        hand_over(self.intake, batch)
    }

    fn handle_packets(&mut self, batch: &mut IntakeBatch, owed: &mut usize) -> Result<(), Lost> {
        while let Some(packet) = self.inbox.take().map_err(Lost::Malformed)? {
            self.handle_packet(&packet, batch, owed)?;
        }
        Ok(())
    }

    fn handle_packet(
        &mut self,
        packet: &Packet,
        batch: &mut IntakeBatch,
        owed: &mut usize,
    ) -> Result<(), Lost> {
        let (version, body) = (self.config.version, packet.body());
        match packet.header.kind {
            PacketType::Publish => self.handle_publish(packet, batch, owed)?,
            PacketType::PubRel => {
                let release = Ack::read(body, version).map_err(Lost::Malformed)?;
                let packet_id = release.packet_id;
                let session = &mut self.kept.session;
                if let Some(receipt) = session.handle_release(packet_id, &mut self.out) {
                    set_mark(batch, session.mark(packet_id));
                    batch.owe(receipt);
                    *owed += 1;
                }
            }
            PacketType::SubAck => self.handle_suback(body)?,
            PacketType::UnsubAck => self.handle_unsuback(body, batch)?,
            PacketType::Disconnect => {
                let disconnect = Disconnect::read(body, version).map_err(Lost::Malformed)?;
                return Err(Lost::Dismissed {
                    reason_code: disconnect.reason_code,
                    reason: disconnect.reason.map(str::to_owned),
                });
            }
            PacketType::PingResp => {
                if let Some((marks, receipt)) = self.kept.session.handle_pong() {
                    for mark in marks {
                        set_mark(batch, mark);
                    }
                    batch.owe(receipt);
                    self.intake.sync_now();
                }
            }
            PacketType::Connect
            | PacketType::ConnAck
            | PacketType::PubAck
            | PacketType::PubRec
            | PacketType::PubComp
            | PacketType::Subscribe
            | PacketType::Unsubscribe
            | PacketType::PingReq
            | PacketType::Auth => return Err(Lost::Unexpected(packet.header.kind)),
        }
        Ok(())
    }

    fn handle_publish(
        &mut self,
        packet: &Packet,
        batch: &mut IntakeBatch,
        owed: &mut usize,
    ) -> Result<(), Lost> {
        let version = self.config.version;
        let publish = Publish::read(packet.header.first, packet.body(), version, Sender::Server)
            .map_err(Lost::Malformed)?;
        let topic = self
            .aliases
            .resolve(publish.topic, publish.topic_alias)
            .map_err(Lost::Malformed)?;
        let allowed = usize::from(self.config.in_flight_max.max(1));
        let is_beyond = self.in_flight >= allowed * EXCESS_MAX;
        if is_beyond && self.is_strict && publish.qos != Qos::AtMostOnce {
            return Err(Lost::Overrun);
        }
        let session = &mut self.kept.session;
        let Arrival::Store(receipt) =
            session.handle_publish(publish.qos, publish.packet_id, &mut self.out)
        else {
            return Ok(());
        };
        self.in_flight += usize::from(receipt.is_some());
        let mut record = publish.record(batch.received_at(), topic, None);
        self.config.topic_templates.add_fields(&mut record);
        if packet.missing > 0 {
            let told = format!(
                "message of {} bytes on topic {topic:?} was cut to {}: raise packet_bytes_max",
                publish.payload.len() + packet.missing,
                publish.payload.len(),
            );
            tracing::warn!(source = self.intake.name(), "{told}");
            batch.count_cut();
            self.intake.counters().set_error(told.clone());
            record.mark(told);
        }
        *owed += usize::from(receipt.is_some());
        batch.push(record, receipt);
        if publish.qos == Qos::ExactlyOnce {
            set_mark(batch, self.kept.session.mark(publish.packet_id));
        }
        Ok(())
    }

    fn handle_suback(&mut self, body: &[u8]) -> Result<(), Lost> {
        let answer = SubAck::read(body, self.config.version).map_err(Lost::Malformed)?;
        let granted: Vec<Granted> = answer.granted().collect();
        let now = self.now();
        let subscriptions = &mut self.kept.subscriptions;
        match subscriptions.handle_answer(now, answer.packet_id, &granted) {
            Answer::Granted => {
                tracing::info!(source = self.intake.name(), "subscribed");
                self.intake.counters().clear_error();
            }
            Answer::Lacking(told) => {
                tracing::warn!(source = self.intake.name(), "{told}");
                self.intake.counters().set_error(told);
            }
            Answer::Unexpected => return Err(Lost::Unexpected(PacketType::SubAck)),
        }
        Ok(())
    }

    fn handle_unsuback(&mut self, body: &[u8], batch: &mut IntakeBatch) -> Result<(), Lost> {
        let answer = UnsubAck::read(body, self.config.version).map_err(Lost::Malformed)?;
        let subscriptions = &mut self.kept.subscriptions;
        match subscriptions.handle_left(answer.packet_id, answer.refusal) {
            Leave::Left(topics) => {
                for topic in &topics {
                    batch.forget_checkpoint(&subscriptions.key(topic));
                }
                let topics = topics.join(", ");
                tracing::info!(source = self.intake.name(), topics, "unsubscribed");
            }
            Leave::Held(topics) => {
                let topics = topics.join(", ");
                tracing::warn!(
                    source = self.intake.name(),
                    topics,
                    "the broker does not end subscriptions of an earlier configuration; another \
                     client_id is free of them"
                );
            }
            Leave::Unexpected => return Err(Lost::Unexpected(PacketType::UnsubAck)),
        }
        Ok(())
    }

    fn handle_settled(&mut self, receipts: Vec<Receipt>) {
        let mut current = 0;
        for owed in receipts.into_iter().map(Owed::of) {
            let session = &mut self.kept.session;
            let is_current = session.handle_settled(owed, &mut self.out);
            current += usize::from(is_current);
            if is_current && !matches!(owed, Owed::PubRec { .. }) {
                self.in_flight = self.in_flight.saturating_sub(1);
            }
            for other in self.others.iter_mut().flat_map(|others| others.iter_mut()) {
                // Not connected, and so nothing is answered there.
                other.session.handle_settled(owed, &mut self.out);
            }
        }
        self.window.handle_settled(self.now(), current);
    }

    /// Does what is due. While nothing is read, the broker's silence means nothing.
    fn handle_time(&mut self, now: Monotonic, reading: bool) -> Result<(), Lost> {
        if reading && self.kept.subscriptions.is_overdue(now) {
            return Err(Lost::Silent);
        }
        if self.kept.session.is_ready()
            && let Some((packet_id, topics)) = self.kept.subscriptions.poll_subscribe(now)
        {
            let (version, qos) = (self.config.version, self.config.qos);
            write_subscribe(&mut self.out, version, qos, packet_id, &topics)
                .map_err(Lost::Unwritable)?;
        }
        if let Some((packet_id, topics)) = self.kept.subscriptions.poll_unsubscribe(now) {
            write_unsubscribe(&mut self.out, self.config.version, packet_id, &topics)
                .map_err(Lost::Unwritable)?;
        }
        let Some(keep_alive) = self.keep_alive else {
            return Ok(());
        };
        match self.pinged {
            Some(pinged) if !reading => {
                // The answer may lie unread; the time starts again when reading goes on.
                self.pinged = Some(pinged.max(now));
            }
            Some(pinged) if now.since(pinged) >= keep_alive => return Err(Lost::Silent),
            Some(_) | None => {}
        }
        if now >= self.last_sent.after(keep_alive * 3 / 4) {
            write_ping_request(&mut self.out);
            self.last_sent = now;
            self.pinged.get_or_insert(now);
        }
        Ok(())
    }

    fn poll_timeout(&self, reading: bool) -> Option<Monotonic> {
        let ping = self.keep_alive.map(|keep_alive| {
            let ping = self.last_sent.after(keep_alive * 3 / 4);
            match self.pinged {
                Some(pinged) if reading => ping.min(pinged.after(keep_alive)),
                Some(_) | None => ping,
            }
        });
        let subscriptions = if reading && self.kept.session.is_ready() {
            self.kept.subscriptions.poll_timeout()
        } else {
            None
        };
        ping.into_iter().chain(subscriptions).min()
    }

    /// Tells the broker what it did wrong, where MQTT has words for it.
    async fn tell_off(&mut self, lost: &Lost, write: &mut WriteHalf<Box<dyn Io>>) {
        let reason_code = if let Lost::Malformed(malformed) = lost {
            malformed.reason_code()
        } else if let Lost::Unexpected(_) = lost {
            PROTOCOL_ERROR
        } else if let Lost::Overrun = lost {
            RECEIVE_MAXIMUM_EXCEEDED
        } else {
            return;
        };
        if self.config.version == MqttVersion::V5 {
            write_disconnect_because(&mut self.out, reason_code);
            drop(tokio::time::timeout(FAREWELL_MAX, deliver(write, &mut self.out)).await);
        }
    }

    /// Ends in order: what was read is stored and acknowledged, if that does not take long.
    async fn leave(
        &mut self,
        mut write: WriteHalf<Box<dyn Io>>,
        sending: Option<Sending>,
    ) -> Result<(), Lost> {
        let settled = self.settle_last(sending).await;
        write_disconnect(&mut self.out);
        let goodbye = async {
            write.write_all(&self.out).await?;
            write.shutdown().await
        };
        // The broker sends again what it has no acknowledgement for.
        drop(tokio::time::timeout(FAREWELL_MAX, goodbye).await);
        settled
    }

    /// Waits a little for what is owed, so that the broker need not send it again.
    async fn settle_last(&mut self, sending: Option<Sending>) -> Result<(), Lost> {
        let settle = async {
            if let Some(sending) = sending {
                sending.await.map_err(|Closed| Lost::StoreEnded)?;
            }
            self.intake.sync_now();
            while self.window.unsettled() > 0 {
                let receipts = self.intake.settled().await;
                self.handle_settled(receipts);
            }
            Ok(())
        };
        tokio::time::timeout(FAREWELL_MAX, settle)
            .await
            .unwrap_or(Ok(()))
    }

    fn now(&self) -> Monotonic {
        self.intake.clock().monotonic()
    }
}

/// Which numbers are held becomes durable with the records before.
pub(super) fn set_mark(batch: &mut IntakeBatch, (key, numbers): Mark) {
    match numbers {
        Some(numbers) => batch.set_checkpoint(&key, numbers),
        None => batch.forget_checkpoint(&key),
    }
}

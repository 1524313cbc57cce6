//! A store in memory for the tests of sources: it keeps records, and gives receipts back only
//! when the source says that it is stalled, as if a sync took until then.

use std::sync::{Arc, Mutex};

use pipeline::receipt::Receipt;
use pipeline::record::Record;
use pipeline::transform::Transforms;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};

use crate::clock::Clock;
use crate::intake::{Intake, IntakeBatch, IntakeParts, Settled, Stalled, Step, store_queue};
use crate::telemetry::SourceCounters;

/// A source's surroundings.
pub(in crate::source) struct Harness {
    pub(in crate::source) intake: Intake,
    pub(in crate::source) counters: Arc<SourceCounters>,
    records: Arc<Mutex<Vec<Record>>>,
    end: watch::Sender<bool>,
}

impl Harness {
    /// Starts a store that takes payloads up to `record_bytes_max`.
    pub(in crate::source) fn new(record_bytes_max: usize) -> Self {
        let (store, incoming, stalled) = store_queue();
        let counters = Arc::new(SourceCounters::default());
        let settled = Arc::new(Settled::default());
        let intake = Intake::new(IntakeParts {
            name: "test".to_owned(),
            tag: 1,
            transforms: Transforms::compile(&[]).unwrap(),
            checkpoints: Vec::new(),
            record_bytes_max,
            clock: Clock::start(),
            counters: Arc::clone(&counters),
            settled: Arc::clone(&settled),
            store,
        });
        let records = Arc::new(Mutex::new(Vec::new()));
        tokio::spawn(store_until_closed(
            incoming,
            stalled,
            Arc::clone(&records),
            settled,
        ));
        Self {
            intake,
            counters,
            records,
            end: watch::Sender::new(false),
        }
    }

    /// What a source hears the end from.
    pub(in crate::source) fn shutdown(&self) -> watch::Receiver<bool> {
        self.end.subscribe()
    }

    /// Ends the source.
    pub(in crate::source) fn end(&self) {
        self.end.send_replace(true);
    }

    /// The payloads stored so far.
    pub(in crate::source) fn payloads(&self) -> Vec<String> {
        let records = self.records.lock().unwrap();
        let text = |record: &Record| String::from_utf8_lossy(&record.payload).into_owned();
        records.iter().map(text).collect()
    }

    /// The records stored so far.
    pub(in crate::source) fn records(&self) -> Vec<Record> {
        self.records.lock().unwrap().clone()
    }
}

async fn store_until_closed(
    mut incoming: mpsc::Receiver<IntakeBatch>,
    stalled: Arc<Stalled>,
    records: Arc<Mutex<Vec<Record>>>,
    settled: Arc<Settled>,
) {
    let mut waiting: Vec<Receipt> = Vec::new();
    loop {
        tokio::select! {
            biased;
            batch = incoming.recv() => {
                let Some(mut batch) = batch else { return };
                for step in batch.steps(0) {
                    if let Step::Entry(entry) = step {
                        let record = pipeline::stored::decode(entry).unwrap();
                        records.lock().unwrap().push(record);
                    }
                }
                let receipts = batch.take_receipts().into_iter();
                waiting.extend(receipts.map(|(_, receipt)| receipt));
                waiting.extend(batch.take_checkpoint_receipts());
            }
            () = stalled.wait() => {
                stalled.take();
                waiting.drain(..).for_each(|receipt| settled.give(receipt));
                settled.wake();
            }
        }
    }
}

/// The other side of a connection, byte by byte.
pub(in crate::source) struct Peer(pub(in crate::source) TcpStream);

impl Peer {
    pub(in crate::source) async fn say(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    /// Reads exactly what is expected.
    pub(in crate::source) async fn hear(&mut self, expected: &[u8]) {
        let mut bytes = vec![0; expected.len()];
        let read = self.0.read_exact(&mut bytes);
        tokio::time::timeout(std::time::Duration::from_secs(10), read)
            .await
            .expect("nothing was heard in time")
            .unwrap();
        assert_eq!(bytes, expected);
    }

    /// Reads one packet and gives its first byte and its body.
    pub(in crate::source) async fn hear_any(&mut self) -> (u8, Vec<u8>) {
        let first = self.0.read_u8().await.unwrap();
        let len = self.0.read_u8().await.unwrap();
        assert!(len < 128, "a longer packet than tests have");
        let mut body = vec![0; usize::from(len)];
        self.0.read_exact(&mut body).await.unwrap();
        (first, body)
    }

    /// Reads to the end of the connection.
    pub(in crate::source) async fn hear_end(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let read = self.0.read_to_end(&mut bytes);
        let read = tokio::time::timeout(std::time::Duration::from_secs(10), read);
        // A reset is an end as well.
        drop(read.await.expect("the connection did not end in time"));
        bytes
    }
}

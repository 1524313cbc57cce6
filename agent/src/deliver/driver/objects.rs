//! The objects of a batch, stored one after the other.
//!
//! What is too large to be kept is encoded again from the ring while it is sent; that it is still
//! the same is found out before its last byte is.

use std::collections::VecDeque;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use diskring::Seq;
use hyper::body::{Body, Frame, SizeHint};
use pipeline::boots::Boots;
use pipeline::destination::s3::{EncodedObject, ObjectBatch, ObjectGroup, ObjectWriter};
use pipeline::destination::{
    Answer, Destination, EncodedBatch, HttpRequest, RetryClass, SeqRange, TransportError, Verdict,
};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use super::Driver;
use super::send::LAST_ANSWER_MAX;
use crate::deliver::build::Builder;
use crate::deliver::{SETUP_PAUSE, Stop, told};
use crate::intake::Shutdown;

/// A piece of a body on its way to the network.
const PIECE_BYTES: usize = 64 << 10;

/// A body whose pace is watched while it is sent may take so long.
const BODY_MAX: Duration = Duration::from_hours(24);

/// An object of a batch.
pub(super) struct Wanted<'a> {
    pub(super) range: SeqRange,
    pub(super) group: &'a ObjectGroup,
    pub(super) boots: &'a Arc<Boots>,
}

impl Driver<'_> {
    /// Stores what is not stored yet of the objects of a batch; says how many bytes were sent.
    pub(super) async fn store_objects(
        &mut self,
        range: SeqRange,
        mut batch: ObjectBatch,
        shutdown: &mut Shutdown,
    ) -> Result<(Verdict, u64), Stop> {
        let mut sent_bytes = 0;
        while let Some(object) = batch.objects.first_mut() {
            let wanted = Wanted {
                range,
                group: &object.group,
                boots: &batch.boots,
            };
            let encoded = match object.encoded.take() {
                Some(encoded) => encoded,
                None => self.encode_object(&wanted).await?,
            };
            let verdict = self.store_object(&wanted, &encoded, shutdown).await?;
            if verdict != Verdict::Accepted {
                object.encoded = Some(encoded);
                self.current = Some((range, EncodedBatch::Objects(batch)));
                return Ok((verdict, sent_bytes));
            }
            sent_bytes += encoded.len;
            batch.objects.remove(0);
        }
        Ok((Verdict::Accepted, sent_bytes))
    }

    /// Makes one attempt for an object.
    pub(super) async fn store_object(
        &mut self,
        wanted: &Wanted<'_>,
        object: &EncodedObject,
        shutdown: &mut Shutdown,
    ) -> Result<Verdict, Stop> {
        let prepared = tokio::select! {
            () = told(shutdown) => return Err(Stop::Told),
            prepared = self.prepare_object(wanted, object) => prepared,
        };
        let request = match prepared {
            Ok(request) => request,
            Err(verdict) => return Ok(verdict),
        };
        let counters = &self.parts.gauges.counters;
        counters.requests.fetch_add(1, Ordering::Relaxed);
        let answer = {
            let mut exchange = pin!(self.exchange_object(wanted, object, request));
            tokio::select! {
                answer = &mut exchange => answer?,
                () = told(shutdown) => match timeout(LAST_ANSWER_MAX, exchange).await {
                    Ok(answer) => answer?,
                    // The same object is sent again after the start.
                    Err(_) => return Err(Stop::Told),
                },
            }
        };
        Ok(self.destination.interpret(1, &Answer::Http(answer)))
    }

    async fn prepare_object(
        &mut self,
        wanted: &Wanted<'_>,
        object: &EncodedObject,
    ) -> Result<HttpRequest, Verdict> {
        let class = self.delivery.trouble().and_then(|trouble| trouble.class);
        let refused = class == Some(RetryClass::Credentials);
        let keys = self.keys.current(refused).await?;
        let Some(store) = self.destination.store() else {
            return Err(Destination::mismatch());
        };
        store.prepare(
            wanted.range,
            wanted.group,
            object,
            self.parts.clock.wall(),
            keys.as_ref(),
        )
    }

    async fn exchange_object(
        &self,
        wanted: &Wanted<'_>,
        object: &EncodedObject,
        mut request: HttpRequest,
    ) -> Result<Result<pipeline::destination::HttpResponse, TransportError>, Stop> {
        let Some(transport) = &self.transport else {
            let text = "no transport for HTTP".to_owned();
            return Ok(Err(TransportError::Other(text)));
        };
        if object.body.is_some() {
            return Ok(transport.send(&request).await);
        }
        let stall_max = self.config.retry.timeout;
        request.timeout = BODY_MAX;
        let (pieces, receiver) = mpsc::channel(2);
        let body = reqwest::Body::wrap(SpooledBody {
            receiver,
            left: object.len,
        });
        let mut answer = pin!(transport.send_body(&request, body));
        let fed = {
            let mut feed = pin!(self.feed(wanted, object, pieces, stall_max));
            tokio::select! {
                // It need not have heard all of it to refuse it.
                answer = &mut answer => return Ok(answer),
                fed = &mut feed => fed?,
            }
        };
        match fed {
            Fed::Whole => Ok(timeout(stall_max, answer)
                .await
                .unwrap_or(Err(TransportError::Timeout))),
            Fed::Stalled => Ok(Err(TransportError::Timeout)),
            // The connection ended; the answer says how.
            Fed::Refused => Ok(answer.await),
            Fed::Changed => {
                tracing::warn!(
                    destination = self.parts.name,
                    "records of an object changed or made room while it was sent; it is begun anew"
                );
                sleep(SETUP_PAUSE).await;
                Err(Stop::Stretch)
            }
        }
    }

    /// Encodes an object to learn its length and checksums, and keeps it if it is small.
    pub(super) async fn encode_object(&self, wanted: &Wanted<'_>) -> Result<EncodedObject, Stop> {
        let writer = self.object_writer(wanted, false)?;
        let builder = self.read_object(wanted, writer).await?;
        let finish = move || builder.finish_object();
        let finished = spawn_blocking(finish).await.map_err(|_| Stop::Worker)?;
        finished.map(|(object, _)| object).ok_or(Stop::Worker)
    }

    /// The records that stand on these lines of an object.
    pub(super) async fn find_lines(
        &self,
        wanted: &Wanted<'_>,
        lines: &[u64],
    ) -> Result<Vec<Seq>, Stop> {
        let Some(store) = self.destination.store() else {
            return Err(Stop::Worker);
        };
        let (encoding, origin) = self.recipe.objects();
        let writer = store.find(encoding, origin, wanted.group.clone(), lines);
        let builder = self.read_object(wanted, writer).await?;
        Ok(builder.into_found())
    }

    /// Has `writer` see all records of the batch.
    async fn read_object(
        &self,
        wanted: &Wanted<'_>,
        writer: ObjectWriter,
    ) -> Result<Builder, Stop> {
        let mut builder = self.object_builder(wanted, writer);
        let mut from = wanted.range.first;
        while from < wanted.range.end {
            let (grown, next) = self.grow_object(builder, from).await?;
            builder = grown;
            if next <= from {
                break;
            }
            from = next;
        }
        Ok(builder)
    }

    /// Encodes an object again and hands its bytes over, the last of them once all are known to be
    /// the same.
    async fn feed(
        &self,
        wanted: &Wanted<'_>,
        object: &EncodedObject,
        pieces: mpsc::Sender<Bytes>,
        stall_max: Duration,
    ) -> Result<Fed, Stop> {
        let writer = self.object_writer(wanted, true)?;
        let mut builder = self.object_builder(wanted, writer);
        let mut from = wanted.range.first;
        // The last bytes are held back until all are known to be the same.
        let mut held = Vec::new();
        let mut handed = 0_u64;
        while from < wanted.range.end {
            let (grown, next) = self.grow_object(builder, from).await?;
            builder = grown;
            if next <= from {
                return Ok(Fed::Changed);
            }
            from = next;
            let drained = builder.drain();
            if drained.is_empty() {
                continue;
            }
            let bytes = std::mem::replace(&mut held, drained);
            handed += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            if handed >= object.len {
                return Ok(Fed::Changed);
            }
            if let Some(fed) = hand_over(bytes, &pieces, stall_max).await {
                return Ok(fed);
            }
        }
        let finish = move || builder.finish_object();
        let finished = spawn_blocking(finish).await.map_err(|_| Stop::Worker)?;
        let Some((_, rest)) = finished.filter(|(again, _)| again.is_same(object)) else {
            return Ok(Fed::Changed);
        };
        held.extend_from_slice(&rest);
        let fed = hand_over(held, &pieces, stall_max).await;
        Ok(fed.unwrap_or(Fed::Whole))
    }

    fn object_writer(&self, wanted: &Wanted<'_>, is_sent: bool) -> Result<ObjectWriter, Stop> {
        let Some(store) = self.destination.store() else {
            return Err(Stop::Worker);
        };
        let (encoding, origin) = self.recipe.objects();
        let group = wanted.group.clone();
        Ok(if is_sent {
            store.stream(encoding, origin, group)
        } else {
            store.object(encoding, origin, group)
        })
    }

    fn object_builder(&self, wanted: &Wanted<'_>, writer: ObjectWriter) -> Builder {
        Builder::of_object(
            &self.recipe,
            self.sources(),
            Arc::clone(wanted.boots),
            self.batcher.clone(),
            wanted.range,
            writer,
        )
    }

    /// Takes what the ring has next; says where that ends, which is `from` when there is nothing.
    async fn grow_object(&self, builder: Builder, from: Seq) -> Result<(Builder, Seq), Stop> {
        if let Some(kept) = &self.kept {
            let mut builder = builder;
            let end = kept.last().map_or(from, |entry| entry.seq.advance(1));
            builder.take_kept(kept, self.now());
            return Ok((builder, end));
        }
        let chunk = self.read_from(from).await?;
        let mut frames = VecDeque::from(chunk.frames);
        let builder = self.grow_with(builder, &mut frames).await?;
        Ok((builder, chunk.end))
    }
}

/// How the body of a request ended.
enum Fed {
    Whole,
    Stalled,
    Refused,
    Changed,
}

/// Hands bytes over in pieces; says why it could not.
async fn hand_over(
    bytes: Vec<u8>,
    pieces: &mpsc::Sender<Bytes>,
    stall_max: Duration,
) -> Option<Fed> {
    let mut bytes = Bytes::from(bytes);
    while !bytes.is_empty() {
        let piece = bytes.split_to(bytes.len().min(PIECE_BYTES));
        match timeout(stall_max, pieces.send(piece)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Some(Fed::Refused),
            Err(_) => return Some(Fed::Stalled),
        }
    }
    None
}

/// A body of known length that comes in pieces.
struct SpooledBody {
    receiver: mpsc::Receiver<Bytes>,
    left: u64,
}

impl Body for SpooledBody {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.receiver.poll_recv(context).map(|piece| match piece {
            Some(piece) => {
                let len = u64::try_from(piece.len()).unwrap_or(u64::MAX);
                self.left = self.left.saturating_sub(len);
                Some(Ok(Frame::data(piece)))
            }
            // The request is not completed, and so nothing is stored.
            None => Some(Err(std::io::Error::other("the object was not completed"))),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

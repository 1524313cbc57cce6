//! The calls of one driver that are under way.

use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use pipeline::delivery::CallId;
use pipeline::destination::{Answer, Request};

use super::exchange::{exchange, request_bytes};
use super::folder::BoundedFolder;
use crate::transport::Transport;

/// A call that was made.
#[derive(Clone, Debug)]
pub(super) struct Call {
    /// Its name in the delivery.
    pub(super) id: CallId,
    /// The units that it carries.
    pub(super) units: Vec<usize>,
    /// Its size.
    pub(super) bytes: u64,
}

type Pending = Pin<Box<dyn Future<Output = Answer>>>;

/// No more of them than the delivery allows.
#[derive(Default)]
pub(super) struct Calls(Vec<(Call, Pending)>);

impl std::fmt::Debug for Calls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|(call, _)| call))
            .finish()
    }
}

impl Calls {
    /// Makes a call; it goes on only while [`Calls::next`] is awaited.
    pub(super) fn begin(
        &mut self,
        id: CallId,
        units: &[usize],
        request: Request,
        transport: Option<Transport>,
        folder: Option<BoundedFolder>,
    ) {
        let call = Call {
            id,
            units: units.to_vec(),
            bytes: request_bytes(&request),
        };
        let answer = async move { exchange(&request, transport.as_ref(), folder.as_ref()).await };
        self.0.push((call, Box::pin(answer)));
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next call that has an answer; nothing, for ever, when there is none under way. Nothing
    /// is lost when this is dropped and asked again.
    pub(super) async fn next(&mut self) -> (Call, Answer) {
        if self.0.is_empty() {
            return pending().await;
        }
        poll_fn(|context| {
            for (at, (_, answer)) in self.0.iter_mut().enumerate() {
                if let Poll::Ready(answer) = answer.as_mut().poll(context) {
                    let (call, _) = self.0.remove(at);
                    return Poll::Ready((call, answer));
                }
            }
            Poll::Pending
        })
        .await
    }
}

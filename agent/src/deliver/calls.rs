//! The calls of one driver that are under way.
//!
//! Each is a task of its own: it goes on while its driver waits for a sync or for credentials, so
//! that an answer that has come is not found too late and taken for none.

use std::future::{Future as _, pending, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use pipeline::delivery::CallId;
use pipeline::destination::{Answer, Request, TransportError};
use tokio::task::{JoinHandle, spawn_local};

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

/// No more of them than the delivery allows.
#[derive(Default)]
pub(super) struct Calls(Vec<(Call, JoinHandle<Answer>)>);

impl std::fmt::Debug for Calls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|(call, _)| call))
            .finish()
    }
}

impl Calls {
    /// Makes a call; it is cut off when this is dropped.
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
        self.0.push((call, spawn_local(answer)));
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
                if let Poll::Ready(answer) = Pin::new(answer).poll(context) {
                    let (call, _) = self.0.remove(at);
                    let answer = answer.unwrap_or_else(|error| {
                        Answer::Http(Err(TransportError::Other(error.to_string())))
                    });
                    return Poll::Ready((call, answer));
                }
            }
            Poll::Pending
        })
        .await
    }
}

impl Drop for Calls {
    fn drop(&mut self) {
        for (_, answer) in &self.0 {
            answer.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, TcpListener};
    use std::sync::Arc;
    use std::sync::mpsc::sync_channel;
    use std::time::Duration;

    use diskring::Seq;
    use pipeline::config::RetryConfig;
    use pipeline::delivery::{Delivery, Remainder};
    use pipeline::destination::HttpRequest;
    use tokio::task::{LocalSet, spawn_blocking};

    use super::*;
    use crate::clock::Clock;

    /// Its driver waits for a sync of a slow card, longer than a request may take, while the answer
    /// comes in time.
    #[test]
    fn an_answer_in_time_is_an_answer_whenever_it_is_looked_at() {
        const TIMEOUT: Duration = Duration::from_millis(300);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (answered, has_answered) = sync_channel(1);
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            assert!(stream.read(&mut [0; 1024]).unwrap() > 0);
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
            stream.write_all(answer).unwrap();
            answered.send(std::time::Instant::now()).unwrap();
            // The connection stays until the other side ends it.
            assert_eq!(stream.read(&mut [0; 1]).unwrap_or(0), 0);
        });
        let request = Request::Http(HttpRequest {
            method: "POST",
            url: format!("http://127.0.0.1:{port}/"),
            headers: Vec::new(),
            body: Arc::new(b"x".to_vec()),
            timeout: TIMEOUT,
        });
        let runtime = crate::app::runtime().unwrap();
        let answer = LocalSet::new().block_on(&runtime, async move {
            let transport = Transport::direct(Clock::start()).unwrap();
            let mut calls = Calls::default();
            let retry = RetryConfig {
                initial: TIMEOUT,
                max: TIMEOUT,
                give_up_after: None,
                timeout: TIMEOUT,
            };
            let delivery = Delivery::new(&retry, Remainder::Whole, Seq::ZERO);
            let call = delivery.unwrap().handle_sent();
            calls.begin(call, &[0], request, Some(transport), None);
            let wait = move || {
                let at = has_answered.recv().unwrap();
                let left = (TIMEOUT * 2).saturating_sub(at.elapsed());
                std::thread::park_timeout(left);
            };
            spawn_blocking(wait).await.unwrap();
            calls.next().await.1
        });
        assert!(matches!(answer, Answer::Http(Ok(_))), "{answer:?}");
    }
}

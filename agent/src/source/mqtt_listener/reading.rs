//! Reading from a connection that may have nothing to say for days.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Poll, ready};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf, ReadHalf};

use crate::source::mqtt::Io;

/// How much is read at once, into the stack.
const READ_BYTES: usize = 16 * 1024;

/// Reads into the stack first, so that a silent connection needs no buffer. May be cancelled.
pub(super) async fn read_some(
    read: &mut ReadHalf<Box<dyn Io>>,
    inbox: &mut BytesMut,
) -> io::Result<usize> {
    poll_fn(|context| {
        let mut bytes = [0; READ_BYTES];
        let mut buffer = ReadBuf::new(&mut bytes);
        ready!(Pin::new(&mut *read).poll_read(context, &mut buffer))?;
        inbox.extend_from_slice(buffer.filled());
        Poll::Ready(Ok(buffer.filled().len()))
    })
    .await
}

/// Reads what nobody wants any more.
pub(super) async fn read_to_end(read: &mut ReadHalf<Box<dyn Io>>) {
    let mut bytes = [0; 512];
    while read.read(&mut bytes).await.is_ok_and(|count| count > 0) {}
}

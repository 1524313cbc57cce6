//! One attempt: a request goes out, an answer comes back.

use std::sync::Arc;

use pipeline::destination::{Answer, FileError, Request, TransportError};

use super::folder::BoundedFolder;
use crate::transport::Transport;

/// Makes one request and waits for what comes back.
pub(super) async fn exchange(
    request: &Request,
    transport: Option<&Transport>,
    folder: Option<&BoundedFolder>,
) -> Answer {
    match request {
        Request::Http(request) => Answer::Http(match transport {
            Some(transport) => transport.send(request).await,
            None => Err(TransportError::Other("no transport for HTTP".to_owned())),
        }),
        Request::File(file) => Answer::File(match folder {
            Some(folder) => folder
                .write(file.name.clone(), Arc::clone(&file.bytes))
                .await
                .map(drop),
            None => Err(FileError::Io("no folder".to_owned())),
        }),
    }
}

/// How much is sent.
pub(super) fn request_bytes(request: &Request) -> u64 {
    let len = match request {
        Request::Http(request) => request.body.len(),
        Request::File(file) => file.bytes.len(),
    };
    u64::try_from(len).unwrap_or(u64::MAX)
}

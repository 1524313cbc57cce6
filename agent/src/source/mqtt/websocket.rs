//! A WebSocket that looks like a stream of bytes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pipeline::websocket::{
    Decoder, Opcode, RESPONSE_BYTES_MAX, WebSocketError, check_response, upgrade_request,
    write_frame,
};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::{Io, Lost};

/// How much is read at once, and how much of what is written may wait as frames.
const BUFFER_BYTES: usize = 16 * 1024;

/// More answers to pings than this need not wait.
const PONGS_BYTES_MAX: usize = 64 * 1024;

/// Opens a WebSocket for MQTT over a connection that stands.
pub(super) async fn open(
    mut stream: Box<dyn Io>,
    host: &str,
    port: u16,
    path: &str,
) -> Result<WebSocket, Lost> {
    let mut nonce = [0; 16];
    SystemRandom::new()
        .fill(&mut nonce)
        .map_err(|_| Lost::Io(io::Error::other("no randomness")))?;
    let host = if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    };
    let request = upgrade_request(&host, path, nonce);
    stream
        .write_all(request.as_bytes())
        .await
        .map_err(Lost::Io)?;
    stream.flush().await.map_err(Lost::Io)?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == RESPONSE_BYTES_MAX {
            return Err(Lost::WebSocket(WebSocketError::NotHttp));
        }
        // Byte by byte: what follows is a frame.
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(error) if head.is_empty() => return Err(Lost::Io(error)),
            Err(_) => return Err(Lost::WebSocket(WebSocketError::NotHttp)),
        }
    }
    check_response(&head, nonce).map_err(Lost::WebSocket)?;
    Ok(WebSocket {
        stream,
        random: SystemRandom::new(),
        decoder: Decoder::default(),
        data: Vec::new(),
        taken: 0,
        out: Vec::new(),
        written: 0,
    })
}

/// What is read are the payloads of frames, what is written becomes frames.
pub(super) struct WebSocket {
    stream: Box<dyn Io>,
    random: SystemRandom,
    decoder: Decoder,
    /// Payload that was not read yet, from `taken` on.
    data: Vec<u8>,
    taken: usize,
    /// Frames that are not written yet, from `written` on.
    out: Vec<u8>,
    written: usize,
}

impl WebSocket {
    fn frame(&mut self, opcode: Opcode, payload: &[u8]) -> io::Result<()> {
        let mut mask = [0; 4];
        self.random
            .fill(&mut mask)
            .map_err(|_| io::Error::other("no randomness"))?;
        write_frame(&mut self.out, opcode, payload, mask);
        Ok(())
    }

    /// Writes the frames that wait.
    fn poll_out(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.out.len() {
            let rest = self.out.get(self.written..).unwrap_or_default();
            let count = ready!(Pin::new(&mut self.stream).poll_write(context, rest))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += count;
        }
        self.out.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }

    /// Answers pings, without waiting for it.
    fn answer(&mut self, pongs: &[Vec<u8>], context: &mut Context<'_>) -> io::Result<()> {
        for payload in pongs {
            if self.out.len() < PONGS_BYTES_MAX {
                self.frame(Opcode::Pong, payload)?;
            }
        }
        let written = match self.poll_out(context) {
            Poll::Ready(Ok(())) => Pin::new(&mut self.stream).poll_flush(context),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        };
        match written {
            Poll::Ready(written) => written,
            Poll::Pending => Ok(()),
        }
    }
}

impl AsyncRead for WebSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            let waiting = this.data.get(this.taken..).unwrap_or_default();
            if !waiting.is_empty() {
                let count = waiting.len().min(buf.remaining());
                buf.put_slice(waiting.get(..count).unwrap_or_default());
                this.taken += count;
                return Poll::Ready(Ok(()));
            }
            this.data.clear();
            this.taken = 0;
            let mut bytes = [0; BUFFER_BYTES];
            let mut input = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut this.stream).poll_read(context, &mut input))?;
            if input.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            let mut pongs = Vec::new();
            match this
                .decoder
                .decode(input.filled(), &mut this.data, &mut pongs)
            {
                Ok(()) => {}
                // What came before the end is still read.
                Err(WebSocketError::Closed(_)) if !this.data.is_empty() => {}
                Err(WebSocketError::Closed(_)) => return Poll::Ready(Ok(())),
                Err(error) => {
                    let error = io::Error::new(io::ErrorKind::InvalidData, error);
                    return Poll::Ready(Err(error));
                }
            }
            if !pongs.is_empty() {
                this.answer(&pongs, context)?;
            }
        }
    }
}

impl AsyncWrite for WebSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.out.len() >= BUFFER_BYTES {
            ready!(self.poll_out(context))?;
        }
        let taken = buf.get(..buf.len().min(BUFFER_BYTES)).unwrap_or_default();
        self.frame(Opcode::Binary, taken)?;
        if let Poll::Ready(Err(error)) = self.poll_out(context) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(taken.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_out(context))?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_out(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

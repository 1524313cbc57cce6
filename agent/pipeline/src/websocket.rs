//! WebSocket as a client needs it to carry a stream of bytes: RFC 6455.
//!
//! Decides what is said to open it, whether the answer is right, how bytes become frames and
//! frames bytes. Messages have no meaning here: MQTT does not care where a frame ends.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The longest answer to the request to open.
pub const RESPONSE_BYTES_MAX: usize = 16 * 1024;

/// The longest payload of a control frame.
const CONTROL_BYTES_MAX: usize = 125;

/// What RFC 6455 hashes beside the key.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WebSocketError {
    /// The answer to the request is not HTTP or too long.
    NotHttp,
    /// The server answered something else than that it changes the protocol.
    Status(u16),
    /// The answer does not belong to the request, or another protocol was chosen.
    Handshake(&'static str),
    /// A frame that a server may not send.
    Frame(&'static str),
    /// The server has closed, with this code.
    Closed(Option<u16>),
}

impl fmt::Display for WebSocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotHttp => f.write_str("it does not answer in HTTP"),
            Self::Status(404) => f.write_str("it answers 404: the path of the URL is not right"),
            Self::Status(status) => write!(f, "it answers with HTTP status {status}"),
            Self::Handshake(what) => write!(f, "its answer is no WebSocket: {what}"),
            Self::Frame(what) => write!(f, "it sent a frame with {what}"),
            Self::Closed(None) => f.write_str("it closed the WebSocket"),
            Self::Closed(Some(code)) => write!(f, "it closed the WebSocket with code {code}"),
        }
    }
}

impl std::error::Error for WebSocketError {}

/// The request that opens a WebSocket for MQTT. `nonce` is random.
pub fn upgrade_request(authority: &str, path: &str, nonce: [u8; 16]) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {authority}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n",
        STANDARD.encode(nonce)
    )
}

/// Checks the head of the answer to the request that carried `nonce`. It must end with its empty
/// line.
pub fn check_response(head: &[u8], nonce: [u8; 16]) -> Result<(), WebSocketError> {
    let head = std::str::from_utf8(head).map_err(|_| WebSocketError::NotHttp)?;
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap_or_default();
    let status = status
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.split(' ').nth(1))
        .and_then(|status| status.parse().ok())
        .ok_or(WebSocketError::NotHttp)?;
    if status != 101 {
        return Err(WebSocketError::Status(status));
    }
    let (mut accept, mut protocol) = (None, None);
    for line in lines {
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        if name.eq_ignore_ascii_case("sec-websocket-accept") {
            accept = Some(value.trim());
        } else if name.eq_ignore_ascii_case("sec-websocket-protocol") {
            protocol = Some(value.trim());
        }
    }
    if accept != Some(accept_of(nonce).as_str()) {
        return Err(WebSocketError::Handshake("the key is not answered"));
    }
    if protocol.is_some_and(|protocol| protocol != "mqtt") {
        return Err(WebSocketError::Handshake("it does not speak MQTT there"));
    }
    Ok(())
}

fn accept_of(nonce: [u8; 16]) -> String {
    let text = STANDARD.encode(nonce) + GUID;
    let algorithm = &ring::digest::SHA1_FOR_LEGACY_USE_ONLY;
    STANDARD.encode(ring::digest::digest(algorithm, text.as_bytes()))
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// Bytes.
    Binary,
    /// The end.
    Close,
    /// The answer to a ping.
    Pong,
}

/// Writes a frame as a client must: masked.
pub fn write_frame(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], mask: [u8; 4]) {
    out.push(match opcode {
        Opcode::Binary => 0x82,
        Opcode::Close => 0x88,
        Opcode::Pong => 0x8a,
    });
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(len @ ..=125), _) => out.push(0x80 | len),
        (_, Ok(len)) => {
            out.push(0x80 | 0x7e);
            out.extend([len >> 8, len & 0xff].map(|byte| u8::try_from(byte).unwrap_or(0)));
        }
        _ => {
            out.push(0x80 | 0x7f);
            let len = u64::try_from(payload.len()).unwrap_or(u64::MAX);
            out.extend(len.to_le_bytes().iter().rev());
        }
    }
    out.extend(mask);
    let masked = payload.iter().zip(mask.iter().cycle());
    out.extend(masked.map(|(byte, mask)| byte ^ mask));
}

/// Takes frames of a server apart, however the bytes are cut.
#[derive(Debug, Default)]
pub struct Decoder {
    /// The head of a frame that has not come whole.
    head: Vec<u8>,
    frame: Option<Frame>,
    /// The payload of a control frame so far.
    control: Vec<u8>,
    /// Whether the first frame of a message has come and not the last.
    is_in_message: bool,
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    opcode: u8,
    left: u64,
}

impl Decoder {
    /// Takes `input`; appends the bytes it carries to `data`, and what pings want back to `pongs`.
    pub fn decode(
        &mut self,
        mut input: &[u8],
        data: &mut Vec<u8>,
        pongs: &mut Vec<Vec<u8>>,
    ) -> Result<(), WebSocketError> {
        loop {
            let Some(frame) = &mut self.frame else {
                let Some((&byte, rest)) = input.split_first() else {
                    return Ok(());
                };
                input = rest;
                self.head.push(byte);
                self.frame = self.read_head()?;
                if self.frame.is_some() {
                    self.head.clear();
                }
                continue;
            };
            let taken = usize::try_from(frame.left)
                .unwrap_or(usize::MAX)
                .min(input.len());
            let (payload, rest) = input.split_at(taken);
            input = rest;
            frame.left -= u64::try_from(taken).unwrap_or(0);
            if frame.opcode & 8 == 0 {
                data.extend_from_slice(payload);
            } else {
                self.control.extend_from_slice(payload);
            }
            if frame.left > 0 {
                return Ok(());
            }
            let opcode = frame.opcode;
            self.frame = None;
            if opcode & 8 != 0 {
                let payload = std::mem::take(&mut self.control);
                match opcode {
                    8 => return Err(WebSocketError::Closed(close_code(&payload))),
                    9 => pongs.push(payload),
                    _ => {}
                }
            }
        }
    }

    /// The frame whose head has come, once it has come whole.
    fn read_head(&mut self) -> Result<Option<Frame>, WebSocketError> {
        let (Some(&first), Some(&second)) = (self.head.first(), self.head.get(1)) else {
            return Ok(None);
        };
        if first & 0x70 != 0 {
            return Err(WebSocketError::Frame("reserved bits"));
        }
        if second & 0x80 != 0 {
            return Err(WebSocketError::Frame("a mask"));
        }
        let more = self.head.get(2..).unwrap_or_default();
        let (len, len_bytes) = match second {
            126 => (be(more), 2),
            127 => (be(more), 8),
            len => (u64::from(len), 0),
        };
        if more.len() < len_bytes {
            return Ok(None);
        }
        let (opcode, is_last) = (first & 0x0f, first & 0x80 != 0);
        match opcode {
            0 if !self.is_in_message => return Err(WebSocketError::Frame("nothing to go on with")),
            2 if self.is_in_message => return Err(WebSocketError::Frame("a message in a message")),
            0 | 2 => self.is_in_message = !is_last,
            1 => return Err(WebSocketError::Frame("text, which MQTT forbids")),
            8..=10 if !is_last || len > CONTROL_LEN_MAX => {
                return Err(WebSocketError::Frame("too much control"));
            }
            8..=10 => {}
            _ => return Err(WebSocketError::Frame("an unknown opcode")),
        }
        if len > u64::MAX >> 1 {
            return Err(WebSocketError::Frame("an impossible length"));
        }
        Ok(Some(Frame { opcode, left: len }))
    }
}

const CONTROL_LEN_MAX: u64 = 125;
const _: () = assert!(CONTROL_BYTES_MAX == 125);

fn be(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .take(8)
        .fold(0, |number, byte| (number << 8) | u64::from(*byte))
}

fn close_code(payload: &[u8]) -> Option<u16> {
    u16::try_from(be(payload.get(..2)?)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 6455, section 1.3.
    const NONCE: [u8; 16] = *b"the sample nonce";
    const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

    #[test]
    fn opening() {
        let request = upgrade_request("b:80", "/mqtt", NONCE);
        assert!(
            request.starts_with("GET /mqtt HTTP/1.1\r\nHost: b:80\r\n"),
            "{request}"
        );
        assert!(request.contains("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"));
        let check = |answer: &str, expected: Result<(), WebSocketError>| {
            assert_eq!(
                check_response(answer.as_bytes(), NONCE),
                expected,
                "{answer}"
            );
        };
        let good = format!("HTTP/1.1 101 Switching\r\nsec-websocket-accept: {ACCEPT}\r\n");
        check(&format!("{good}\r\n"), Ok(()));
        check(
            &format!("{good}Sec-WebSocket-Protocol: mqtt\r\n\r\n"),
            Ok(()),
        );
        let other = WebSocketError::Handshake("it does not speak MQTT there");
        check(
            &format!("{good}Sec-WebSocket-Protocol: chat\r\n\r\n"),
            Err(other),
        );
        check(
            "HTTP/1.1 404 Not Found\r\n\r\n",
            Err(WebSocketError::Status(404)),
        );
        check(
            "HTTP/1.1 101\r\n\r\n",
            Err(WebSocketError::Handshake("the key is not answered")),
        );
        check(" \u{2}", Err(WebSocketError::NotHttp));
    }

    #[test]
    fn frames_are_read_however_they_are_cut() {
        let mut stream = vec![0x82, 3, b'a', b'b', b'c', 0x89, 1, b'p'];
        stream.extend([0x02, 126, 0, 130]);
        stream.extend([b'x'; 130]);
        // A pong between the frames of a message.
        stream.extend([0x8a, 0, 0x80, 127, 0, 0, 0, 0, 0, 0, 0, 2, b'y', b'z']);
        let expected = ["abc", &"x".repeat(130), "yz"].concat();
        for size in [1, 2, 3, 7, stream.len()] {
            let (mut decoder, mut data, mut pongs) = (Decoder::default(), Vec::new(), Vec::new());
            for piece in stream.chunks(size) {
                decoder.decode(piece, &mut data, &mut pongs).unwrap();
            }
            assert_eq!(
                String::from_utf8(data).unwrap(),
                expected,
                "pieces of {size}"
            );
            assert_eq!(pongs, [b"p"]);
        }
    }

    #[test]
    fn frames_that_a_server_may_not_send() {
        let check = |bytes: &[u8], expected: WebSocketError| {
            let error = Decoder::default().decode(bytes, &mut Vec::new(), &mut Vec::new());
            assert_eq!(error, Err(expected), "{bytes:02x?}");
        };
        check(&[0x88, 2, 3, 0xe9], WebSocketError::Closed(Some(1001)));
        check(&[0x88, 0], WebSocketError::Closed(None));
        check(&[0x82, 0x81], WebSocketError::Frame("a mask"));
        check(&[0xc2, 1], WebSocketError::Frame("reserved bits"));
        check(
            &[0x81, 1],
            WebSocketError::Frame("text, which MQTT forbids"),
        );
        check(&[0x80, 1], WebSocketError::Frame("nothing to go on with"));
        check(
            &[0x02, 0, 0x82, 0],
            WebSocketError::Frame("a message in a message"),
        );
        check(
            &[0x89, 126, 0, 126],
            WebSocketError::Frame("too much control"),
        );
        check(&[0x83, 0], WebSocketError::Frame("an unknown opcode"));
        let endless = [0x82, 127, 0xff, 0, 0, 0, 0, 0, 0, 0];
        check(&endless, WebSocketError::Frame("an impossible length"));
    }

    #[test]
    fn frames_are_written_masked() {
        for len in [0, 1, 125, 126, 65_535, 65_536] {
            let payload = vec![7_u8; len];
            let mut out = Vec::new();
            write_frame(&mut out, Opcode::Binary, &payload, [1, 2, 3, 4]);
            assert_eq!(out[0], 0x82);
            assert_eq!(out[1] & 0x80, 0x80);
            let head = out.len() - len;
            let unmasked = out[head..].iter().zip([1, 2, 3, 4].iter().cycle());
            assert!(
                unmasked.map(|(byte, mask)| byte ^ mask).eq(payload),
                "{len}"
            );
            let told = match out[1] & 0x7f {
                126 => be(&out[2..4]),
                127 => be(&out[2..10]),
                small => u64::from(small),
            };
            assert_eq!(told, u64::try_from(len).unwrap());
        }
    }

    /// xorshift, so that a seed gives the same bytes everywhere.
    #[test]
    fn random_bytes_never_panic() {
        for seed in 1..=20_000_u64 {
            let mut state = seed;
            let mut bytes = Vec::new();
            for _ in 0..seed % 40 {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                bytes.push(u8::try_from(state >> 56).unwrap());
            }
            let (mut data, mut pongs) = (Vec::new(), Vec::new());
            let mut decoder = Decoder::default();
            drop(decoder.decode(&bytes, &mut data, &mut pongs));
            assert!(data.len() <= bytes.len(), "seed {seed}");
            drop(check_response(&bytes, NONCE));
        }
    }
}

//! Where messages begin and end in a TCP stream (RFC 6587): counted octets or a newline, decided
//! anew for each message, because senders mix them.
//!
//! A message that begins with a number, a space and a priority (`<13>`) is counted; any other ends at
//! a newline or a NUL. The buffer holds at most one message of the allowed size and what was last handed
//! in; how the stream is split makes no difference to the messages.

/// One message as it was framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Its bytes, without newline or count.
    pub bytes: &'a [u8],
    /// Whether more of it was sent than is taken, or less than was announced.
    pub cut: bool,
}

/// Takes a stream apart.
#[derive(Debug)]
pub struct Framer {
    message_bytes_max: usize,
    buffer: Vec<u8>,
    /// What of the buffer is done with.
    done: usize,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Waiting for enough of a message to tell its framing.
    Start,
    /// Waiting for so many octets.
    Counted(usize),
    /// Waiting for a newline; so many bytes were searched.
    Line(usize),
    /// Waiting for the end of a counted message that is cut: so many octets are left.
    SkipCounted(usize),
    /// Waiting for the newline of a message that is cut.
    SkipLine,
}

impl Framer {
    /// Messages longer than `message_bytes_max` will be cut.
    pub const fn new(message_bytes_max: usize) -> Self {
        Self {
            message_bytes_max,
            buffer: Vec::new(),
            done: 0,
            state: State::Start,
        }
    }

    /// Takes bytes of the stream; [`Framer::poll_message`] follows until it has no more.
    pub fn handle_bytes(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.done.min(self.buffer.len()));
        self.done = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next complete message.
    pub fn poll_message(&mut self) -> Option<Message<'_>> {
        let (start, len, cut) = loop {
            let rest = self.buffer.get(self.done..).unwrap_or_default();
            let start = self.done;
            match self.state {
                State::Start => {
                    let blank = rest.iter().take_while(|byte| is_filler(**byte)).count();
                    self.done += blank;
                    match detect(rest.get(blank..).unwrap_or_default()) {
                        Framing::Unknown => return None,
                        Framing::Counted { header, count } => {
                            self.done += header;
                            self.state = State::Counted(count);
                        }
                        Framing::Line => self.state = State::Line(0),
                    }
                }
                State::Counted(count) => {
                    let len = count.min(self.message_bytes_max);
                    if rest.len() < len {
                        return None;
                    }
                    self.done += len;
                    self.state = match count - len {
                        0 => State::Start,
                        left => State::SkipCounted(left),
                    };
                    break (start, len, count > len);
                }
                State::Line(searched) => match find_end(rest, searched) {
                    Some(end) => {
                        self.done += end + 1;
                        self.state = State::Start;
                        let len = end.min(self.message_bytes_max);
                        break (start, len, end > len);
                    }
                    None if rest.len() > self.message_bytes_max => {
                        self.done = self.buffer.len();
                        self.state = State::SkipLine;
                        break (start, self.message_bytes_max, true);
                    }
                    None => {
                        self.state = State::Line(rest.len());
                        return None;
                    }
                },
                State::SkipCounted(left) => {
                    let len = left.min(rest.len());
                    self.done += len;
                    match left - len {
                        0 => self.state = State::Start,
                        left => {
                            self.state = State::SkipCounted(left);
                            return None;
                        }
                    }
                }
                State::SkipLine => {
                    let Some(end) = find_end(rest, 0) else {
                        self.done = self.buffer.len();
                        return None;
                    };
                    self.done += end + 1;
                    self.state = State::Start;
                }
            }
        };
        let bytes = self.buffer.get(start..start + len).unwrap_or_default();
        Some(Message { bytes, cut })
    }

    /// Gives the buffer back when nothing waits in it, so that a silent connection costs nothing.
    pub fn release(&mut self) {
        if self.done >= self.buffer.len() {
            self.buffer = Vec::new();
            self.done = 0;
        }
    }

    /// What was left when the stream ended, after [`Framer::poll_message`] had no more.
    pub fn handle_end(&mut self) -> Option<Message<'_>> {
        let state = std::mem::replace(&mut self.state, State::Start);
        let start = std::mem::replace(&mut self.done, self.buffer.len());
        let bytes = self.buffer.get(start..).unwrap_or_default();
        let cut = match state {
            State::Start | State::Line(_) => false,
            State::Counted(_) => true,
            State::SkipCounted(_) | State::SkipLine => return None,
        };
        (!bytes.is_empty()).then_some(Message { bytes, cut })
    }
}

enum Framing {
    /// More bytes are needed.
    Unknown,
    /// So many octets follow a header of so many bytes.
    Counted {
        header: usize,
        count: usize,
    },
    Line,
}

fn detect(rest: &[u8]) -> Framing {
    let digits = run_of_digits(rest, COUNT_DIGITS_MAX + 1);
    if digits == 0 || digits > COUNT_DIGITS_MAX {
        return match rest {
            [] => Framing::Unknown,
            _ => Framing::Line,
        };
    }
    let (Some(count), Some(behind)) = (rest.get(..digits), rest.get(digits..)) else {
        return Framing::Line;
    };
    let message = match behind {
        [] => return Framing::Unknown,
        [b' ', message @ ..] => message,
        _ => return Framing::Line,
    };
    match has_priority(message) {
        None => Framing::Unknown,
        Some(false) => Framing::Line,
        Some(true) => match std::str::from_utf8(count)
            .ok()
            .and_then(|count| count.parse().ok())
        {
            None | Some(0) => Framing::Line,
            Some(count) => Framing::Counted {
                header: digits + 1,
                count,
            },
        },
    }
}

/// Whether it begins with a number in angle brackets; `None` when more bytes are needed to tell.
fn has_priority(message: &[u8]) -> Option<bool> {
    let inside = match message {
        [] => return None,
        [b'<', inside @ ..] => inside,
        _ => return Some(false),
    };
    let digits = run_of_digits(inside, PRIORITY_DIGITS_MAX);
    inside.get(digits).map(|end| digits > 0 && *end == b'>')
}

/// How many digits `bytes` begins with, `most` at most.
fn run_of_digits(bytes: &[u8], most: usize) -> usize {
    let first = bytes.iter().take(most);
    first.take_while(|byte| byte.is_ascii_digit()).count()
}

fn find_end(rest: &[u8], searched: usize) -> Option<usize> {
    let unsearched = rest.get(searched..)?;
    memchr::memchr2(b'\n', 0, unsearched).map(|end| searched + end)
}

/// What may stand between messages.
const fn is_filler(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r' | 0)
}

/// A count of nine digits fits every machine's `usize`. Zeros in front are taken although RFC 6587
/// has none.
const COUNT_DIGITS_MAX: usize = 9;

const PRIORITY_DIGITS_MAX: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    /// A count, a space and a priority, of which the last byte has not come.
    const HEADER_BYTES_MAX: usize = COUNT_DIGITS_MAX + 1 + PRIORITY_DIGITS_MAX + 2;

    fn frame(pieces: &[&[u8]], message_bytes_max: usize) -> Vec<(Vec<u8>, bool)> {
        let mut framer = Framer::new(message_bytes_max);
        let mut messages = Vec::new();
        for piece in pieces {
            framer.handle_bytes(piece);
            while let Some(message) = framer.poll_message() {
                messages.push((message.bytes.to_vec(), message.cut));
            }
            framer.release();
            let kept = framer.buffer.len() - framer.done;
            assert!(kept <= message_bytes_max + HEADER_BYTES_MAX, "{kept} kept");
        }
        if let Some(message) = framer.handle_end() {
            messages.push((message.bytes.to_vec(), message.cut));
        }
        messages
    }

    /// Every split of `stream` into two, and into single bytes, gives `expected`; `|` at the end
    /// of an expected message says that it is cut.
    fn check(stream: &[u8], message_bytes_max: usize, expected: &[&str]) {
        let expected: Vec<(Vec<u8>, bool)> = expected
            .iter()
            .map(|text| match text.strip_suffix('|') {
                Some(text) => (text.as_bytes().to_vec(), true),
                None => (text.as_bytes().to_vec(), false),
            })
            .collect();
        for split in 0..=stream.len() {
            let (one, two) = stream.split_at(split);
            let got = frame(&[one, two], message_bytes_max);
            assert_eq!(got, expected, "{stream:?} split at {split}");
        }
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(frame(&bytes, message_bytes_max), expected, "{stream:?}");
    }

    #[test]
    fn framings_are_told_apart_message_by_message() {
        check(b"", 100, &[]);
        check(b"\n\r\n\0", 100, &[]);
        check(b"<1>a\n<2>b\r\n<3>c", 100, &["<1>a", "<2>b\r", "<3>c"]);
        check(b"<1>a\0<2>b\0", 100, &["<1>a", "<2>b"]);
        check(b"4 <1>a5 <2>bc", 100, &["<1>a", "<2>bc"]);
        check(
            b"6 <1>a\nb5 <2>c\n<3>d\n4 <4>e\n",
            100,
            &["<1>a\nb", "<2>c\n", "<3>d", "<4>e"],
        );
        check(b"4 <1>a\n4 <2>b\n", 100, &["<1>a", "<2>b"]);
        check(b"004 <1>a000000004 <2>b", 100, &["<1>a", "<2>b"]);
        check(
            b"4 <1>a\0\r\n<2>b\r\n4 <3>c\0",
            100,
            &["<1>a", "<2>b\r", "<3>c"],
        );
        // The count says less than the message has: the rest is a line of its own.
        check(b"4 <1>abc\n4 <2>x", 100, &["<1>a", "bc", "<2>x"]);
        // It says more: it takes from the next one.
        check(b"8 <1>a\n4 <2>b", 100, &["<1>a\n4 <", "2>b"]);
    }

    #[test]
    fn numbers_that_count_nothing_are_lines() {
        check(
            b"2026-11-23T00:00:00Z a\n",
            100,
            &["2026-11-23T00:00:00Z a"],
        );
        check(b"12 monkeys\n", 100, &["12 monkeys"]);
        check(b"0 <1>a\n", 100, &["0 <1>a"]);
        check(b"1234567890 <1>a\n", 100, &["1234567890 <1>a"]);
        check(b"000 <1>a\n", 100, &["000 <1>a"]);
        for unfinished in ["12", "12 ", "12 <", "12 <1", "12 <191"] {
            check(unfinished.as_bytes(), 100, &[unfinished]);
        }
        for text in ["3 <b>bold</b>", "3 <>a", "3 <1234>a", "3 < 1>a", "3  <1>a"] {
            check(format!("{text}\n").as_bytes(), 100, &[text]);
        }
    }

    #[test]
    fn too_long_is_cut_and_the_next_one_is_whole() {
        check(b"<1>abcdef\n<2>x\n", 5, &["<1>ab|", "<2>x"]);
        check(b"<1>ab\n<2>x\n", 5, &["<1>ab", "<2>x"]);
        check(b"<1>abc\n<2>x\n", 5, &["<1>ab|", "<2>x"]);
        check(b"9 <1>abcdef4 <2>x", 5, &["<1>ab|", "<2>x"]);
        check(b"5 <1>ab4 <2>x", 5, &["<1>ab", "<2>x"]);
        check(b"<1>abcdefghijklmnopqrstuvwxyz", 5, &["<1>ab|"]);
    }

    #[test]
    fn a_stream_that_ends_early_gives_what_came() {
        check(b"<1>a\n<2>b", 100, &["<1>a", "<2>b"]);
        check(b"9 <1>a", 100, &["<1>a|"]);
        check(b"999999999 <1>a", 3, &["<1>|"]);
    }

    #[test]
    fn any_bytes_in_any_pieces_give_the_same_messages() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = move |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        let alphabet = b"\n\0 <>0123456789a\r";
        for round in 0..500 {
            let stream: Vec<u8> = (0..random(60))
                .map(|_| {
                    let n = random(u64::try_from(alphabet.len()).unwrap());
                    alphabet[usize::try_from(n).unwrap()]
                })
                .collect();
            let whole = frame(&[&stream], 7);
            let mut pieces = Vec::new();
            let mut rest = stream.as_slice();
            while !rest.is_empty() {
                let len = usize::try_from(random(9) + 1).unwrap().min(rest.len());
                let (piece, after) = rest.split_at(len);
                pieces.push(piece);
                rest = after;
            }
            assert_eq!(frame(&pieces, 7), whole, "round {round}: {stream:?}");
        }
    }
}

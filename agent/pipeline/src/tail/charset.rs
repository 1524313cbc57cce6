//! How a file's bytes are characters, and where its lines end.
//!
//! UTF-8 is not looked at: its bytes are kept as they are. What is anything else becomes UTF-8;
//! what is no character becomes U+FFFD and is told.

use std::borrow::Cow;

use memchr::{memchr_iter, memrchr_iter};

use crate::config::Encoding;

const UTF_8_BOM: &[u8] = b"\xef\xbb\xbf";
const UTF_16LE_BOM: &[u8] = b"\xff\xfe";
const UTF_16BE_BOM: &[u8] = b"\xfe\xff";

/// How the bytes of one file are characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Charset {
    /// Kept as it is.
    #[default]
    Utf8,
    /// Units of two bytes, the lower one first.
    Utf16Le,
    /// Units of two bytes, the higher one first.
    Utf16Be,
    /// ISO 8859-1: each byte is a character.
    Latin1,
}

/// Text of a line, as UTF-8.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded<'a> {
    /// Its bytes.
    pub bytes: Cow<'a, [u8]>,
    /// Whether something of it was no character and is U+FFFD now.
    pub replaced: bool,
}

impl Charset {
    /// That of a file that begins with `head`. UTF-16 without a mark is little-endian, as Windows
    /// writes it.
    pub fn of(encoding: Encoding, head: &[u8]) -> Self {
        match encoding {
            Encoding::Utf8 => Self::Utf8,
            Encoding::Utf16 if head.starts_with(UTF_16BE_BOM) => Self::Utf16Be,
            Encoding::Utf16 | Encoding::Utf16Le => Self::Utf16Le,
            Encoding::Utf16Be => Self::Utf16Be,
            Encoding::Latin1 => Self::Latin1,
        }
    }

    /// The bytes that end a line.
    pub const fn newline(self) -> &'static [u8] {
        match self {
            Self::Utf8 | Self::Latin1 => b"\n",
            Self::Utf16Le => b"\n\0",
            Self::Utf16Be => b"\0\n",
        }
    }

    /// Where the first end of a line begins in `bytes`, which stand at `offset` of the file.
    pub fn find_newline(self, bytes: &[u8], offset: u64) -> Option<usize> {
        match self {
            Self::Utf8 | Self::Latin1 => memchr::memchr(b'\n', bytes),
            Self::Utf16Le | Self::Utf16Be => {
                memchr_iter(b'\n', bytes).find_map(|place| self.wide_newline(bytes, offset, place))
            }
        }
    }

    /// Where the last line begins that is begun in `bytes`, which stand at `offset` of the file.
    pub fn last_line_start(self, bytes: &[u8], offset: u64) -> Option<usize> {
        let newline = match self {
            Self::Utf8 | Self::Latin1 => memchr::memrchr(b'\n', bytes),
            Self::Utf16Le | Self::Utf16Be => {
                memrchr_iter(b'\n', bytes).find_map(|place| self.wide_newline(bytes, offset, place))
            }
        };
        newline.map(|place| place + self.newline().len())
    }

    /// The place of the line's end that the byte at `place` belongs to, if it belongs to one.
    fn wide_newline(self, bytes: &[u8], offset: u64, place: usize) -> Option<usize> {
        let is_first = offset.is_multiple_of(2) == place.is_multiple_of(2);
        let (start, other) = match self {
            Self::Utf16Le if is_first => (place, bytes.get(place + 1)?),
            Self::Utf16Be if !is_first => {
                let before = place.checked_sub(1)?;
                (before, bytes.get(before)?)
            }
            Self::Utf8 | Self::Latin1 | Self::Utf16Le | Self::Utf16Be => return None,
        };
        (*other == 0).then_some(start)
    }

    /// How much of a chunk without any end of line need not be looked at again.
    pub(super) const fn searched(self, len: usize) -> usize {
        match self {
            Self::Utf8 | Self::Latin1 => len,
            Self::Utf16Le | Self::Utf16Be => len - len % 2,
        }
    }

    /// A line without the carriage return that some systems end it with.
    pub fn trim_line_end(self, line: &[u8]) -> &[u8] {
        let end: &[u8] = match self {
            Self::Utf8 | Self::Latin1 => b"\r",
            Self::Utf16Le => b"\r\0",
            Self::Utf16Be => b"\0\r",
        };
        match line.strip_suffix(end) {
            Some(trimmed) if self.searched(trimmed.len()) == trimmed.len() => trimmed,
            Some(_) | None => line,
        }
    }

    /// The longest part of `line` with at most so many bytes that does not end in the middle of
    /// a character.
    pub fn cut(self, line: &[u8], bytes_max: usize) -> &[u8] {
        let Some(cut) = line.get(..bytes_max) else {
            return line;
        };
        let whole = match self {
            Self::Latin1 => cut.len(),
            Self::Utf16Le | Self::Utf16Be => self.searched(cut.len()),
            Self::Utf8 => match std::str::from_utf8(cut) {
                Err(error) if error.error_len().is_none() => error.valid_up_to(),
                Ok(_) | Err(_) => cut.len(),
            },
        };
        cut.get(..whole).unwrap_or(cut)
    }

    /// The text of a line that begins at `start` of its file, without the mark that may stand
    /// there.
    pub fn decode(self, line: &[u8], start: u64) -> Decoded<'_> {
        let mark = match self {
            Self::Utf8 => UTF_8_BOM,
            Self::Utf16Le => UTF_16LE_BOM,
            Self::Utf16Be => UTF_16BE_BOM,
            Self::Latin1 => b"",
        };
        let line = match line.strip_prefix(mark) {
            Some(rest) if start == 0 => rest,
            Some(_) | None => line,
        };
        match self {
            Self::Utf8 => Decoded {
                bytes: Cow::Borrowed(line),
                replaced: false,
            },
            Self::Latin1 => Decoded {
                bytes: latin1(line),
                replaced: false,
            },
            Self::Utf16Le => utf16(line, u16::from_le_bytes),
            Self::Utf16Be => utf16(line, |[high, low]| u16::from_le_bytes([low, high])),
        }
    }
}

fn latin1(line: &[u8]) -> Cow<'_, [u8]> {
    if line.is_ascii() {
        return Cow::Borrowed(line);
    }
    let text: String = line.iter().map(|byte| char::from(*byte)).collect();
    Cow::Owned(text.into_bytes())
}

fn utf16(line: &[u8], unit: impl Fn([u8; 2]) -> u16) -> Decoded<'static> {
    let (units, rest) = line.as_chunks::<2>();
    let mut replaced = !rest.is_empty();
    let mut text = String::with_capacity(line.len());
    for char in char::decode_utf16(units.iter().map(|pair| unit(*pair))) {
        replaced |= char.is_err();
        text.push(char.unwrap_or(char::REPLACEMENT_CHARACTER));
    }
    if !rest.is_empty() {
        text.push(char::REPLACEMENT_CHARACTER);
    }
    Decoded {
        bytes: Cow::Owned(text.into_bytes()),
        replaced,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Gr\u{fc}\u{df}e \u{a0a}\u{a00}\u{1f600}";

    fn units(text: &str, charset: Charset) -> Vec<u8> {
        let swap = charset == Charset::Utf16Be;
        let units = text.encode_utf16();
        units
            .flat_map(|unit| (if swap { unit.swap_bytes() } else { unit }).to_le_bytes())
            .collect()
    }

    fn check(charset: Charset, line: &[u8], start: u64, expected: &str, replaced: bool) {
        let decoded = charset.decode(line, start);
        assert_eq!(decoded.bytes, expected.as_bytes(), "{charset:?}");
        assert_eq!(decoded.replaced, replaced, "{charset:?} {expected}");
    }

    #[test]
    fn text_comes_back() {
        for charset in [Charset::Utf16Le, Charset::Utf16Be] {
            check(charset, &units(TEXT, charset), 0, TEXT, false);
            let marked = units(&format!("\u{feff}{TEXT}"), charset);
            check(charset, &marked, 0, TEXT, false);
            check(charset, &marked, 10, &format!("\u{feff}{TEXT}"), false);
        }
        check(Charset::Utf8, TEXT.as_bytes(), 0, TEXT, false);
        check(Charset::Utf8, b"\xef\xbb\xbfa", 0, "a", false);
        check(Charset::Utf8, b"\xef\xbb\xbfa", 5, "\u{feff}a", false);
        check(Charset::Latin1, b"Gr\xfc\xdfe", 0, "Gr\u{fc}\u{df}e", false);
        check(Charset::Latin1, b"plain", 0, "plain", false);
    }

    #[test]
    fn what_is_no_character_is_replaced_and_told() {
        check(Charset::Utf16Le, b"a\0\x00\xd8b\0", 0, "a\u{fffd}b", true);
        check(Charset::Utf16Be, b"\0a\xdc\x00", 0, "a\u{fffd}", true);
        check(Charset::Utf16Le, b"a\0b", 0, "a\u{fffd}", true);
        // UTF-8 is kept: whoever delivers it says that it is none.
        let decoded = Charset::Utf8.decode(b"\xff", 0);
        assert_eq!(
            (decoded.bytes.as_ref(), decoded.replaced),
            (&b"\xff"[..], false)
        );
    }

    /// U+0A0A, U+0A00 and U+000A look alike byte by byte.
    #[test]
    fn the_end_of_a_line_is_two_bytes_at_an_even_place() {
        for charset in [Charset::Utf16Le, Charset::Utf16Be] {
            let bytes = units(&format!("{TEXT}\nx\n"), charset);
            let place = units(TEXT, charset).len();
            assert_eq!(
                charset.find_newline(&bytes, 100),
                Some(place),
                "{charset:?}"
            );
            assert_eq!(charset.find_newline(&bytes[..=place], 100), None);
            assert_eq!(charset.find_newline(&bytes[1..], 101), Some(place - 1));
            assert_eq!(charset.last_line_start(&bytes, 100), Some(place + 6));
            assert_eq!(charset.last_line_start(&bytes[..place], 100), None);
        }
        assert_eq!(Charset::Utf8.find_newline(b"a\nb\n", 1), Some(1));
        assert_eq!(Charset::Utf8.last_line_start(b"a\nb\nc", 1), Some(4));
    }

    #[test]
    fn the_mark_decides() {
        for (head, expected) in [
            (&b"\xff\xfea\0"[..], Charset::Utf16Le),
            (b"\xfe\xff\0a", Charset::Utf16Be),
            (b"a\0", Charset::Utf16Le),
            (b"", Charset::Utf16Le),
        ] {
            assert_eq!(Charset::of(Encoding::Utf16, head), expected, "{head:?}");
        }
    }

    #[test]
    fn carriage_return_is_trimmed_once() {
        for (charset, line, expected) in [
            (Charset::Utf8, &b"a\r"[..], &b"a"[..]),
            (Charset::Utf8, b"a\r\r", b"a\r"),
            (Charset::Latin1, b"\ra", b"\ra"),
            (Charset::Utf8, b"\r", b""),
            (Charset::Utf8, b"", b""),
            (Charset::Utf16Le, b"a\0\r\0", b"a\0"),
            (Charset::Utf16Be, b"\0a\0\r", b"\0a"),
            (Charset::Utf16Le, b"a\r\0", b"a\r\0"),
        ] {
            assert_eq!(charset.trim_line_end(line), expected);
        }
    }

    #[test]
    fn characters_are_not_cut() {
        for (charset, line, bytes_max, expected) in [
            (Charset::Utf8, "a\u{fc}b".as_bytes(), 2, &b"a"[..]),
            (
                Charset::Utf8,
                "a\u{fc}b".as_bytes(),
                3,
                "a\u{fc}".as_bytes(),
            ),
            (Charset::Utf8, b"a\xff\xffb", 2, b"a\xff"),
            (Charset::Utf8, b"ab", 2, b"ab"),
            (Charset::Utf16Le, b"a\0b\0", 3, b"a\0"),
            (Charset::Latin1, b"\xfc\xfc", 1, b"\xfc"),
        ] {
            assert_eq!(charset.cut(line, bytes_max), expected);
        }
    }
}

//! What must hold for any bytes in a followed file: asserted for the fuzzer and for a seeded test.
//!
//! The first bytes say how the rest is read.

use std::time::Duration;

use super::{Charset, Gunzip, Joined, Joiner, Line, LineCursor, Piece, RecordRules};
use crate::config::{
    ByteSize, Encoding, FileConfig, LineFormat, MultilineConfig, MultilineRule, StartAt, Watching,
};
use crate::time::Monotonic;

/// What a waiting record takes at most besides its lines.
const SLACK: usize = 8192;

/// A line with its place.
struct Placed {
    start: u64,
    end: u64,
    bytes: Vec<u8>,
}

/// Reads `data` in the way that it says, and asserts what must hold.
///
/// # Panics
///
/// When it does not hold.
pub fn trial(data: &[u8]) {
    let Some((&[how, format, rule, chunk, limit], content)) = data.split_first_chunk() else {
        return;
    };
    packed(content, usize::from(chunk) + 1);
    let encoding = match how % 5 {
        0 => Encoding::Utf8,
        1 => Encoding::Utf16Le,
        2 => Encoding::Utf16Be,
        3 => Encoding::Utf16,
        _ => Encoding::Latin1,
    };
    let config = config(encoding, format, rule, limit);
    let Ok(rules) = RecordRules::compile(&config) else {
        return;
    };
    let charset = Charset::of(encoding, content);
    let lines = lines(charset, content, usize::from(chunk) + 2);
    let records = records(charset, &rules, &lines);
    if format % 3 != 0 {
        return;
    }
    // A start from each checkpoint makes the same records again.
    for (n, (_, checkpoint)) in records.iter().enumerate().step_by(7) {
        let rest = lines.partition_point(|line| line.start < *checkpoint);
        let again = self::records(charset, &rules, lines.get(rest..).unwrap_or_default());
        let expected = records.get(n + 1..).unwrap_or_default().iter();
        let payloads = |(record, at): &(Joined, u64)| (record.payload.clone(), *at);
        assert!(
            expected.map(payloads).eq(again.iter().map(payloads)),
            "another start at {checkpoint}"
        );
    }
}

fn config(encoding: Encoding, format: u8, rule: u8, limit: u8) -> FileConfig {
    let rule = match rule % 4 {
        0 => None,
        1 => Some(MultilineRule::Start("^[A-Z]".to_owned())),
        2 => Some(MultilineRule::Continuation("^( |x|$)".to_owned())),
        _ => Some(MultilineRule::Indentation),
    };
    FileConfig {
        paths: Vec::new(),
        exclude: Vec::new(),
        start_at: StartAt::Beginning,
        ignore_older: None,
        open_files_max: 1,
        watch: Watching::Auto,
        line_bytes_max: ByteSize::bytes(u64::from(limit) + 1),
        poll_interval: Duration::from_secs(1),
        encoding,
        format: match format % 3 {
            0 => LineFormat::Plain,
            1 => LineFormat::Cri,
            _ => LineFormat::DockerJson,
        },
        multiline: rule.map(|rule| MultilineConfig {
            rule,
            timeout: Duration::from_secs(1),
            bytes_max: ByteSize::bytes(u64::from(limit) * 2 + 1),
            lines_max: usize::from(limit % 16) + 2,
        }),
    }
}

/// The lines of a file that is read in chunks; each byte is in one of them.
fn lines(charset: Charset, content: &[u8], chunk_bytes: usize) -> Vec<Placed> {
    let mut cursor = LineCursor::default();
    let mut lines = Vec::new();
    let mut end = 0;
    let mut take = |piece: Piece<'_>, newline: usize| {
        let (start, next) = (piece.start(), piece.end());
        assert_eq!(start, end, "a gap in front of a line");
        end = next;
        let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
        let to = place(next).saturating_sub(newline);
        let bytes = content.get(place(start)..to).unwrap_or_default().to_vec();
        match piece {
            Piece::Line { bytes: found, .. } => assert_eq!(found, bytes),
            Piece::Long { len, .. } => assert_eq!(place(len), bytes.len()),
        }
        lines.push(Placed {
            start,
            end: next,
            bytes,
        });
    };
    loop {
        let from = usize::try_from(cursor.read_from()).unwrap_or(usize::MAX);
        let rest = content.get(from..).unwrap_or_default();
        let chunk = rest.get(..chunk_bytes).unwrap_or(rest);
        let before = cursor;
        for piece in cursor.handle_chunk(charset, chunk, chunk.len() == chunk_bytes) {
            take(piece, charset.newline().len());
        }
        if cursor == before {
            break;
        }
    }
    let size = u64::try_from(content.len()).unwrap_or(u64::MAX);
    if let Some(piece) = cursor.handle_end(size) {
        take(piece, 0);
    }
    assert_eq!(end, size, "bytes behind the last line");
    lines
}

/// The records of these lines, each with the checkpoint behind it.
fn records(charset: Charset, rules: &RecordRules, lines: &[Placed]) -> Vec<(Joined, u64)> {
    let mut joiner = Joiner::default();
    let mut records = Vec::new();
    let mut last = 0;
    let mut poll = |joiner: &mut Joiner, end: u64| {
        while let Some(record) = joiner.poll_record() {
            let checkpoint = joiner.checkpoint().unwrap_or(end);
            assert!(checkpoint >= last, "a checkpoint that goes back");
            last = checkpoint;
            records.push((record, checkpoint));
        }
    };
    let mut end = 0;
    for line in lines {
        let trimmed = charset.trim_line_end(&line.bytes);
        let kept = charset.cut(trimmed, rules.line_bytes_max());
        assert!(kept.len() <= rules.line_bytes_max());
        let decoded = charset.decode(kept, line.start);
        joiner.handle_line(
            rules,
            Monotonic::default(),
            Line {
                start: line.start,
                bytes: &decoded.bytes,
                is_cut: kept.len() < trimmed.len(),
                replaced: decoded.replaced,
            },
        );
        end = line.end;
        poll(&mut joiner, end);
        let bound = rules.line_bytes_max() * 8 + SLACK;
        assert!(joiner.len_bytes() <= bound, "{}", joiner.len_bytes());
    }
    joiner.handle_end();
    poll(&mut joiner, end);
    assert_eq!((joiner.len_bytes(), joiner.checkpoint()), (0, None));
    assert_eq!(joiner.poll_timeout(), None);
    records
}

/// Unpacks in pieces and at once: both find the same, and know where it ends.
fn packed(content: &[u8], step: usize) {
    let unpack = |step: usize, room: usize| {
        let mut gunzip = Gunzip::default();
        let mut found = Vec::new();
        let mut output = vec![0; room];
        for piece in content.chunks(step) {
            let mut piece = piece;
            loop {
                let done = gunzip.unpack(piece, &mut output);
                found.extend_from_slice(output.get(..done.written).unwrap_or_default());
                if done.error.is_some() || found.len() > 1 << 20 {
                    return (found, done.error);
                }
                piece = piece.get(done.consumed..).unwrap_or_default();
                if piece.is_empty() && done.written < room {
                    break;
                }
            }
        }
        (found, gunzip.handle_end().err())
    };
    let (whole, error) = unpack(content.len().max(1), 4096);
    if whole.len() <= 1 << 20 {
        let (pieces, same) = unpack(step, 100);
        // How much of a damaged block comes out depends on the room that it was given.
        let is_same = match error {
            None => whole == pieces,
            Some(_) => whole.starts_with(&pieces) || pieces.starts_with(&whole),
        };
        assert!(is_same && error == same, "{error:?} {same:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::gzip_member;

    const WORDS: &[&[u8]] = &[
        b"\n",
        b"\n",
        b"\r\n",
        b"\n\0",
        b"\0\n",
        b"\n ",
        b"\nA",
        b"x",
        b" at b",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"\xd8\x00",
        b"\xc3\xa4",
        b"\n2016-10-06T00:17:09.669794202Z stdout P part",
        b"\n2016-10-06T00:17:09.669794202Z stdout F end",
        b"\n2016-10-06T00:17:09.669794202Z stderr F  other",
        b"\n{\"log\":\"text\\n\",\"stream\":\"stdout\",\"time\":\"2016-10-06T00:17:09Z\"}",
        b"\n{\"log\":\"par\",\"stream\":\"stderr\",\"time\":\"2016-10-06T00:17:09Z\"}",
        b"{\"log\":",
        b"the longest of all these words, by far, if one does not count those above",
    ];

    #[test]
    fn any_bytes_keep_the_rules() {
        for seed in 1..=3000_u64 {
            println!("seed {seed}");
            let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            let mut below = |limit: usize| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                usize::try_from(state % u64::try_from(limit).unwrap()).unwrap()
            };
            let mut data: Vec<u8> = (0..5).map(|_| u8::try_from(below(256)).unwrap()).collect();
            for _ in 0..below(60) {
                data.extend_from_slice(WORDS[below(WORDS.len())]);
            }
            trial(&data);
            let mut packed = data[..5].to_vec();
            packed.extend(gzip_member(&data));
            if below(2) == 0 {
                let place = 5 + below(packed.len() - 5);
                packed[place] ^= 1 << below(8);
            }
            trial(&packed);
        }
    }
}

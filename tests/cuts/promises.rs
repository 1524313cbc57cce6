//! What a run has promised by each moment of the disk's write log.
//!
//! A moment is a number of requests that have reached the disk. Lengths of the log, which were
//! noted while it ran, become such numbers here, always so that less is promised and more is
//! allowed: what was sent or acknowledged while a request was under way counts as behind it.

use std::collections::BTreeMap;

use crate::load::{LINES, Run, text_of};
use crate::write_log::WriteLog;

/// A record that was sent.
struct Record {
    text: String,
    /// Only behind so many requests anything of it can be on the disk.
    sent: usize,
    /// From so many requests on it has to be there, whatever else the power takes.
    acknowledged: Option<usize>,
}

/// Records in the order of being sent; the first has number 1.
pub(crate) struct Stream {
    pub(crate) name: String,
    pub(crate) source: String,
    records: Vec<Record>,
}

impl Stream {
    /// How many records were ever sent.
    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether a record was acknowledged by then.
    pub(crate) fn is_promised(&self, number: usize, stop: usize) -> bool {
        let acknowledged = self.records[number - 1].acknowledged;
        acknowledged.is_some_and(|at| at <= stop)
    }

    /// Whether this is a record that can have been there by then.
    fn has(&self, number: usize, text: &str, stop: usize) -> bool {
        let record = number.checked_sub(1).and_then(|at| self.records.get(at));
        record.is_some_and(|record| record.text == text && record.sent < stop)
    }
}

/// All promises of a run.
pub(crate) struct Promises {
    pub(crate) streams: Vec<Stream>,
    /// When the destination took a record, by seq, and its text.
    accepted: BTreeMap<u64, (usize, String)>,
    /// Where the lines of the followed file end.
    line_ends: Vec<u64>,
}

impl Promises {
    pub(crate) fn new(run: &Run, log: &WriteLog) -> Self {
        let stream = |stream: &crate::load::Stream| {
            let record = |(at, sent): (usize, &crate::load::Sent)| Record {
                text: text_of(&stream.name, at + 1),
                sent: log.begun(sent.at),
                acknowledged: sent.acknowledged.map(|at| log.begun(at)),
            };
            Stream {
                name: stream.name.clone(),
                source: stream.source.clone(),
                records: stream.sent.iter().enumerate().map(record).collect(),
            }
        };
        let streams: Vec<Stream> = run.streams.iter().map(stream).collect();
        let accepted = run.accepted.iter();
        let accepted =
            accepted.map(|(seq, taken)| (*seq, (log.begun(taken.at), taken.text.clone())));
        let mut end = 0;
        let lines = streams.iter().filter(|stream| stream.name == LINES);
        let line_ends = lines.flat_map(|stream| &stream.records).map(|line| {
            end += u64::try_from(line.text.len() + 1).unwrap();
            end
        });
        Promises {
            accepted: accepted.collect(),
            line_ends: line_ends.collect(),
            streams,
        }
    }

    /// Which stream a text of this source is from, and its number; an error when it was altered
    /// or nobody can have sent it by then.
    pub(crate) fn origin(
        &self,
        source: &str,
        text: &str,
        stop: usize,
    ) -> Result<(usize, usize), String> {
        let mut words = text.split(' ');
        let (name, number) = (words.next(), words.next());
        let number = number.and_then(|number| number.parse().ok()).unwrap_or(0);
        let known = self
            .streams
            .iter()
            .position(|stream| Some(stream.name.as_str()) == name && stream.source == source);
        match known {
            Some(at) if self.streams[at].has(number, text, stop) => Ok((at, number)),
            _ => Err(format!("{source} never sent {text:?}")),
        }
    }

    /// How many lines of the followed file end at or before this place; an error when none ends
    /// just there.
    pub(crate) fn lines_before(&self, place: u64) -> Result<usize, String> {
        let lines = self.line_ends.partition_point(|end| *end <= place);
        let end = lines.checked_sub(1).map_or(0, |last| self.line_ends[last]);
        if end == place {
            Ok(lines)
        } else {
            Err(format!(
                "the checkpoint {place} is within line {}",
                lines + 1
            ))
        }
    }

    /// Whether the destination had begun to take this record by then.
    pub(crate) fn is_taken(&self, seq: u64, stop: usize) -> bool {
        self.accepted.get(&seq).is_some_and(|(at, _)| *at < stop)
    }

    /// The record that the destination took under this seq, ever.
    pub(crate) fn taken(&self, seq: u64) -> Option<&str> {
        self.accepted.get(&seq).map(|(_, text)| text.as_str())
    }

    /// How many records were acknowledged by then.
    pub(crate) fn count(&self, stop: usize) -> usize {
        let all = self.streams.iter().flat_map(|stream| &stream.records);
        all.filter(|record| record.acknowledged.is_some_and(|at| at <= stop))
            .count()
    }
}

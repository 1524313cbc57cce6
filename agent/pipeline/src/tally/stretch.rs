//! The stretches of the log that a destination delivers, each with a position of its own.
//!
//! The live stretch has no end. A backlog was split off its front, so that new records need not
//! queue behind it; a replay delivers once more what was delivered before.

use diskring::Seq;

/// Number of a stretch among those of its destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StretchId(u16);

impl StretchId {
    /// The stretch without an end, which is always there.
    pub const LIVE: Self = Self(0);

    /// The number after this one, the first again after the greatest.
    pub(super) const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }
}

/// What a stretch is there for. The order is that of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StretchKind {
    /// What comes in.
    Live,
    /// What waited when newer records went first.
    Backlog,
    /// What was delivered before and is asked for again.
    Replay,
}

/// A stretch of the log and how far it is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    pub(super) kind: StretchKind,
    pub(super) committed: u64,
    pub(super) planned: u64,
    pub(super) waiting: u64,
    /// The first entry behind it; the live one ends nowhere.
    pub(super) limit: u64,
    /// Tells one replay from another.
    pub(super) mark: u64,
}

/// The end of what has none.
const ENDLESS: u64 = u64::MAX;

impl Stretch {
    /// Bytes of one in a state of the ring.
    pub(super) const BYTES: usize = 2 + 1 + 5 * 8;

    /// The live stretch from `start` on.
    pub(super) const fn live(start: u64) -> Self {
        Self {
            kind: StretchKind::Live,
            committed: start,
            planned: start,
            waiting: 0,
            limit: ENDLESS,
            mark: 0,
        }
    }

    /// What it is there for.
    pub const fn kind(&self) -> StretchKind {
        self.kind
    }

    /// Everything of it before has a final verdict.
    pub const fn committed(&self) -> Seq {
        Seq::new(self.committed)
    }

    /// The batch that was begun, if its verdict is not known: everything from `committed` to here.
    pub fn planned(&self) -> Option<Seq> {
        (self.planned > self.committed).then_some(Seq::new(self.planned))
    }

    /// Records of it that wait for the destination.
    pub const fn waiting(&self) -> u64 {
        self.waiting
    }

    /// The first entry behind it; `None` for the live one.
    pub fn limit(&self) -> Option<Seq> {
        (self.limit != ENDLESS).then_some(Seq::new(self.limit))
    }

    /// What tells a replay from every other one: when it was asked for, in milliseconds.
    pub fn mark(&self) -> Option<u64> {
        (self.kind == StretchKind::Replay).then_some(self.mark)
    }

    /// Whether everything of it has a final verdict.
    pub const fn is_finished(&self) -> bool {
        self.committed >= self.limit
    }

    /// Everything before `end` was accounted for.
    pub(super) fn skip_to(&mut self, end: Seq) {
        self.committed = self.committed.max(end.get().min(self.limit));
        self.planned = self.planned.max(self.committed);
    }

    pub(super) fn encode(&self, id: StretchId, out: &mut Vec<u8>) {
        out.extend_from_slice(&id.0.to_le_bytes());
        out.push(match self.kind {
            StretchKind::Live => 0,
            StretchKind::Backlog => 1,
            StretchKind::Replay => 2,
        });
        let numbers = [
            self.committed,
            self.planned,
            self.waiting,
            self.limit,
            self.mark,
        ];
        out.extend(numbers.into_iter().flat_map(u64::to_le_bytes));
    }

    pub(super) fn decode(bytes: [u8; Self::BYTES]) -> Option<(StretchId, Self)> {
        let (id, rest) = bytes.split_first_chunk()?;
        let (kind, numbers) = rest.split_first()?;
        let kind = match kind {
            0 => StretchKind::Live,
            1 => StretchKind::Backlog,
            2 => StretchKind::Replay,
            _ => return None,
        };
        let (numbers, _) = numbers.as_chunks();
        let [committed, planned, waiting, limit, mark] = <[[u8; 8]; 5]>::try_from(numbers)
            .ok()?
            .map(u64::from_le_bytes);
        let stretch = Self {
            kind,
            committed,
            planned,
            waiting,
            limit,
            mark,
        };
        Some((StretchId(u16::from_le_bytes(*id)), stretch))
    }
}

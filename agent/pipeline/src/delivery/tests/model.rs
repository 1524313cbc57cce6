//! Random plans, verdicts, pauses and crashes; the truth is a list of what became of each entry.

use std::collections::BTreeSet;

use super::*;

const SEEDS: u64 = 3000;
const ENTRIES: u64 = 120;

/// What an entry of the log is to the destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    Foreign,
    Filtered,
    Wanted,
    /// Wanted, and larger than the destination takes.
    Large,
}

/// What has happened, so that a run in which nothing does is not green.
#[derive(Debug, Default)]
struct Coverage {
    accepted: u64,
    rejected: u64,
    retries: u64,
    partial: u64,
    splits: u64,
    gave_up: u64,
    crashes: u64,
    again: u64,
    short: u64,
    /// Calls that were made while others were under way.
    beside: u64,
    /// The same that were lost in a crash, taken or not.
    cut: u64,
}

struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

struct Model {
    seed: u64,
    rng: Rng,
    remainder: Remainder,
    config: RetryConfig,
    now: Monotonic,
    log: Vec<Entry>,
    /// Entries that the destination took, and those that were buried, ever.
    taken: BTreeSet<u64>,
    buried: BTreeSet<u64>,
    delivery: Delivery,
    /// The plan under way, as it is durable.
    plan: Option<SeqRange>,
    durable: Commit,
    units: Vec<Unit>,
    /// Calls that have no answer yet, with what they carry.
    calls: Vec<(CallId, Vec<SeqRange>)>,
    /// Calls under way at a time, at most.
    concurrency_max: u32,
    /// Ranges that were sent for the plan under way.
    sent: BTreeSet<(u64, u64)>,
}

impl Model {
    fn new(seed: u64) -> Self {
        let mut rng = Rng(seed);
        let remainder = if rng.below(2) == 0 {
            Remainder::Halves
        } else {
            Remainder::Whole
        };
        let log = (0..ENTRIES)
            .map(|_| match rng.below(8) {
                0 => Entry::Foreign,
                1 => Entry::Filtered,
                2 if remainder == Remainder::Whole => Entry::Large,
                _ => Entry::Wanted,
            })
            .collect();
        let config = retry_config((rng.below(3) == 0).then_some(3));
        Self {
            seed,
            remainder,
            now: at(0),
            log,
            taken: BTreeSet::new(),
            buried: BTreeSet::new(),
            concurrency_max: 1,
            calls: Vec::new(),
            delivery: Delivery::new(&config, remainder, Seq::ZERO).unwrap(),
            config,
            plan: None,
            durable: Commit::default(),
            units: Vec::new(),
            sent: BTreeSet::new(),
            rng,
        }
        .with_concurrency()
    }

    fn with_concurrency(mut self) -> Self {
        self.concurrency_max = u32::try_from(1 + self.rng.below(5)).unwrap();
        self.delivery = self.delivery.with_concurrency(self.concurrency_max);
        self
    }

    fn wanted(&self, range: SeqRange) -> impl Iterator<Item = u64> {
        (range.first.get()..range.end.get())
            .filter(|seq| matches!(self.entry(*seq), Entry::Wanted | Entry::Large))
    }

    fn entry(&self, seq: u64) -> Entry {
        self.log[usize::try_from(seq).unwrap()]
    }

    fn count(&self, range: SeqRange, kind: Entry) -> u32 {
        let entries = range.first.get()..range.end.get();
        let count = entries.filter(|seq| self.entry(*seq) == kind).count();
        u32::try_from(count).unwrap()
    }

    fn step(&mut self, coverage: &mut Coverage) {
        if self.rng.below(20) == 0 {
            self.crash(coverage);
            coverage.crashes += 1;
        }
        match self.delivery.poll(self.now) {
            Action::Idle => {
                // A plan begins at the position, which is durable before it or with it.
                self.commit(coverage);
                self.plan();
            }
            Action::Encode(range) => self.encode(range, coverage),
            Action::Send(units) => self.send(&units, coverage),
            Action::Await => self.answer(coverage),
            Action::Wait(until) => {
                assert!(self.calls.is_empty(), "seed {}", self.seed);
                assert!(self.now < until, "seed {}", self.seed);
                self.now = until;
            }
            Action::DeadLetter(dead) => {
                let buried: Vec<u64> = self.wanted(dead.range).collect();
                assert!(!buried.is_empty(), "seed {}", self.seed);
                self.buried.extend(buried);
                coverage.gave_up += u64::from(dead.refusal.code == "GaveUp");
                self.delivery.handle_dead_lettered();
            }
        }
        // Sometimes later, so that several steps become durable at once or are lost at once.
        if self.rng.below(3) > 0 {
            self.commit(coverage);
        }
    }

    fn crash(&mut self, coverage: &mut Coverage) {
        for (_, ranges) in std::mem::take(&mut self.calls) {
            coverage.cut += 1;
            // The service may have it all the same.
            if self.rng.below(2) == 0 {
                let all = ranges.iter().flat_map(|range| self.wanted(*range));
                let all: Vec<u64> = all.collect();
                self.taken.extend(all);
            }
        }
        let committed = self.durable.committed;
        self.delivery = Delivery::new(&self.config, self.remainder, committed)
            .unwrap()
            .with_concurrency(self.concurrency_max);
        if let Some(plan) = self.plan {
            // The agent remembers the end of a plan; it begins at the position.
            let left = SeqRange::new(committed, plan.end);
            if self.remainder == Remainder::Halves {
                assert_eq!(left, plan, "seed {}", self.seed);
            }
            self.delivery.handle_plan(left);
        }
    }

    fn plan(&mut self) {
        let first = self.delivery.committed();
        let left = ENTRIES - first.get();
        let end = first.advance(1 + self.rng.below(30).min(left - 1));
        let range = SeqRange::new(first, end);
        self.sent.clear();
        if self.wanted(range).next().is_none() {
            let filtered = self.count(range, Entry::Filtered);
            self.delivery.handle_passed(end, u64::from(filtered));
        } else {
            self.plan = Some(range);
            self.delivery.handle_plan(range);
        }
    }

    fn encode(&mut self, range: SeqRange, coverage: &mut Coverage) {
        self.units.clear();
        let mut first = range.first;
        while first < range.end {
            let left = range.end.since(first);
            let len = match self.remainder {
                Remainder::Halves => left,
                Remainder::Whole => 1 + self.rng.below(6).min(left - 1),
            };
            if !self.units.is_empty() && self.rng.below(12) == 0 {
                coverage.short += 1;
                break;
            }
            let range = SeqRange::new(first, first.advance(len));
            first = range.end;
            let count = self.count(range, Entry::Wanted) + self.count(range, Entry::Large);
            let large = count == 1 && self.count(range, Entry::Large) == 1;
            self.units.push(Unit {
                range,
                count,
                filtered: self.count(range, Entry::Filtered),
                fate: if large && self.rng.below(2) == 0 {
                    UnitFate::TooLarge {
                        bytes: 2,
                        bytes_max: 1,
                    }
                } else {
                    UnitFate::Sendable
                },
            });
        }
        self.delivery.handle_encoded(&self.units);
    }

    fn send(&mut self, units: &[usize], coverage: &mut Coverage) {
        let ranges: Vec<SeqRange> = units.iter().map(|unit| self.units[*unit].range).collect();
        assert!(!ranges.is_empty(), "seed {}", self.seed);
        if self.remainder == Remainder::Halves {
            assert_eq!(ranges.len(), 1, "seed {}", self.seed);
            self.check_id(ranges[0], coverage);
        }
        coverage.beside += u64::from(!self.calls.is_empty());
        let under_way: Vec<&SeqRange> = self.calls.iter().flat_map(|call| &call.1).collect();
        let twice = ranges.iter().any(|range| under_way.contains(&range));
        assert!(!twice, "sent while it is under way, seed {}", self.seed);
        self.calls.push((self.delivery.handle_sent(), ranges));
        let count = u32::try_from(self.calls.len()).unwrap();
        assert!(count <= self.concurrency_max, "seed {}", self.seed);
        if self.rng.below(3) == 0 {
            self.answer(coverage);
        }
    }

    /// One of the calls under way gets its answer.
    fn answer(&mut self, coverage: &mut Coverage) {
        let at = self.rng.below(u64::try_from(self.calls.len()).unwrap());
        let (call, ranges) = self.calls.swap_remove(usize::try_from(at).unwrap());
        let all: Vec<u64> = ranges
            .iter()
            .flat_map(|range| self.wanted(*range))
            .collect();
        let verdict = match self.rng.below(10) {
            0..=3 => Verdict::Accepted,
            4 => Verdict::TooLarge(refusal("413")),
            5 => self.cut(&ranges),
            6 => Verdict::Rejected(refusal("400")),
            7 if self.remainder == Remainder::Whole => self.partial(&ranges, coverage),
            _ => Verdict::Retry(self.retry()),
        };
        coverage.retries += u64::from(matches!(verdict, Verdict::Retry(_)));
        coverage.splits += u64::from(matches!(
            verdict,
            Verdict::TooLarge(_) | Verdict::Cut { .. }
        ));
        if verdict == Verdict::Accepted {
            self.taken.extend(all);
        }
        self.now = self.now.after(Duration::from_secs(self.rng.below(4)));
        let random = u32::try_from(self.rng.next() >> 32).unwrap();
        self.delivery.handle_answer(call, self.now, random, verdict);
    }

    /// Where there are ids, in halves: elsewhere at any entry.
    fn cut(&mut self, ranges: &[SeqRange]) -> Verdict {
        let at = match self.remainder {
            Remainder::Halves => Vec::new(),
            Remainder::Whole => ranges
                .iter()
                .map(|range| range.first.advance(self.rng.below(range.len())))
                .collect(),
        };
        Verdict::Cut {
            at,
            refusal: refusal("LoadError"),
        }
    }

    fn retry(&mut self) -> Retry {
        Retry {
            class: RetryClass::Transient,
            reason: "again".to_owned(),
            after: match self.rng.below(3) {
                0 => None,
                1 => Some(Duration::ZERO),
                _ => Some(Duration::from_secs(self.rng.below(9))),
            },
        }
    }

    fn partial(&mut self, ranges: &[SeqRange], coverage: &mut Coverage) -> Verdict {
        coverage.partial += 1;
        let mut units = Vec::new();
        for range in ranges {
            units.push(match self.rng.below(3) {
                0 => {
                    let all: Vec<u64> = self.wanted(*range).collect();
                    self.taken.extend(all);
                    UnitVerdict::Accepted
                }
                1 => UnitVerdict::Retry,
                _ => UnitVerdict::TooLarge(refusal("Shape")),
            });
        }
        Verdict::Partial {
            units,
            retry: self.retry(),
        }
    }

    /// Every range that is sent is the plan or a half of a half of it, also after crashes.
    fn check_id(&mut self, range: SeqRange, coverage: &mut Coverage) {
        let mut of = self.plan.unwrap();
        while of != range {
            let (first, second) = of.halves().unwrap_or_else(|| panic!("seed {}", self.seed));
            of = if range.first < second.first {
                first
            } else {
                second
            };
        }
        let new = self.sent.insert((range.first.get(), range.end.get()));
        coverage.again += u64::from(!new);
    }

    fn commit(&mut self, coverage: &mut Coverage) {
        let Some(commit) = self.delivery.poll_commit() else {
            return;
        };
        let range = SeqRange::new(self.durable.committed, commit.committed);
        assert!(!range.is_empty(), "positions only grow, seed {}", self.seed);
        for seq in self.wanted(range) {
            let ended = self.taken.contains(&seq) || self.buried.contains(&seq);
            assert!(ended, "entry {seq} is committed early, seed {}", self.seed);
        }
        let wanted = u64::try_from(self.wanted(range).count()).unwrap();
        assert_eq!(
            commit.accepted + commit.rejected,
            wanted,
            "seed {}",
            self.seed
        );
        let filtered = u64::from(self.count(range, Entry::Filtered));
        assert_eq!(commit.filtered, filtered, "seed {}", self.seed);
        self.durable.committed = commit.committed;
        self.durable.accepted += commit.accepted;
        self.durable.rejected += commit.rejected;
        if self.plan.is_some_and(|plan| plan.end <= commit.committed) {
            self.plan = None;
        }
        coverage.accepted += commit.accepted;
        coverage.rejected += commit.rejected;
    }
}

fn run(seed: u64, coverage: &mut Coverage) {
    let mut model = Model::new(seed);
    let mut steps = 0;
    while model.durable.committed.get() < ENTRIES {
        if model.delivery.committed().get() == ENTRIES {
            model.commit(coverage);
        } else {
            model.step(coverage);
        }
        steps += 1;
        assert!(steps < 100_000, "no end, seed {seed}");
    }
    let all = u64::try_from(model.wanted(range(0, ENTRIES)).count()).unwrap();
    let ended = model.durable.accepted + model.durable.rejected;
    assert_eq!(ended, all, "seed {seed}");
}

#[test]
fn everything_ends_and_nothing_is_committed_early() {
    let mut coverage = Coverage::default();
    for seed in 0..SEEDS {
        run(seed, &mut coverage);
    }
    let Coverage {
        accepted,
        rejected,
        retries,
        partial,
        splits,
        gave_up,
        crashes,
        again,
        short,
        beside,
        cut,
    } = coverage;
    for count in [
        accepted, rejected, retries, partial, splits, gave_up, crashes, again, short, beside, cut,
    ] {
        assert!(count > 100, "{coverage:?}");
    }
}

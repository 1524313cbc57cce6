//! What a ring holds, as the model repeats it.

use std::collections::{BTreeMap, VecDeque};

pub(crate) type States = BTreeMap<Vec<u8>, Vec<u8>>;

/// What changes a ring's contents, as the model repeats it.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Append { tag: u16, payload: Vec<u8> },
    Put { key: Vec<u8>, value: Vec<u8> },
    Remove { key: Vec<u8> },
    Evict { first: u64 },
}

/// A ring's contents.
#[derive(Clone, Debug, Default)]
pub(crate) struct Contents {
    pub(crate) first: u64,
    entries: VecDeque<(u16, Vec<u8>)>,
    pub(crate) states: States,
}

impl Contents {
    pub(crate) fn next(&self) -> u64 {
        self.first + u64::try_from(self.entries.len()).unwrap()
    }

    pub(crate) fn get(&self, seq: u64) -> Option<&(u16, Vec<u8>)> {
        let index = usize::try_from(seq.checked_sub(self.first)?).unwrap();
        self.entries.get(index)
    }

    pub(crate) fn apply(&mut self, step: Step) {
        match step {
            Step::Append { tag, payload } => self.entries.push_back((tag, payload)),
            Step::Put { key, value } => {
                self.states.insert(key, value);
            }
            Step::Remove { key } => {
                self.states.remove(&key);
            }
            Step::Evict { first } => {
                while self.first < first {
                    self.entries.pop_front();
                    self.first += 1;
                }
            }
        }
    }

    /// The states once `steps` are done.
    pub(crate) fn states_after(&self, steps: &[Step]) -> States {
        let mut states = self.states.clone();
        for step in steps {
            match step {
                Step::Put { key, value } => {
                    states.insert(key.clone(), value.clone());
                }
                Step::Remove { key } => {
                    states.remove(key);
                }
                Step::Append { .. } | Step::Evict { .. } => {}
            }
        }
        states
    }
}

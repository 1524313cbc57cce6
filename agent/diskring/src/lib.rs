//! A bounded ring of records on disk that survives power cuts.

mod seq;

pub use seq::Seq;

/// Proof that everything before [`Durable::end`] is on disk; only a sync makes one.
#[derive(Debug)]
pub struct Durable {
    end: Seq,
}

impl Durable {
    /// The first entry that is not covered.
    pub const fn end(&self) -> Seq {
        self.end
    }
}

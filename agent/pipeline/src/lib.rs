//! Every decision of Hydrant, without I/O: values in, values out.
//!
//! Time, randomness and bytes are arguments. What arrives is decoded ([`decode`]), changed
//! ([`transform`]), stored ([`stored`]), grouped ([`batch`]), made into bytes ([`encode`]) and
//! spoken to a destination ([`destination`]), whose answer decides what happens next
//! ([`delivery`]).

pub mod batch;
pub mod books;
pub mod boots;
pub mod certificate;
pub mod clock;
pub mod config;
pub mod dead_letter;
pub mod decode;
pub mod delivery;
pub mod destination;
pub mod doctor;
pub mod encode;
pub mod growth;
pub mod moves;
mod mutant;
pub mod names;
pub mod pace;
pub mod passwords;
pub mod period;
pub mod rate_limit;
pub mod receipt;
pub mod record;
pub mod replay;
pub mod retry;
pub mod stored;
pub mod tail;
pub mod tally;
pub mod time;
pub mod time_daemon;
pub mod transform;
pub mod turns;
pub mod websocket;
pub mod write_budget;

#[cfg(feature = "sim")]
pub use mutant::Mutant;

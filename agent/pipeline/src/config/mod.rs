//! What the user wrote, checked, and what it means.

mod model;
mod units;

pub use model::*;
pub use units::{ByteSize, Secret};

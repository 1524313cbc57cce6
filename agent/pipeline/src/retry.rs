//! How a failed attempt is tried again.

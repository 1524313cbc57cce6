//! When a batch is complete.

//! Follows files.

//! How a refused record is kept.

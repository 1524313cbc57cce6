//! Counters that survive a crash.

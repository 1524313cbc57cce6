//! From bytes of a source to a record. Decoding never fails and never drops.

pub mod mqtt;
pub mod syslog;

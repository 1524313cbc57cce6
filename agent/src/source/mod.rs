//! Where records come from: one task a source.

pub(crate) mod file;
pub(crate) mod mqtt;
pub(crate) mod mqtt_listener;
pub(crate) mod syslog;

//! The binary against real programs: brokers, loggers, rotation, TLS servers, and kills.
//!
//! `tests/run` installs what is needed. Every test has its own folder, ports and programs, so
//! that they run beside each other; a test that failed keeps its folder and names it.

#[cfg(test)]
mod harness;

#[cfg(test)]
mod backpressure;
#[cfg(test)]
mod bad_input;
#[cfg(test)]
mod cli;
#[cfg(test)]
mod clock;
#[cfg(test)]
mod compression;
#[cfg(test)]
mod confine;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod credentials;
#[cfg(test)]
mod dead_letters;
#[cfg(test)]
mod destinations;
#[cfg(test)]
mod doctor;
#[cfg(test)]
mod drain;
#[cfg(test)]
mod fallback;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod file;
#[cfg(test)]
mod firehose;
#[cfg(test)]
mod kinesis;
#[cfg(test)]
mod lanes;
#[cfg(test)]
mod mqtt;
#[cfg(test)]
mod mqtt_devices;
#[cfg(test)]
mod mqtt_failures;
#[cfg(test)]
mod mqtt_listener;
#[cfg(test)]
mod offline;
#[cfg(test)]
mod quota;
#[cfg(test)]
mod redshift;
#[cfg(test)]
mod reload;
#[cfg(test)]
mod replay;
#[cfg(test)]
mod replay_letters;
#[cfg(test)]
mod ring_damage;
#[cfg(test)]
mod ring_tool;
#[cfg(test)]
mod s3;
#[cfg(test)]
mod service;
#[cfg(test)]
mod syslog;
#[cfg(test)]
mod transport;
#[cfg(test)]
mod wear;

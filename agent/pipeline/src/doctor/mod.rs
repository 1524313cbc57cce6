//! What `hydrant doctor` makes of what it finds.
//!
//! Judges values that somebody else looked up: settings of a broker, answers to probes, the state
//! of the machine. Says of each whether it is well, and otherwise what to do.

mod certificate;
mod machine;
mod mosquitto;
mod report;
mod session;

pub use certificate::judge_expiry;
pub use machine::{Directory, judge_clock, judge_directory};
pub use mosquitto::{Setting, Uses, Version, judge as judge_mosquitto, settings};
pub use report::{Finding, Level, render};
pub use session::{Probe, Window, judge as judge_probe, window_tried};

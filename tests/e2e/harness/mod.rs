//! What the end-to-end tests share: programs that end with the test, ports, a scripted receiver.
//!
//! Nothing waits for time to pass: [`wait_until`] and [`Receiver::wait`] wait for a condition,
//! and give up with its name when it does not come true.

mod agent;
mod certificates;
mod chance;
mod faults;
mod folder;
mod http;
mod machine;
mod mqtt;
mod program;
mod receiver;
mod servers;
mod wait;
mod wire;

pub(crate) use agent::{Agent, Outcome, hydrant};
pub(crate) use certificates::Certificates;
pub(crate) use chance::{Chance, seed};
pub(crate) use faults::{
    FaultServer, FirehoseService, HttpService, KinesisService, Law, RedshiftService, S3Service,
    Service, ServiceQuota, Sum, dead_letters, is_bad, sha256_hex,
};
pub(crate) use folder::{Folder, append, write};
pub(crate) use http::Request;
pub(crate) use machine::{Machine, now};
pub(crate) use mqtt::{MqttPeer, Publisher, connect_packet};
pub(crate) use program::{Program, long, python, run, run_with};
pub(crate) use receiver::{Answer, Log, Receiver};
pub(crate) use servers::{
    Broker, Moto, Nginx, Proxy, RolesAnywhere, Rsyslog, WebSocketBridge, publish,
};
pub(crate) use wait::{DEADLINE, free_port, never_within, wait_until};

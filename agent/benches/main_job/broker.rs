//! mosquitto, if this machine has it.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::agent::{free_address, write_file};

/// Where Debian keeps programs that are not in everybody's `PATH`.
const PROGRAMS: [&str; 2] = ["mosquitto", "/usr/sbin/mosquitto"];

/// A running broker.
pub(crate) struct Broker {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Broker {
    /// Starts it with a window of `in_flight` messages for each subscriber.
    pub(crate) fn start(folder: &Path, in_flight: usize) -> Option<Self> {
        let address = free_address();
        let path = folder.join("mosquitto.conf");
        let config = format!(
            "listener {} {}\nallow_anonymous true\npersistence false\n\
             max_inflight_messages {in_flight}\nmax_queued_messages 0\nlog_dest none\n",
            address.port(),
            address.ip(),
        );
        write_file(&path, config.as_bytes());
        let child = PROGRAMS.iter().find_map(|program| {
            Command::new(program)
                .arg("-c")
                .arg(&path)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .ok()
        })?;
        let broker = Self { child, address };
        let since = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(since.elapsed() < Duration::from_secs(10), "no broker");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(broker)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

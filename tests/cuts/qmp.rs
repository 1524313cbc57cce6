//! Talking to qemu-storage-daemon while it runs.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{DEADLINE, wait_until};

/// A connection to the monitor.
pub(crate) struct Qmp {
    stream: BufReader<UnixStream>,
}

impl Qmp {
    /// Connects as soon as the monitor listens.
    pub(crate) fn connect(socket: &Path) -> Self {
        let stream = wait_until("the monitor of qemu", || UnixStream::connect(socket).ok());
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut qmp = Qmp {
            stream: BufReader::new(stream),
        };
        let greeting = qmp.read();
        assert!(greeting.get("QMP").is_some(), "{greeting}");
        qmp.command("qmp_capabilities", &json!({}));
        qmp
    }

    /// Gives a command, which must succeed.
    pub(crate) fn command(&mut self, name: &str, arguments: &Value) {
        let command = json!({ "execute": name, "arguments": arguments });
        writeln!(self.stream.get_mut(), "{command}").unwrap();
        loop {
            let answer = self.read();
            if answer.get("event").is_some() {
                continue;
            }
            assert!(answer.get("return").is_some(), "{command}: {answer}");
            return;
        }
    }

    fn read(&mut self) -> Value {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("{line:?} from qemu: {e}"))
    }
}

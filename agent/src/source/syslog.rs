//! Takes syslog over UDP and TCP.

use pipeline::config::SyslogConfig;

use crate::intake::{Intake, Shutdown};

/// Takes syslog until it is told to end.
pub(crate) async fn run(_config: SyslogConfig, intake: Intake, mut shutdown: Shutdown) {
    tracing::error!(source = intake.name(), "this build does not take syslog");
    shutdown.wait_for(|end| *end).await.ok();
}

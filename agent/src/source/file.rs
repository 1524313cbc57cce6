//! Follows files.

use pipeline::config::FileConfig;

use crate::intake::{Intake, Shutdown};

/// Follows files until it is told to end.
pub(crate) async fn run(_config: FileConfig, intake: Intake, mut shutdown: Shutdown) {
    tracing::error!(source = intake.name(), "this build does not follow files");
    shutdown.wait_for(|end| *end).await.ok();
}

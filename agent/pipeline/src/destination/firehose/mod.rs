//! Amazon Data Firehose: `PutRecordBatch`, signed with the corrected clock.

use std::time::Duration;

use diskring::Seq;

use super::aws::{CallShape, Caller, Operation, PackedUnits, Packer};
use super::credentials::Credentials;
use super::{ClockSkew, HttpRequest, HttpResponse, TransportError, Verdict};
use crate::config::{Compression, FirehoseConfig};
use crate::time::WallClock;

/// Firehose records in one call.
pub const CALL_UNITS_MAX: usize = 500;

/// Data in one call, before base64.
pub const CALL_BYTES_MAX: usize = 4_000_000;

/// Data in one Firehose record, before base64.
pub const RECORD_BYTES_MAX: usize = 1_024_000;

/// A Firehose record is billed in steps of so many bytes.
pub const BILLED_STEP_BYTES: usize = 5 * 1024;

const PUT_RECORD_BATCH: Operation = Operation {
    service: "firehose",
    target: "Firehose_20150804.PutRecordBatch",
};

/// Sends a call a batch.
#[derive(Clone, Debug)]
pub struct Firehose {
    config: FirehoseConfig,
    caller: Caller,
}

impl Firehose {
    pub(super) fn new(config: &FirehoseConfig, timeout: Duration) -> Self {
        Self {
            caller: Caller::new(PUT_RECORD_BATCH, &config.region, &config.endpoint, timeout),
            config: config.clone(),
        }
    }

    /// An empty call of at most `count_max` Firehose records for the entries from `first` on.
    ///
    /// Only gzip is a compression that may be put one behind the other, as Firehose does in its
    /// objects; the configuration takes no other.
    pub fn packer(&self, compression: Compression, count_max: u32, first: Seq) -> Packer {
        let count_max = usize::try_from(count_max).unwrap_or(CALL_UNITS_MAX);
        let shape = CallShape {
            stream_key: "DeliveryStreamName",
            stream: self.config.stream.clone(),
            units_max: count_max.clamp(1, CALL_UNITS_MAX),
            bytes_max: CALL_BYTES_MAX,
            unit_bytes_max: RECORD_BYTES_MAX,
            billed_step: BILLED_STEP_BYTES,
        };
        Packer::new(shape, self.config.packing, compression, None, first)
    }

    /// What is known of the service's clock.
    pub const fn skew(&self) -> ClockSkew {
        self.caller.skew()
    }

    pub(super) fn prepare(
        &self,
        packed: &PackedUnits,
        units: &[usize],
        now: WallClock,
        credentials: Option<&Credentials>,
    ) -> Result<HttpRequest, Verdict> {
        self.caller.prepare(packed.body(units), now, credentials)
    }

    pub(super) fn interpret(
        &mut self,
        count: usize,
        result: Result<&HttpResponse, &TransportError>,
    ) -> Verdict {
        self.caller.interpret(count, result)
    }
}

#[cfg(test)]
mod tests;

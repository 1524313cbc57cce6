//! Amazon Kinesis Data Streams: `PutRecords`, signed with the corrected clock.

use std::time::Duration;

use diskring::Seq;

use super::aws::{CallShape, Caller, Operation, PackedUnits, Packer, RecordKeys};
use super::credentials::Credentials;
use super::{ClockSkew, HttpRequest, HttpResponse, TransportError, Verdict};
use crate::config::{Compression, KinesisConfig};
use crate::encode::Origin;
use crate::time::WallClock;

/// Kinesis records in one call.
pub const KINESIS_CALL_UNITS_MAX: usize = 500;

/// Data and keys in one call where a record may have no more than [`CLASSIC_RECORD_BYTES_MAX`].
const CLASSIC_CALL_BYTES_MAX: usize = 5 << 20;

/// Data and key of one record, as long as the stream is not set to larger ones.
const CLASSIC_RECORD_BYTES_MAX: usize = 1 << 20;

/// Data and keys in one call to a stream that is.
const LARGE_CALL_BYTES_MAX: usize = 10 << 20;

const PUT_RECORDS: Operation = Operation {
    service: "kinesis",
    target: "Kinesis_20131202.PutRecords",
};

/// Sends a call a batch.
#[derive(Clone, Debug)]
pub struct Kinesis {
    config: KinesisConfig,
    caller: Caller,
}

impl Kinesis {
    pub(super) fn new(config: &KinesisConfig, timeout: Duration) -> Self {
        Self {
            caller: Caller::new(PUT_RECORDS, &config.region, &config.endpoint, timeout),
            config: config.clone(),
        }
    }

    /// An empty call of at most `count_max` Kinesis records for the entries of `origin` from
    /// `first` on.
    pub fn packer(
        &self,
        origin: &Origin,
        compression: Compression,
        count_max: u32,
        first: Seq,
    ) -> Packer {
        let config = &self.config;
        let unit_bytes_max = config.record_bytes_max.as_usize();
        let count_max = usize::try_from(count_max).unwrap_or(KINESIS_CALL_UNITS_MAX);
        let shape = CallShape {
            stream_key: "StreamName",
            stream: config.stream.clone(),
            units_max: count_max.clamp(1, KINESIS_CALL_UNITS_MAX),
            bytes_max: if unit_bytes_max > CLASSIC_RECORD_BYTES_MAX {
                LARGE_CALL_BYTES_MAX
            } else {
                CLASSIC_CALL_BYTES_MAX
            },
            unit_bytes_max,
            billed_step: 1,
        };
        let keys = RecordKeys::new(
            config.partition_key.clone(),
            config.explicit_hash_key.clone(),
            origin.clone(),
        );
        Packer::new(shape, config.aggregation, compression, Some(keys), first)
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

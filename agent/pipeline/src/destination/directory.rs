//! Batches as files in a folder, for a gateway without a network.

use std::sync::Arc;

use super::{
    EncodedBody, FileError, FileRequest, Folder, Refusal, Retry, RetryClass, Sender, Verdict,
};

/// Writes a file a batch.
#[derive(Clone, Debug)]
pub struct Directory {
    folder: Folder,
}

impl Directory {
    /// Files of `sender`.
    pub(super) fn new(sender: &Sender) -> Self {
        Self {
            folder: Folder::new(&stem(sender, &sender.destination), sender.ring)
                .of_replay(sender.replay),
        }
    }

    /// The same files, in a folder into which the records of all these destinations are written.
    pub(super) fn shared(mut self, writers: &[String], sender: &Sender) -> Self {
        let others = writers
            .iter()
            .filter(|writer| **writer != sender.destination);
        let stems = others.map(|writer| stem(sender, writer));
        self.folder = self.folder.shared_with(stems);
        self
    }

    /// The folder, to make room in it.
    pub const fn folder(&self) -> &Folder {
        &self.folder
    }

    pub(super) fn prepare(&self, body: &EncodedBody) -> FileRequest {
        FileRequest {
            name: self.folder.file_name(body.unit.range, body.extension),
            bytes: Arc::clone(&body.bytes),
        }
    }

    pub(super) fn interpret(result: Result<&(), &FileError>) -> Verdict {
        match result {
            Ok(()) => Verdict::Accepted,
            Err(error @ FileError::TooLarge { .. }) => Verdict::TooLarge(Refusal {
                code: "TooLarge".to_owned(),
                reason: error.to_string(),
            }),
            // A full or missing file system is for the operator.
            Err(error @ FileError::Io(_)) => {
                Verdict::Retry(Retry::new(RetryClass::Configuration, error.to_string()))
            }
        }
    }
}

fn stem(sender: &Sender, destination: &str) -> String {
    format!("{}-{destination}", sender.agent)
}

#[cfg(test)]
mod tests {
    use super::super::{SeqRange, Unit, UnitFate};
    use super::*;
    use diskring::Seq;

    fn sender() -> Sender {
        Sender {
            ring: 0xab,
            agent: "gw1".to_owned(),
            destination: "usb".to_owned(),
            replay: None,
        }
    }

    #[test]
    fn file_is_named_by_its_range() {
        let bytes = Arc::new(b"x\n".to_vec());
        let body = EncodedBody {
            bytes: Arc::clone(&bytes),
            content_type: "application/x-ndjson",
            content_encoding: None,
            extension: "ndjson",
            unit: Unit {
                range: SeqRange::new(Seq::new(3), Seq::new(9)),
                count: 1,
                filtered: 0,
                fate: UnitFate::Sendable,
            },
        };
        let file = Directory::new(&sender()).prepare(&body);
        assert_eq!(
            file.name,
            "gw1-usb-00000000000000ab-000000000003-000000000009.ndjson"
        );
        assert!(Arc::ptr_eq(&file.bytes, &bytes));
        let replay = Sender {
            replay: Some(17),
            ..sender()
        };
        let file = Directory::new(&replay).prepare(&body);
        assert_eq!(
            file.name,
            "gw1-usb-00000000000000ab-000000000003-000000000009-replay-17.ndjson"
        );
    }

    #[test]
    fn answers_have_verdicts() {
        assert_eq!(Directory::interpret(Ok(&())), Verdict::Accepted);
        let error = FileError::TooLarge {
            bytes: 9,
            bytes_max: 8,
        };
        let Verdict::TooLarge(refusal) = Directory::interpret(Err(&error)) else {
            panic!("a file too large for its folder can be split");
        };
        assert_eq!(refusal.reason, "file of 9 bytes exceeds the folder's 8");
        let Verdict::Retry(retry) = Directory::interpret(Err(&FileError::Io("full".to_owned())))
        else {
            panic!("a full disk may have room later");
        };
        assert_eq!(retry.class, RetryClass::Configuration);
        assert_eq!(retry.reason, "file not written: full");
    }
}

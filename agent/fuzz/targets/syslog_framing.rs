//! A syslog connection: however its bytes are cut into reads, the messages are the same, and none
//! is longer than allowed.
#![no_main]

use pipeline::decode::syslog::Framer;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let [message_bytes_max, piece_len, stream @ ..] = data else {
        return;
    };
    let message_bytes_max = usize::from(*message_bytes_max) + 1;
    let whole = messages(message_bytes_max, [stream].into_iter());
    let pieces = stream.chunks(usize::from(*piece_len) + 1);
    assert_eq!(messages(message_bytes_max, pieces), whole);
    let taken: usize = whole.iter().map(|(bytes, _)| bytes.len()).sum();
    assert!(taken <= stream.len());
});

fn messages<'a>(
    message_bytes_max: usize,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> Vec<(Vec<u8>, bool)> {
    let mut framer = Framer::new(message_bytes_max);
    let mut messages = Vec::new();
    for piece in pieces {
        framer.handle_bytes(piece);
        while let Some(message) = framer.poll_message() {
            assert!(message.bytes.len() <= message_bytes_max);
            messages.push((message.bytes.to_vec(), message.cut));
        }
        framer.release();
    }
    if let Some(message) = framer.handle_end() {
        messages.push((message.bytes.to_vec(), message.cut));
    }
    messages
}

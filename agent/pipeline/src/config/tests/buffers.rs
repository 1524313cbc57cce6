//! Several buffers: what they mean, and what is wrong between them and their users.

use super::{FrameCompression, MINIMAL, check, good};

const FILE: &str = "type = \"file\"\npaths = [\"/x\"]\n";
const OUT: &str = "[destinations.out]\ntype = \"directory\"\npath = \"/out\"\n";

/// A configuration with a buffer for each of these names and a source that uses it.
fn with_buffers(names: &[&str]) -> String {
    let used =
        |name: &&str| format!("[buffers.{name}]\n[sources.s-{name}]\n{FILE}buffer = \"{name}\"\n");
    MINIMAL.to_owned() + &names.iter().map(used).collect::<String>()
}

#[test]
fn buffers_have_the_same_keys_and_defaults() {
    let text = with_buffers(&["alarms", "bulk"])
        + "[buffer]\nsize = \"2MiB\"\n[buffers.bulk.encryption]\nkey_file = \"/key\"\n";
    let config = good(&text.replace("[buffers.alarms]\n", "[buffers.alarms]\nsize = \"3MiB\"\n"));
    let sizes: Vec<(&str, u64)> = config
        .buffers
        .iter()
        .map(|(name, buffer)| (name.as_str(), buffer.size.as_u64() >> 20))
        .collect();
    assert_eq!(sizes, [("alarms", 3), ("bulk", 512), ("default", 2)]);
    assert_eq!(config.sources["s-alarms"].buffer, "alarms");
    assert!(config.buffers["bulk"].encryption.is_some());
    assert!(config.buffers["alarms"].encryption.is_none());
}

/// What has a name of its own goes before what has none, whatever the names.
#[test]
fn priority_is_as_written_or_default_last() {
    let text = with_buffers(&["zeta", "alarms"]);
    let config = good(&text);
    assert_eq!(
        config.destinations["out"].buffers,
        ["alarms", "zeta", "default"]
    );
    let text = text.replace(
        "url =",
        "buffers = [\"zeta\", \"default\", \"alarms\"]\nurl =",
    );
    assert_eq!(
        good(&text).destinations["out"].buffers,
        ["zeta", "default", "alarms"]
    );
}

#[test]
fn eight_buffers_are_the_most() {
    let names = ["a", "b", "c", "d", "e", "f", "g"];
    assert_eq!(good(&with_buffers(&names)).buffers.len(), 8);
    let text = with_buffers(&[&names[..], &["h"]].concat());
    check(
        &text,
        &[
            "h.toml:9: buffers: are 9 with the one of [buffer], and the memory of a gateway bears \
             8; let sources share one",
        ],
    );
}

/// `text` behind a source `a` in the buffer `alarms` and a destination has exactly these problems.
fn check_beside(text: &str, expected: &[&str]) {
    let before = format!("[buffers.alarms]\n[sources.a]\n{FILE}buffer = \"alarms\"\n{OUT}");
    assert_eq!(before.lines().count(), 8);
    check(
        &format!("{before}{text}[sources.d]\n{FILE}[agent]\nid = \"g\"\n"),
        expected,
    );
}

#[test]
fn names_of_buffers_must_exist() {
    check_beside("", &[]);
    check_beside(
        &format!(
            "buffers = [\"alarm\", \"default\", \"default\"]\n[sources.b]\n{FILE}buffer = \"spare\"\n"
        ),
        &[
            "h.toml:9: destinations.out.buffers: there is no buffer \"alarm\"; \
             did you mean \"alarms\"?",
            "h.toml:9: destinations.out.buffers: \"default\" is named twice",
            "h.toml:13: sources.b.buffer: there is no buffer \"spare\"; add it as [buffers.NAME]",
        ],
    );
    check_beside(
        "buffers = []\n",
        &[
            "h.toml:9: destinations.out.buffers: is an empty list; leave it out, or write at least one",
        ],
    );
}

#[test]
fn the_tables_of_buffers_are_checked() {
    let at_end = |text: &str, expected: &str| check(&format!("{MINIMAL}{text}"), &[expected]);
    at_end(
        "[buffers.default]\nsize = \"1GiB\"\n",
        "h.toml:9: buffers.default: is the buffer that [buffer] configures; write [buffer] instead",
    );
    at_end(
        "[buffers]\nsize = \"1GiB\"\n",
        "h.toml:10: buffers.size: is \"1GiB\", not a buffer; \
         write it below [buffer] or [buffers.NAME]",
    );
    at_end(
        "[buffers]\nalarms = 3\n",
        "h.toml:10: buffers.alarms: is 3, not a buffer; write [buffers.alarms]",
    );
    at_end(
        "[buffers.a]\nsise = \"1GiB\"\n",
        "h.toml:10: buffers.a.sise: unknown key; did you mean size?",
    );
    at_end(
        "[buffers.a]\nencryption = { key_file = \"/a\", credential = \"b\" }\n",
        "h.toml:10: buffers.a.encryption.credential: names a second key beside key_file; \
         write one of the two",
    );
    at_end(
        "[buffers.\"a/b\"]\n",
        "h.toml:9: buffers.\"a/b\": a name has letters, digits, \".\", \"_\" and \"-\", \
         and at most 64 of them",
    );
    at_end(
        "[[buffers]]\n",
        "h.toml:9: buffers: is a list, not a table; write [buffers.NAME]",
    );
}

#[test]
fn what_nobody_stores_into_or_takes_from_is_told() {
    check_beside(
        "[buffers.spare]\n",
        &[
            "h.toml:9: warning: buffers.spare: no source stores into it; write buffer = \"spare\" \
             in a source, or leave it out once nothing waits in it",
        ],
    );
    check_beside(
        "buffers = [\"default\"]\n",
        &[
            "h.toml:5: warning: sources.a.buffer: no destination takes from buffer \"alarms\"; \
             add \"alarms\" to the buffers of one",
        ],
    );
    check_beside(
        "buffers = [\"default\"]\nfrom = [\"a\", \"d\"]\n",
        &[
            "h.toml:10: destinations.out.from: sources.a stores into buffer \"alarms\", from \
             which this destination does not take; add \"alarms\" to its buffers",
        ],
    );
    // The other source is named by nobody, which is another matter.
    check_beside(
        "buffers = [\"default\"]\nfrom = [\"d\"]\n",
        &["h.toml:2: warning: sources.a: is taken by no destination; \
             add \"a\" to the from list of one"],
    );
}

#[test]
fn a_default_ring_that_nobody_uses_should_be_small() {
    let text = MINIMAL.replace("paths", "buffer = \"a\"\npaths") + "[buffers.a]\n";
    check(
        &text,
        &[
            "h.toml: warning: buffer: no source stores into it, and its ring takes 512 MiB all \
             the same; write size = \"1MiB\"",
        ],
    );
    check(&format!("{text}[buffer]\nsize = \"1MiB\"\n"), &[]);
}

#[test]
fn records_lie_on_disk_as_chosen() {
    let compression = |keys: &str| {
        let text = with_buffers(&["a"]).replace("[buffers.a]\n", &format!("[buffers.a]\n{keys}"));
        good(&text).buffers["a"].compression
    };
    assert_eq!(compression(""), FrameCompression::Snappy);
    assert_eq!(
        compression("compression = \"zstd\"\n"),
        FrameCompression::Zstd { level: 1 }
    );
    assert_eq!(
        compression("compression = \"zstd\"\ncompression_level = 9\n"),
        FrameCompression::Zstd { level: 9 }
    );
    let text = with_buffers(&[]) + "[buffer]\ncompression_level = 3\n";
    check(
        &text,
        &[
            "h.toml:10: warning: buffer.compression_level: has no effect with compression = \
             \"snappy\"; write compression = \"zstd\"",
        ],
    );
}

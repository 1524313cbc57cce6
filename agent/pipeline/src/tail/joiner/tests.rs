//! Lines as programs write them, and the records that they are.

use std::time::Duration;

use super::*;
use crate::config::{
    ByteSize, Encoding, FileConfig, LineFormat, MultilineConfig, MultilineRule, StartAt, Watching,
};

/// The rules of a source with these lines joined.
fn rules(rule: Option<MultilineRule>, bytes_max: u64, lines_max: usize) -> RecordRules {
    RecordRules::compile(&config(rule, bytes_max, lines_max)).unwrap()
}

fn config(rule: Option<MultilineRule>, bytes_max: u64, lines_max: usize) -> FileConfig {
    FileConfig {
        paths: Vec::new(),
        exclude: Vec::new(),
        ignore_older: None,
        open_files_max: 10,
        watch: Watching::Auto,
        start_at: StartAt::Beginning,
        line_bytes_max: ByteSize::bytes(1000),
        poll_interval: Duration::from_secs(1),
        encoding: Encoding::Utf8,
        format: LineFormat::Plain,
        multiline: rule.map(|rule| MultilineConfig {
            rule,
            timeout: Duration::from_secs(1),
            bytes_max: ByteSize::bytes(bytes_max),
            lines_max,
        }),
    }
}

fn start(pattern: &str) -> RecordRules {
    rules(Some(MultilineRule::Start(pattern.to_owned())), 1000, 100)
}

/// Lines of a file with the joiner that takes them.
struct Bed {
    rules: RecordRules,
    joiner: Joiner,
    now: Monotonic,
    offset: u64,
    /// Each record with the checkpoint behind it.
    records: Vec<(Joined, u64)>,
}

impl Bed {
    fn new(rules: RecordRules) -> Self {
        Self {
            rules,
            joiner: Joiner::default(),
            now: Monotonic::default(),
            offset: 0,
            records: Vec::new(),
        }
    }

    fn take(&mut self, text: &str) {
        for line in text.lines() {
            let line = Line {
                start: self.offset,
                bytes: line.as_bytes(),
                is_cut: false,
                replaced: false,
            };
            self.joiner.handle_line(&self.rules, self.now, line);
            self.offset += u64::try_from(line.bytes.len()).unwrap() + 1;
            self.poll();
        }
    }

    fn poll(&mut self) {
        while let Some(record) = self.joiner.poll_record() {
            let checkpoint = self.joiner.checkpoint().unwrap_or(self.offset);
            self.records.push((record, checkpoint));
        }
        let held: usize = self.joiner.parts.iter().map(Part::size).sum();
        assert_eq!(self.joiner.len_bytes(), held);
    }

    fn wait(&mut self, time: Duration) {
        self.now = self.now.after(time);
        self.joiner.handle_timeout(self.now);
        self.poll();
    }

    fn end(&mut self) {
        self.joiner.handle_end();
        self.poll();
        assert_eq!(self.joiner.len_bytes(), 0);
    }

    fn texts(&self) -> Vec<&str> {
        let records = self.records.iter();
        records
            .map(|(record, _)| std::str::from_utf8(&record.payload).unwrap())
            .collect()
    }
}

/// `lines` are these records, however often the joiner is asked, and again from each checkpoint.
fn check(rules: fn() -> RecordRules, lines: &str, expected: &[&str]) {
    let mut bed = Bed::new(rules());
    bed.take(lines);
    bed.end();
    assert_eq!(bed.texts(), expected);
    for (n, (_, checkpoint)) in bed.records.iter().enumerate() {
        let mut again = Bed::new(rules());
        // The last line has no end, which the checkpoint counts.
        let from = usize::try_from(*checkpoint).unwrap();
        again.take(lines.get(from..).unwrap_or_default());
        again.end();
        assert_eq!(again.texts(), expected[n + 1..], "from {checkpoint}");
    }
}

const JAVA: &str = "2026-11-25 08:00:00 ERROR order failed
java.lang.IllegalStateException: no stock
\tat com.example.Shop.order(Shop.java:42)
\tat com.example.Main.main(Main.java:7)
Caused by: java.io.IOException: broken pipe
\tat java.base/sun.nio.ch.Net.write(Net.java:1)
\t... 2 more

2026-11-25 08:00:01 INFO next";

#[test]
fn java_stack_trace_is_one_record_by_its_start() {
    let (trace, next) = JAVA.rsplit_once('\n').unwrap();
    check(|| start(r"^\d{4}-\d\d-\d\d "), JAVA, &[trace, next]);
    // What comes before the first start is a record as well.
    check(|| start("^A"), "x\ny\nA\nb", &["x\ny", "A\nb"]);
}

#[test]
fn java_stack_trace_is_one_record_by_its_continuation() {
    let rules = || {
        let pattern = r"^(\s+at |\s+\.\.\. |Caused by: |java\.|$)";
        rules(
            Some(MultilineRule::Continuation(pattern.to_owned())),
            1000,
            100,
        )
    };
    let (trace, next) = JAVA.rsplit_once('\n').unwrap();
    check(rules, JAVA, &[trace, next]);
}

#[test]
fn python_traceback_is_one_record() {
    let trace = "Traceback (most recent call last):
  File \"/app/main.py\", line 12, in <module>
    main()
  File \"/app/main.py\", line 8, in main
    raise ValueError(\"x\")
ValueError: x";
    let lines = format!("INFO begin\n{trace}\nINFO end");
    let rules_of = || start("^(INFO|WARN|ERROR|Traceback)");
    check(rules_of, &lines, &["INFO begin", trace, "INFO end"]);
    // By indentation the last line is one of its own: it is not indented.
    let indented = || rules(Some(MultilineRule::Indentation), 1000, 100);
    let (most, last) = trace.rsplit_once('\n').unwrap();
    check(indented, &lines, &["INFO begin", most, last, "INFO end"]);
}

#[test]
fn an_open_record_ends_when_its_file_is_silent() {
    let mut bed = Bed::new(start("^A"));
    assert_eq!(bed.joiner.poll_timeout(), None);
    bed.take("A\nb");
    let at = Monotonic::default().after(Duration::from_secs(1));
    assert_eq!(bed.joiner.poll_timeout(), Some(at));
    bed.wait(Duration::from_millis(900));
    bed.take("c");
    bed.wait(Duration::from_millis(900));
    assert_eq!((bed.texts(), bed.joiner.checkpoint()), (vec![], Some(0)));
    bed.wait(Duration::from_millis(100));
    assert_eq!(
        (bed.texts(), bed.joiner.checkpoint()),
        (vec!["A\nb\nc"], None)
    );
    assert_eq!(bed.joiner.poll_timeout(), None);
    // What comes too late is a record of its own.
    bed.take("d\nA");
    assert_eq!(bed.texts(), ["A\nb\nc", "d"]);
}

#[test]
fn a_record_without_end_is_bounded_and_nothing_of_it_is_lost() {
    for (bytes_max, lines_max) in [(40, 1000), (1000, 4)] {
        let mut bed = Bed::new(rules(
            Some(MultilineRule::Start("^never".to_owned())),
            bytes_max,
            lines_max,
        ));
        let lines: Vec<String> = (100..160).map(|n| format!("line {n}")).collect();
        bed.take(&lines.join("\n"));
        bed.end();
        assert_eq!(bed.texts().join("\n"), lines.join("\n"));
        assert_eq!(bed.records.len(), 15, "four lines each");
        for (n, (record, _)) in bed.records.iter().enumerate() {
            assert_eq!(record.continued, n > 0);
            assert!(!record.truncated);
        }
    }
}

#[test]
fn a_line_alone_may_be_longer_than_a_record() {
    let long = "x".repeat(900);
    let mut bed = Bed::new(rules(Some(MultilineRule::Indentation), 100, 10));
    bed.take(&format!("{long}\n a\n{long}"));
    bed.end();
    assert_eq!(bed.texts(), [&long, " a", &long]);
}

#[test]
fn a_cut_line_marks_its_record() {
    let mut joiner = Joiner::default();
    let rules = start("^A");
    for (start, is_cut) in [(0, false), (10, true)] {
        let line = Line {
            start,
            bytes: b"x",
            is_cut,
            replaced: false,
        };
        joiner.handle_line(&rules, Monotonic::default(), line);
    }
    joiner.handle_end();
    let record = joiner.poll_record().unwrap();
    assert_eq!(
        (record.payload.as_slice(), record.truncated),
        (&b"x\nx"[..], true)
    );
}

#[test]
fn what_is_let_go_is_read_again() {
    let mut bed = Bed::new(start("^A"));
    bed.take("A\nb");
    bed.joiner.clear();
    assert_eq!(
        (bed.joiner.poll_record(), bed.joiner.len_bytes()),
        (None, 0)
    );
}

#[test]
fn patterns_that_are_none_are_refused() {
    let config = config(Some(MultilineRule::Start("(".to_owned())), 1000, 10);
    assert!(RecordRules::compile(&config).is_err());
}

fn wrapped(format: LineFormat, rule: Option<MultilineRule>) -> RecordRules {
    let mut config = config(rule, 100, 100);
    config.format = format;
    config.line_bytes_max = ByteSize::bytes(50);
    RecordRules::compile(&config).unwrap()
}

/// A line of CRI at this second.
fn cri(second: u32, rest: &str) -> String {
    format!("1970-01-01T00:00:{second:02}Z {rest}\n")
}

#[test]
fn parts_of_a_line_are_joined_stream_by_stream_and_in_order() {
    let lines = [
        cri(1, "stdout P one "),
        cri(2, "stderr F other"),
        cri(3, "stdout P and "),
        cri(4, "stderr P x"),
        cri(5, "stdout F two"),
        cri(6, "stdout F three"),
    ];
    let mut bed = Bed::new(wrapped(LineFormat::Cri, None));
    bed.take(&lines[..4].concat());
    // The other stream's line came later, and waits: the checkpoint is one number.
    assert_eq!((bed.texts(), bed.joiner.checkpoint()), (vec![], Some(0)));
    bed.take(&lines[4..].concat());
    assert_eq!(bed.texts(), ["one and two", "other"]);
    bed.end();
    assert_eq!(bed.texts(), ["one and two", "other", "x", "three"]);
    let record = &bed.records[0].0;
    assert_eq!(record.time, Some(WallClock::from_millis(1000)));
    assert_eq!(record.stream, Some(Stream::Stdout));
    assert_eq!(bed.records[1].0.stream, Some(Stream::Stderr));
}

#[test]
fn a_line_of_endless_parts_is_cut() {
    let mut bed = Bed::new(wrapped(LineFormat::Cri, None));
    for second in 0..30 {
        bed.take(&cri(second, "stdout P 0123456789"));
    }
    bed.take(&cri(31, "stdout F end"));
    bed.take(&cri(32, "stdout F next"));
    assert_eq!(bed.texts(), ["0123456789".repeat(5).as_str(), "next"]);
    let truncated: Vec<bool> = bed.records.iter().map(|(r, _)| r.truncated).collect();
    assert_eq!(truncated, [true, false]);
}

#[test]
fn a_part_without_its_rest_ends_with_the_silence() {
    let mut bed = Bed::new(wrapped(LineFormat::Cri, None));
    bed.take(&cri(1, "stdout P begun"));
    bed.wait(Duration::from_secs(5));
    assert_eq!(bed.texts(), ["begun"]);
}

#[test]
fn what_does_not_fit_the_wrapper_is_kept_raw() {
    for format in [LineFormat::Cri, LineFormat::DockerJson] {
        let mut bed = Bed::new(wrapped(format, None));
        bed.take("neither of them\n\n");
        assert_eq!(bed.texts(), ["neither of them", ""]);
        for (record, _) in &bed.records {
            assert!(record.decode_error.is_some(), "{record:?}");
            assert_eq!((record.stream, record.time), (None, None));
        }
    }
}

#[test]
fn wrapped_lines_are_joined_to_records_of_their_stream() {
    let rule = || Some(MultilineRule::Indentation);
    let mut bed = Bed::new(wrapped(LineFormat::Cri, rule()));
    bed.take(&cri(1, "stderr F error"));
    bed.take(&cri(2, "stdout F fine"));
    bed.take(&cri(3, "stderr P  at a"));
    bed.take(&cri(4, "stderr F  and b"));
    bed.take(&cri(5, "stderr F  at c"));
    bed.end();
    assert_eq!(bed.texts(), ["error\n at a and b\n at c", "fine"]);

    let mut bed = Bed::new(wrapped(LineFormat::DockerJson, rule()));
    let time = "1970-01-01T00:00:01Z";
    for log in ["error\\n", " at ", "a\\n", "next\\n"] {
        bed.take(&format!(
            "{{\"log\":\"{log}\",\"stream\":\"stderr\",\"time\":\"{time}\"}}\n"
        ));
    }
    bed.end();
    assert_eq!(bed.texts(), ["error\n at a", "next"]);
}

#[test]
fn what_waits_behind_an_open_record_is_bounded() {
    let mut bed = Bed::new(wrapped(LineFormat::Cri, None));
    bed.take(&cri(1, "stdout P begun"));
    for second in 0..50 {
        bed.take(&cri(
            second,
            "stderr F 0123456789012345678901234567890123456789",
        ));
        assert!(bed.joiner.len_bytes() < 4600, "{}", bed.joiner.len_bytes());
    }
    assert_eq!(bed.texts()[0], "begun");
    assert_eq!(bed.records.len(), 51);
}

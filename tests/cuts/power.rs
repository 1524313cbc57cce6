//! Power cuts: an agent at full load on ext4, and what is left of its ring whenever the disk stops.
//!
//! The run is logged once; then the disk is rebuilt for one cut after another, repaired and mounted
//! as at a boot, and the ring in it is held to every promise given before. Of some cuts the agent
//! itself starts and has to deliver what waits.
//!
//! `HYDRANT_TEST_SEED` chooses the cuts of a run. What fails keeps its run and says how one cut of
//! it is tried again: `HYDRANT_TEST_CUT=FOLDER:STOP:KEEP:SEED`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use diskring::sim::Rng;

use crate::disk::{Disk, Mounted, Scratch, inspect, make_image, repair};
use crate::harness::{Agent, Folder, Receiver, free_port, long, run, wait_until, write};
use crate::load::{self, LINES, Run, seq_and_text, text_of};
use crate::machine;
use crate::promises::Promises;
use crate::ring_view::View;
use crate::write_log::{Cut, Keep, Replay, WriteLog};

/// Small, because it is rebuilt again and again.
const DISK_BYTES: usize = 16 << 20;

/// Small, so that it laps.
const RING: &str = "2MiB";

/// How many cuts are spread over the whole run.
const CUTS: usize = 200;

/// How many cuts at most are in each start of the agent.
const CUTS_IN_A_START: usize = 25;

/// Of so many cuts the agent starts itself.
const WHOLE: usize = 6;

/// The files of a run, in the folder that a failed test keeps.
struct Files {
    base: PathBuf,
    log: PathBuf,
    run: PathBuf,
}

impl Files {
    fn of(folder: &Path) -> Self {
        Files {
            base: folder.join("base.img"),
            log: folder.join("write.log"),
            run: folder.join("run.json"),
        }
    }
}

#[test]
fn what_was_acknowledged_survives_every_cut() {
    if !machine::can_make_disks() {
        return;
    }
    let began = Instant::now();
    let folder = Folder::new();
    let chosen = std::env::var("HYDRANT_TEST_CUT").ok();
    let chosen: Option<(PathBuf, Cut)> = chosen.map(|text| {
        let (folder, cut) = text.split_once(':').expect("FOLDER:STOP:KEEP:SEED");
        (folder.into(), cut.parse().unwrap())
    });
    let files = Files::of(chosen.as_ref().map_or(folder.path(), |(folder, _)| folder));
    if chosen.is_none() {
        record(&folder, &files);
    }
    let log = WriteLog::read(&files.log, DISK_BYTES);
    let run: Run = serde_json::from_slice(&fs::read(&files.run).unwrap()).unwrap();
    let recorded = began.elapsed();
    let cuts = match chosen {
        Some((_, cut)) => vec![cut],
        None => choose(&log, &run),
    };
    let mut figures = Figures::default();
    let mut failures = Vec::new();
    let mut trial = Trial::new(&folder, &log, &run, fs::read(&files.base).unwrap());
    let every = (cuts.len() / WHOLE).max(1);
    for (number, cut) in cuts.iter().enumerate() {
        let is_whole = number % every == every / 2;
        if let Err(text) = trial.cut(*cut, is_whole, &mut figures) {
            failures.push(format!(
                "{text}\n  again: HYDRANT_TEST_CUT={}:{cut} cargo test -p hydrant --test cuts cut",
                files.log.parent().unwrap().display()
            ));
        }
    }
    let records: usize = run.streams.iter().map(|stream| stream.sent.len()).sum();
    eprintln!(
        "{records} records, {} acknowledged, {} requests to the disk, {} flushes; {figures:?}; \
         recorded in {recorded:.1?}, {:.1?} in all",
        trial.promises.count(log.len()),
        log.len(),
        log.flushes().len(),
        began.elapsed()
    );
    let some: Vec<&String> = failures.iter().take(5).collect();
    assert!(
        failures.is_empty(),
        "{} of {} cuts broke a promise:\n{some:#?}",
        failures.len(),
        cuts.len()
    );
    if cuts.len() > 1 {
        figures.check();
    }
}

/// Runs an agent under load on a logged disk.
fn record(folder: &Folder, files: &Files) {
    make_image(&files.base, u64::try_from(DISK_BYTES).unwrap());
    let at = folder.make("run");
    let mut disk = Disk::logged(&at, &files.base, &files.log);
    let mut run = load::run(&at, &files.log, RING);
    disk.unmount();
    run.ring_blocks = blocks_of(&disk.image, "/buffer.ring");
    write(&files.run, serde_json::to_vec(&run).unwrap());
}

/// The blocks of a file in an image.
fn blocks_of(image: &Path, file: &str) -> BTreeSet<usize> {
    let output = run(
        "debugfs",
        &["-R", &format!("blocks {file}"), image.to_str().unwrap()],
    );
    let text = String::from_utf8(output.stdout).unwrap();
    let blocks = text.split_whitespace().map(|block| block.parse().unwrap());
    blocks.collect()
}

/// Cuts at and between flushes all over the run, and more of them while the agent starts.
fn choose(log: &WriteLog, run: &Run) -> Vec<Cut> {
    let given = std::env::var("HYDRANT_TEST_SEED").ok();
    let seed = given.map_or(0x5eed, |text| text.parse().unwrap());
    eprintln!("HYDRANT_TEST_SEED={seed}");
    let mut chance = Rng::new(seed);
    let flushes = log.flushes();
    let mut cuts = Vec::new();
    let wanted = if long() { 3 * flushes.len() } else { CUTS };
    for number in 0..wanted {
        let nth = number * flushes.len() / wanted;
        let flush = flushes[nth];
        let before = nth.checked_sub(1).map_or(0, |nth| flushes[nth]);
        let between = before + 1 + chance.below(flush - before);
        let (stop, keep) = match chance.below(6) {
            0 => (flush + 1, Keep::All),
            1 => (flush, Keep::Some),
            2 => (flush, Keep::Torn),
            3 => (between, Keep::None),
            4 => (between, Keep::All),
            _ => (between, Keep::Torn),
        };
        let seed = chance.next_u64();
        cuts.push(Cut { stop, keep, seed });
    }
    for (before, after) in &run.starts {
        let (first, last) = (log.begun(*before), log.begun(*after));
        let every = (last - first).div_ceil(CUTS_IN_A_START).max(1);
        for stop in (first..=last).step_by(every) {
            let keep = [Keep::None, Keep::All, Keep::Some, Keep::Torn][chance.below(4)];
            let seed = chance.next_u64();
            cuts.push(Cut { stop, keep, seed });
        }
    }
    cuts.sort_by_key(|cut| cut.stop);
    cuts
}

/// What was seen; without enough of each the test would be green for want of trouble.
#[derive(Debug, Default)]
struct Figures {
    cuts: usize,
    /// Records that had to be there, over all cuts.
    promises: usize,
    entries: usize,
    bytes_lost: usize,
    groups_truncated: usize,
    before_the_ring: usize,
    evicted: usize,
    delivered: usize,
    repaired: usize,
    starts: usize,
}

impl Figures {
    fn check(&self) {
        let enough = [
            (self.cuts, CUTS),
            (self.promises, 10_000),
            (self.entries, 10_000),
            (self.bytes_lost, 256 << 10),
            (self.groups_truncated, 5),
            (self.evicted, CUTS / 4),
            (self.delivered, CUTS / 2),
            (self.repaired, CUTS / 4),
            (self.starts, WHOLE - 1),
        ];
        assert!(
            enough.iter().all(|(seen, least)| seen >= least),
            "too little happened: {self:?}"
        );
    }
}

/// A disk on which one cut after another is tried.
struct Trial<'a> {
    promises: Promises,
    run: &'a Run,
    replay: Replay<'a>,
    content: Vec<u8>,
    scratch: Scratch,
    /// Where the agent lives that is started on a cut.
    home: PathBuf,
}

impl<'a> Trial<'a> {
    fn new(folder: &Folder, log: &'a WriteLog, run: &'a Run, base: Vec<u8>) -> Self {
        Trial {
            promises: Promises::new(run, log),
            run,
            replay: Replay::new(log, base, &run.ring_blocks),
            content: Vec::new(),
            scratch: Scratch::new(&folder.join("scratch.img"), DISK_BYTES),
            home: folder.make("again"),
        }
    }

    /// Tries one cut; with `is_whole` the agent itself starts on it.
    fn cut(&mut self, cut: Cut, is_whole: bool, figures: &mut Figures) -> Result<(), String> {
        let lost = self.replay.cut(cut, &mut self.content);
        self.scratch.put(&self.content);
        figures.cuts += 1;
        figures.bytes_lost += lost;
        // Half of the machines repair before they mount, the others let the kernel do it.
        let repairs = cut.seed.is_multiple_of(2);
        if repairs {
            figures.repaired += 1;
            repair(&self.scratch.device)?;
        }
        let state = self.home.join("state");
        let mounted = Mounted::mount(&self.scratch.device, &state)?;
        let checked = self.check(&state, cut, figures);
        let outcome = match checked {
            Ok(Some(view)) if is_whole => {
                figures.starts += 1;
                self.start(&view)
            }
            checked => checked.map(drop),
        };
        mounted.unmount();
        outcome?;
        if repairs {
            return Ok(());
        }
        inspect(&self.scratch.device)
    }

    /// Holds the ring to the promises; `None` when there was none yet.
    fn check(&self, state: &Path, cut: Cut, figures: &mut Figures) -> Result<Option<View>, String> {
        let promised = self.promises.count(cut.stop);
        let Ok(bytes) = fs::read(state.join("buffer.ring")) else {
            figures.before_the_ring += 1;
            if promised > 0 {
                return Err(format!(
                    "{promised} records were acknowledged and there is no ring"
                ));
            }
            return Ok(None);
        };
        let view = View::recover(bytes)?;
        view.check(&self.promises, cut.stop)?;
        figures.promises += promised;
        figures.entries += view.entries.len();
        figures.groups_truncated += usize::from(view.truncated > 0);
        if let Some(tally) = &view.tally {
            figures.delivered += usize::from(tally.delivered() > 0);
            figures.evicted += usize::from(!tally.evicted().is_empty());
        }
        Ok(Some(view))
    }

    /// Starts the agent, which delivers what waits and goes on where the file was left.
    fn start(&self, view: &View) -> Result<(), String> {
        let receiver = Receiver::start();
        let sources = load::sources(free_port(), free_port(), &self.run.lines);
        let destination = receiver.destination("lake");
        let config = format!("when_full = \"block\"\n{sources}{destination}");
        let mut agent = Agent::with_ring(&self.home, RING, &config);
        agent.start();
        let lines = self.run.streams.iter().find(|stream| stream.name == LINES);
        let lines = lines.map_or(0, |stream| stream.sent.len());
        let mut expected: Vec<(u64, String)> = view
            .waiting()
            .map(|(seq, text)| (seq, text.to_owned()))
            .collect();
        for (seq, number) in (view.next..).zip(view.lines() + 1..=lines) {
            expected.push((seq, text_of(LINES, number)));
        }
        wait_until("everything that waits", || {
            let log = receiver.log();
            (log.records.len() >= expected.len()).then_some(())
        });
        let delivered: Vec<(u64, String)> = {
            let log = receiver.log();
            log.records.iter().map(seq_and_text).collect()
        };
        if agent.stop().code() != Some(0) {
            return Err(agent.log());
        }
        if delivered != expected {
            let differs = delivered.iter().zip(&expected).find(|(a, b)| a != b);
            return Err(format!(
                "the agent delivered {} records instead of {}: {differs:?}",
                delivered.len(),
                expected.len()
            ));
        }
        Ok(())
    }
}

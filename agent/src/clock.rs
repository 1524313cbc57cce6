//! The only place that asks the machine for the time.
//!
//! What it says is believed or not by [`pipeline::clock`]; the machine is one, and so is what is
//! known of its clock, whoever holds a [`Clock`].

use std::fs;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use pipeline::boots::{Boot, Boots};
use pipeline::clock::{BootClock, BootId, Boottime, EARLIEST, Learned, Moment, Reading, Teacher};
use pipeline::destination::{HttpResponse, date_at_receipt};
use pipeline::time::{Monotonic, WallClock};
use rustix::time::{ClockId, clock_gettime};
use rustls::time_provider::TimeProvider;
use rustls_pki_types::UnixTime;
use tokio::sync::watch;

use crate::telemetry::ClockStatus;
use crate::time_daemons;

const FAR_AWAY: Duration = Duration::from_hours(24 * 365 * 30);

/// The kernel's name for this boot.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// systemd-timesyncd touches it whenever a server has told the time.
pub(crate) const CONFIRMED: &str = "/run/systemd/timesync/synchronized";

/// How often the mark of systemd-timesyncd is looked at while nothing is known, and later.
const LOOK_UNSYNCED: Duration = Duration::from_secs(1);
const LOOK_SYNCED: Duration = Duration::from_secs(10);

/// How often other daemons are asked: servers of NTP may ignore who asks every 8 s.
const ASK: Duration = Duration::from_secs(10);

static MACHINE: LazyLock<Machine> = LazyLock::new(Machine::look);

/// The clocks of this process and of its machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
}

/// What is known of the machine's clock.
struct Machine {
    boot: BootId,
    clock: Mutex<BootClock>,
    /// When a daemon that has to be asked was last in step, as it said when it was last asked.
    told: Mutex<Option<WallClock>>,
    /// The latest moment of an earlier boot that is known, in milliseconds since 1970.
    earlier_ms: AtomicI64,
    /// Counts what was learnt.
    changes: watch::Sender<u64>,
}

impl Clock {
    /// Starts counting.
    pub(crate) fn start() -> Self {
        Self {
            start: Instant::now(),
        }
    }

    /// The best that is known of the calendar.
    pub(crate) fn wall(&self) -> WallClock {
        self.moment().time
    }

    /// This moment, as far as it is known.
    #[expect(clippy::unused_self, reason = "who holds no clock is not to ask it")]
    pub(crate) fn moment(&self) -> Moment {
        MACHINE.clock().moment(wall(), boottime())
    }

    /// What has passed since the start.
    pub(crate) fn monotonic(&self) -> Monotonic {
        Monotonic::from_start(self.start.elapsed())
    }

    /// The tokio instant of `at`, for timers.
    pub(crate) fn instant(&self, at: Monotonic) -> tokio::time::Instant {
        let at = self.start.checked_add(at.elapsed());
        // A moment that the machine cannot count is as good as never.
        tokio::time::Instant::from_std(at.unwrap_or_else(|| Instant::now() + FAR_AWAY))
    }

    /// Believes the machine's clock as it is.
    #[expect(clippy::unused_self, reason = "who holds no clock is not to set it")]
    pub(crate) fn trust(&self) {
        *MACHINE.clock() = BootClock::new(MACHINE.boot.tag(), true);
    }

    /// Which boot of the machine this is.
    #[expect(clippy::unused_self, reason = "who holds no clock is not to ask it")]
    pub(crate) fn boot(&self) -> BootId {
        MACHINE.boot
    }

    /// What records of this boot that did not know the time are corrected with.
    #[expect(clippy::unused_self, reason = "who holds no clock is not to ask it")]
    pub(crate) fn correction(&self) -> Option<Learned> {
        // A boot without a name cannot be told from others, and corrects nothing.
        let is_named = MACHINE.boot != BootId::default();
        MACHINE.clock().correction().filter(|_| is_named)
    }

    /// Adds to what a ring knows of the boots what is known of this one.
    pub(crate) fn complete(&self, boots: &mut Boots) {
        if let Some(learned) = self.correction() {
            boots.begin(self.boot(), diskring::Seq::ZERO);
            boots.learn(self.boot(), learned);
        }
    }

    /// Tells that something was learnt.
    #[expect(clippy::unused_self, reason = "who holds no clock is not to ask it")]
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        MACHINE.changes.subscribe()
    }

    /// A ring knows that `moment` has passed.
    #[expect(clippy::unused_self, reason = "who holds no clock is not to set it")]
    pub(crate) fn handle_earlier(&self, moment: WallClock) {
        let earlier_ms = moment.as_millis();
        MACHINE.earlier_ms.fetch_max(earlier_ms, Ordering::Relaxed);
    }

    /// The time to judge certificates by. No certificate that is in use was made for a time before
    /// this program; nor, while nobody has told the time, before what an earlier boot had learnt.
    pub(crate) fn for_certificates(&self) -> WallClock {
        let moment = self.moment();
        let now = moment.time.max(EARLIEST);
        if !moment.taken.is_unsynced {
            return now;
        }
        let earlier_ms = MACHINE.earlier_ms.load(Ordering::Relaxed);
        now.max(WallClock::from_millis(earlier_ms))
    }

    /// Goes on with what a ring knows of this boot.
    pub(crate) fn restore(&self, boot: &Boot) {
        if boot.id == self.boot()
            && boot.id != BootId::default()
            && let Some(learned) = boot.learned
            && MACHINE.clock().restore(learned)
        {
            MACHINE.tell(learned);
        }
    }

    /// Learns from the `Date` of a peer that proved who it is.
    #[expect(clippy::unused_self, reason = "who holds no clock is not to set it")]
    pub(crate) fn learn_date(&self, response: &HttpResponse) {
        let Some(date) = date_at_receipt(response) else {
            return;
        };
        let mut clock = MACHINE.clock();
        if clock.handle_date(date, boottime())
            && let Some(learned) = clock.learned()
        {
            drop(clock);
            MACHINE.tell(learned);
        }
    }

    /// Looks for ever whether a time daemon has told the time.
    pub(crate) async fn watch(&self) {
        let mut asked: Option<Instant> = None;
        loop {
            if asked.is_none_or(|asked| asked.elapsed() >= ASK) {
                asked = Some(Instant::now());
                let told = time_daemons::ask().await;
                *MACHINE.told() = told;
            }
            MACHINE.look_at_daemon();
            let is_synced = MACHINE.clock().is_synced();
            let pause = if is_synced {
                LOOK_SYNCED
            } else {
                LOOK_UNSYNCED
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// How the clock stands.
    pub(crate) fn status(&self) -> ClockStatus {
        let moment = self.moment();
        let clock = *MACHINE.clock();
        let by = match clock.learned() {
            _ if clock.is_trusted() => "configuration",
            Some(learned) => teacher(learned.by),
            None => "nobody",
        };
        ClockStatus {
            synced: clock.is_synced(),
            by: by.to_owned(),
            time: moment.time.to_string(),
            machine_time: wall().to_string(),
            boot: self.boot().to_string(),
            monotonic_ms: moment.taken.boottime.as_millis(),
        }
    }
}

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        let millis = self.for_certificates().as_millis();
        let since = Duration::from_millis(u64::try_from(millis).ok()?);
        Some(UnixTime::since_unix_epoch(since))
    }
}

impl Machine {
    fn look() -> Self {
        let boot = fs::read_to_string(BOOT_ID).ok();
        let boot = boot
            .and_then(|text| BootId::parse(&text))
            .unwrap_or_default();
        let machine = Self {
            boot,
            clock: Mutex::new(BootClock::new(boot.tag(), false)),
            told: Mutex::new(None),
            earlier_ms: AtomicI64::new(0),
            changes: watch::Sender::new(0),
        };
        machine.look_at_daemon();
        machine
    }

    fn clock(&self) -> MutexGuard<'_, BootClock> {
        self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn told(&self) -> MutexGuard<'_, Option<WallClock>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look_at_daemon(&self) {
        let touched = fs::metadata(CONFIRMED).and_then(|file| file.modified());
        let touched = touched.ok().map(since_epoch);
        let reading = Reading {
            // The later one, where there are two.
            confirmed: touched.max(*self.told()),
            wall: wall(),
            boottime: boottime(),
        };
        let mut clock = self.clock();
        if clock.handle_reading(reading)
            && let Some(learned) = clock.learned()
        {
            drop(clock);
            self.tell(learned);
        }
    }

    fn tell(&self, learned: Learned) {
        let time = learned.time_of(boottime());
        tracing::info!(
            "the time is known: it is {time} by the {}",
            teacher(learned.by)
        );
        self.changes
            .send_modify(|count| *count = count.wrapping_add(1));
    }
}

const fn teacher(by: Teacher) -> &'static str {
    match by {
        Teacher::Daemon => "time daemon",
        Teacher::Date => "date of a destination",
    }
}

/// What the machine's clock says.
fn wall() -> WallClock {
    since_epoch(SystemTime::now())
}

fn since_epoch(time: SystemTime) -> WallClock {
    let since_epoch = match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_millis()).unwrap_or(i64::MAX),
        Err(before) => {
            i64::try_from(before.duration().as_millis()).map_or(i64::MIN, i64::saturating_neg)
        }
    };
    WallClock::from_millis(since_epoch)
}

/// How long the machine has been running.
fn boottime() -> Boottime {
    let since = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(since.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(since.tv_nsec).unwrap_or(0);
    Boottime::from_millis(seconds.saturating_mul(1000) + nanos / 1_000_000)
}

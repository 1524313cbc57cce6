//! The clock of a boot, and what it is to be believed.

use super::*;

/// 2026-11-25T00:00:00Z.
const NOW: i64 = 1_795_564_800_000;

const BOOT: BootTag = BootTag::new(7);

fn reading(wall: i64, boottime: u64, confirmed: Option<i64>) -> Reading {
    Reading {
        wall: WallClock::from_millis(wall),
        boottime: Boottime::from_millis(boottime),
        confirmed: confirmed.map(WallClock::from_millis),
    }
}

fn moment_of(clock: &BootClock, wall: i64, boottime: u64) -> (i64, bool) {
    let moment = clock.moment(
        WallClock::from_millis(wall),
        Boottime::from_millis(boottime),
    );
    (moment.time.as_millis(), moment.taken.is_unsynced)
}

#[test]
fn boot_ids_are_read_as_the_kernel_writes_them() {
    let id = BootId::parse("d4bda4dd-e241-4f32-9067-52a94bbe50ab\n").unwrap();
    assert_eq!(id.to_string(), "d4bda4dde2414f32906752a94bbe50ab");
    assert_eq!(id.tag().get(), 0xd4bd_a4dd >> 5);
    assert_eq!(BootId::from_bytes(*id.as_bytes()), id);
    for wrong in ["", "d4bda4dd", "g4bda4dd-e241-4f32-9067-52a94bbe50ab"] {
        assert_eq!(BootId::parse(wrong), None, "{wrong}");
    }
}

#[test]
fn a_clock_is_not_believed_until_somebody_confirms_it() {
    let mut clock = BootClock::new(BOOT, false);
    assert_eq!(moment_of(&clock, 5_000, 5_000), (5_000, true));
    // Nobody says that it is right, however likely it looks.
    assert!(!clock.handle_reading(reading(NOW, 6_000, None)));
    assert_eq!(moment_of(&clock, NOW, 6_000), (NOW, true));
    // A confirmation of the past, of the future, or of a year that cannot be.
    assert!(!clock.handle_reading(reading(NOW, 6_000, Some(NOW - 5_000_000))));
    assert!(!clock.handle_reading(reading(NOW, 6_000, Some(NOW + 2_000))));
    assert!(!clock.handle_reading(reading(5_000, 6_000, Some(5_000))));
    assert!(!clock.is_synced());
    assert!(clock.handle_reading(reading(NOW, 6_000, Some(NOW - 1_000))));
    assert_eq!(moment_of(&clock, NOW, 6_000), (NOW, false));
}

#[test]
fn jumps_that_nobody_confirms_are_not_followed() {
    let mut clock = BootClock::new(BOOT, false);
    assert!(clock.handle_reading(reading(NOW, 1_000, Some(NOW))));
    for jumped in [0, NOW - 3_600_000, NOW + 600_000, NOW + 315_360_000_000] {
        assert_eq!(moment_of(&clock, jumped, 11_000), (NOW + 10_000, false));
        assert!(!clock.handle_reading(reading(jumped, 11_000, Some(NOW))));
        assert!(!clock.handle_reading(reading(jumped, 11_000, None)));
        assert_eq!(moment_of(&clock, jumped, 12_000), (NOW + 11_000, false));
    }
    // The daemon sets it by a minute and says so.
    assert!(!clock.handle_reading(reading(NOW + 80_000, 21_000, Some(NOW + 80_000))));
    assert_eq!(moment_of(&clock, 0, 21_000), (NOW + 80_000, false));
    // It is kept in step without a new confirmation.
    assert!(!clock.handle_reading(reading(NOW + 90_100, 31_000, Some(NOW + 80_000))));
    assert_eq!(moment_of(&clock, 0, 31_000), (NOW + 90_100, false));
}

#[test]
fn a_date_teaches_until_a_daemon_does() {
    let date = WallClock::from_millis;
    let at = Boottime::from_millis;
    let mut clock = BootClock::new(BOOT, false);
    assert!(!clock.handle_date(date(5_000), at(1_000)));
    assert!(!clock.handle_reading(reading(0, 500, None)));
    assert!(clock.handle_date(date(NOW), at(1_000)));
    assert_eq!(moment_of(&clock, 0, 2_000), (NOW + 1_000, false));
    // Dates tremble by a second or two; what drifts far is followed and corrects nothing anew.
    assert!(!clock.handle_date(date(NOW + 3_000), at(2_000)));
    assert_eq!(moment_of(&clock, 0, 2_000), (NOW + 1_000, false));
    assert!(!clock.handle_date(date(NOW + 10_000), at(2_000)));
    assert_eq!(moment_of(&clock, 0, 2_000), (NOW + 10_000, false));
    assert!(clock.handle_reading(reading(NOW, 2_000, Some(NOW))));
    assert!(!clock.handle_date(date(NOW + 60_000), at(2_000)));
    assert_eq!(moment_of(&clock, 0, 2_000), (NOW, false));
}

#[test]
fn a_trusted_clock_is_believed_as_it_is() {
    let mut clock = BootClock::new(BOOT, true);
    assert_eq!(moment_of(&clock, 5_000, 1_000), (5_000, false));
    clock.handle_date(WallClock::from_millis(NOW), Boottime::from_millis(1_000));
    assert_eq!(moment_of(&clock, 5_000, 1_000), (5_000, false));
}

#[test]
fn what_was_learnt_before_a_restart_goes_on() {
    let mut clock = BootClock::new(BOOT, false);
    let learned = Learned {
        offset_ms: NOW,
        by: Teacher::Date,
    };
    clock.restore(learned);
    assert_eq!(moment_of(&clock, 0, 500), (NOW + 500, false));
    // A confirmation that may be older than the jump it would confirm.
    let jumped = NOW - 18_000_000;
    let old = Some(jumped - 60_000);
    assert!(!clock.handle_reading(reading(jumped, 1_000, old)));
    assert!(!clock.handle_reading(reading(jumped + 1_000, 2_000, old)));
    assert_eq!(moment_of(&clock, 0, 2_000), (NOW + 2_000, false));
    assert!(clock.handle_reading(reading(NOW + 3_500, 3_000, Some(NOW + 3_500))));
    assert_eq!(moment_of(&clock, 0, 3_000), (NOW + 3_500, false));
}

#[test]
fn ages_are_what_has_passed() {
    let moment = |boot, time, boottime, is_unsynced| Moment {
        time: WallClock::from_millis(time),
        taken: Taken {
            boot: BootTag::new(boot),
            boottime: Boottime::from_millis(boottime),
            is_unsynced,
        },
    };
    let seconds = Duration::from_secs;
    // One boot, in which the clock was set by years, or back.
    let now = moment(1, NOW, 70_000, false);
    assert_eq!(now.since(&moment(1, 10_000, 10_000, true)), seconds(60));
    assert_eq!(now.since(&moment(1, 2 * NOW, 10_000, false)), seconds(60));
    // An earlier boot, whose times are known or not.
    assert_eq!(now.since(&moment(2, NOW - 90_000, 5, false)), seconds(90));
    assert_eq!(now.since(&moment(2, 0, 5, true)), seconds(70));
    assert_eq!(now.since(&moment(2, 2 * NOW, 5, false)), seconds(70));
    let unsynced = moment(1, 70_000, 70_000, true);
    assert_eq!(unsynced.since(&moment(2, NOW, 5, false)), seconds(70));
}

#[test]
fn a_record_is_placed_beside_its_batch_unless_the_clock_was_set() {
    let batch = Moment {
        time: WallClock::from_millis(NOW),
        taken: Taken {
            boot: BOOT,
            boottime: Boottime::from_millis(10_000),
            is_unsynced: false,
        },
    };
    let check = |received_at: i64, expected: (i64, u64)| {
        let (time, taken) = batch.place(WallClock::from_millis(received_at));
        let found = (time.as_millis(), taken.boottime.as_millis());
        assert_eq!(found, expected, "{received_at}");
        assert_eq!(taken.boot, BOOT);
    };
    check(NOW, (NOW, 10_000));
    check(NOW - 2_000, (NOW - 2_000, 8_000));
    check(NOW + 2_000, (NOW + 2_000, 12_000));
    check(NOW - 30_000, (NOW - 30_000, 0));
    // Timed by the clock that was set a moment ago.
    check(9_000, (NOW, 10_000));
    check(i64::MIN, (NOW, 10_000));
    check(i64::MAX, (NOW, 10_000));
}

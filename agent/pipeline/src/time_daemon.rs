//! Asks the time daemons of this machine whether its clock is in step, and reads their answers.
//!
//! chronyd answers monitoring requests at a port of its own; ntpd, ntpd-rs, `OpenNTPD` and busybox
//! answer as servers of NTP. Both ports are privileged, so who answers at the loopback address was
//! started by root. What is believed is a daemon that follows somebody else: not one that gives
//! out its own clock, nor one that is still putting the clock right.

use crate::time::WallClock;

/// Requests and answers are no longer than this.
pub const ANSWER_BYTES_MAX: usize = 512;

/// chronyd works off what a clock is off by: until it is less than this, the clock is wrong.
const CORRECTION_MAX_S: f64 = 0.5;

/// How wrong a server of NTP may take itself to be, in seconds.
const DISPERSION_MAX_S: f64 = 2.0;

/// Seconds from 1900 to 1970.
const NTP_EPOCH_S: i64 = 2_208_988_800;

/// `LOCL` and `LCL` are what a server names that follows nobody, `MANU` what was typed in.
const NOBODY: [[u8; 4]; 4] = [*b"LOCL", *b"LCL\0", *b"MANU", [127, 0, 0, 1]];

/// A kind of time daemon that can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeDaemon {
    /// chronyd, over the protocol of `chronyc tracking`, version 6 (chrony 2.2 and later).
    Chrony,
    /// A server of NTP (RFC 5905).
    Ntp,
}

impl TimeDaemon {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Chrony, Self::Ntp];

    /// The UDP port at which it answers.
    pub const fn port(self) -> u16 {
        match self {
            Self::Chrony => 323,
            Self::Ntp => 123,
        }
    }

    /// Asks; the answer carries the same `number`.
    pub fn request(self, number: u32) -> Vec<u8> {
        let number = bytes_of(number);
        match self {
            Self::Chrony => {
                // As long as its answer, or it is not answered.
                let mut request = vec![0; CHRONY_BYTES];
                put(&mut request, 0, &[6, 1, 0, 0, 0, 33]);
                put(&mut request, 8, &number);
                request
            }
            Self::Ntp => {
                let mut request = vec![0; NTP_BYTES];
                put(&mut request, 0, &[0x23]);
                put(&mut request, 44, &number);
                request
            }
        }
    }

    /// When, by the machine's clock, it last put the clock in step; `None` while it is not.
    pub fn confirmed(self, answer: &[u8], number: u32) -> Option<WallClock> {
        match self {
            Self::Chrony => chrony(answer, number),
            Self::Ntp => ntp(answer, number),
        }
    }
}

const CHRONY_BYTES: usize = 104;
const NTP_BYTES: usize = 48;

/// The answer to "tracking".
fn chrony(answer: &[u8], number: u32) -> Option<WallClock> {
    let is_tracking = *answer.get(..2)? == [6, 2]
        && *answer.get(4..10)? == [0, 33, 0, 5, 0, 0]
        && *answer.get(16..20)? == bytes_of(number);
    let reference = array(answer, 28)?;
    let leap = number_at(answer, 54, 2)?;
    // Its own clock is 127.127.1.1.
    let follows = reference != [127, 127, 1, 1] && !NOBODY[..3].contains(&reference);
    let correction = chrony_float(number_at(answer, 68, 4)?)?;
    if !is_tracking || leap > 2 || !follows || correction.abs() > CORRECTION_MAX_S {
        return None;
    }
    let seconds = number_at(answer, 56, 4)? << 32 | number_at(answer, 60, 4)?;
    let millis = number_at(answer, 64, 4)? / 1_000_000;
    let seconds = i64::try_from(seconds).ok()?;
    let since_epoch = seconds.checked_mul(1000)?;
    Some(WallClock::from_millis(
        since_epoch.checked_add_unsigned(millis)?,
    ))
}

/// Seven bits of exponent, 25 of coefficient, both signed.
fn chrony_float(bits: u64) -> Option<f64> {
    let signed = |value: u64, limit: i32| {
        let value = i32::try_from(value).ok()?;
        Some(if value >= limit / 2 {
            value - limit
        } else {
            value
        })
    };
    let exponent = signed(bits >> 25, 1 << 7)?;
    let coefficient = signed(bits & ((1 << 25) - 1), 1 << 25)?;
    Some(f64::from(coefficient) * 2_f64.powi(exponent - 25))
}

/// The answer of a server.
fn ntp(answer: &[u8], number: u32) -> Option<WallClock> {
    let [flags, stratum, ..] = *answer.first_chunk::<NTP_BYTES>()?;
    let is_answer = flags & 7 == 4 && *answer.get(24..32)? == [[0; 4], bytes_of(number)].concat();
    let is_in_step = flags >> 6 != 3 && (1..=15).contains(&stratum);
    let reference = array(answer, 12)?;
    // 127.127.1.0 is ntpd's own clock; its other references are not given out in this form.
    let follows = !NOBODY.contains(&reference) && !reference.starts_with(&[127, 127]);
    let dispersion = f64::from(u32::try_from(number_at(answer, 8, 4)?).ok()?) / 65_536.0;
    if !is_answer || !is_in_step || !follows || dispersion > DISPERSION_MAX_S {
        return None;
    }
    let seconds = i64::try_from(number_at(answer, 16, 4)?).ok()?;
    // The 32 bits began anew in 2036.
    let era = if seconds < 1 << 31 { 1 << 32 } else { 0 };
    let millis = i64::try_from((number_at(answer, 20, 4)? * 1000) >> 32).ok()?;
    (seconds > 0).then(|| WallClock::from_millis((seconds + era - NTP_EPOCH_S) * 1000 + millis))
}

fn bytes_of(number: u32) -> [u8; 4] {
    let mut bytes = number.to_le_bytes();
    bytes.reverse();
    bytes
}

fn array(answer: &[u8], at: usize) -> Option<[u8; 4]> {
    answer.get(at..)?.first_chunk().copied()
}

fn number_at(answer: &[u8], at: usize, len: usize) -> Option<u64> {
    let bytes = answer.get(at..)?.get(..len)?;
    Some(
        bytes
            .iter()
            .fold(0, |number, byte| number << 8 | u64::from(*byte)),
    )
}

fn put(into: &mut [u8], at: usize, bytes: &[u8]) {
    for (place, byte) in into.iter_mut().skip(at).zip(bytes) {
        *place = *byte;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// chronyd 4.3 that follows 127.0.0.9; asked with [`NUMBER`].
    const CHRONY: &str = "060200000021000500000000000000000102030400000000000000007f000009\
                          7f0000090000000000000000000000000001000000060000000000006b06ffb8\
                          28ab15c8dd0e8a5dcf63c3a9da9bb049f8b27164e88d145ffafaf94ae0ffe2d7\
                          de95a0fa04810569";
    /// A server of NTP, likewise, that gives out its own clock.
    const OWN: &str = "240500e700000000000000007f7f0101eeb17e2c66a6d6e60000000001020304\
                       eeb17e3a9bc9b799eeb17e3a9bce9f30";
    const NUMBER: u32 = 0x0102_0304;

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<char> = hex.chars().collect();
        let byte =
            |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap();
        digits.chunks(2).map(byte).collect()
    }

    /// What is believed of an answer after `change`.
    fn changed(daemon: TimeDaemon, answer: &str, change: &[(usize, &[u8])]) -> Option<String> {
        let mut answer = bytes(answer);
        for (at, bytes) in change {
            put(&mut answer, *at, bytes);
        }
        let confirmed = daemon.confirmed(&answer, NUMBER);
        confirmed.map(|moment| moment.to_string())
    }

    #[test]
    fn requests_are_what_the_daemons_expect() {
        let chrony = TimeDaemon::Chrony.request(NUMBER);
        assert_eq!(chrony.len(), 104);
        assert_eq!(chrony[..12], [6, 1, 0, 0, 0, 33, 0, 0, 1, 2, 3, 4]);
        let ntp = TimeDaemon::Ntp.request(NUMBER);
        assert_eq!((ntp.len(), ntp[0]), (48, 0x23));
        assert_eq!(ntp[40..], [0, 0, 0, 0, 1, 2, 3, 4]);
    }

    #[test]
    fn chronyd_is_believed_while_it_follows_somebody() {
        let read = |change: &[(usize, &[u8])]| changed(TimeDaemon::Chrony, CHRONY, change);
        assert_eq!(read(&[]).unwrap(), "2026-11-25T15:33:12.682Z");
        // A leap second is due: still in step.
        assert!(read(&[(54, &[0, 1])]).is_some());
        for (what, at, change) in [
            ("not in step", 54, &[0, 3][..]),
            ("its own clock", 28, &[127, 127, 1, 1]),
            ("typed in", 28, b"MANU"),
            ("off by 1 s", 68, &[0x04, 0x80, 0, 0]),
            ("off by -1 s", 68, &[0x03, 0, 0, 0]),
            ("an error", 8, &[0, 3]),
            ("another answer", 4, &[0, 34]),
            ("an older answer", 19, &[9]),
            ("a request", 1, &[1]),
            ("another version", 0, &[5]),
        ] {
            assert_eq!(read(&[(at, change)]), None, "{what}");
        }
        // 0.25 s.
        assert!(read(&[(68, &[0, 0x80, 0, 0])]).is_some());
    }

    #[test]
    fn floats_of_chrony_are_read() {
        for (bits, value) in [
            (0, 0.0),
            (0x0080_0000, 0.25),
            (0x0280_0000, 0.5),
            (0x0300_0000, -1.0),
            (0xfe80_0000, 0.125),
            // What the answer above calls its interval.
            (0x0481_0569, 1.007_978),
        ] {
            let read = chrony_float(bits).unwrap();
            assert!((read - value).abs() < 1e-5, "{bits:x} is {read}");
        }
    }

    #[test]
    fn a_server_of_ntp_is_believed_while_it_follows_somebody() {
        const FOLLOWS: (usize, &[u8]) = (12, &[192, 0, 2, 1]);
        let read = |change: &[(usize, &[u8])]| changed(TimeDaemon::Ntp, OWN, change);
        assert_eq!(read(&[FOLLOWS]).unwrap(), "2026-11-25T15:33:00.400Z");
        // After 2036.
        let later = read(&[FOLLOWS, (16, &[0, 0, 0, 1])]).unwrap();
        assert_eq!(later, "2036-02-07T06:28:17.400Z");
        assert_eq!(read(&[]), None, "its own clock");
        for (what, at, change) in [
            ("alone", 12, &b"LOCL"[..]),
            ("an orphan", 12, &[127, 0, 0, 1]),
            ("not in step", 0, &[0xe4]),
            ("a request", 0, &[0x23]),
            ("no stratum", 1, &[0]),
            ("too far away", 1, &[16]),
            ("not sure", 8, &[0, 3, 0, 0]),
            ("an older answer", 31, &[9]),
            ("never", 16, &[0, 0, 0, 0]),
        ] {
            assert_eq!(read(&[FOLLOWS, (at, change)]), None, "{what}");
        }
    }

    #[test]
    fn answers_that_are_cut_or_garbled_are_not_believed() {
        for (daemon, answer) in [(TimeDaemon::Chrony, CHRONY), (TimeDaemon::Ntp, OWN)] {
            let mut answer = bytes(answer);
            put(&mut answer, 12, &[192, 0, 2, 1]);
            for len in 0..answer.len().min(72) {
                if len < 48 || daemon == TimeDaemon::Chrony {
                    assert_eq!(daemon.confirmed(&answer[..len], NUMBER), None, "{len}");
                }
            }
            for at in 0..answer.len() {
                for value in [0, 127, 128, 255] {
                    let mut garbled = answer.clone();
                    garbled[at] = value;
                    // Whatever it is, it is read without a fault.
                    let moment = daemon.confirmed(&garbled, NUMBER);
                    assert!(moment.is_none_or(|moment| moment.as_millis() < i64::MAX));
                }
            }
        }
    }
}

//! Sizes, durations and secrets as types.
//!
//! What [`fmt::Display`] writes, [`FromStr`] reads back as the same value. A unit that two readers
//! could take for two things (`M`, a bare number of seconds) is refused with what to write.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A size in bytes, written `"512MiB"`, `"4MB"` or a whole number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(u64);

impl ByteSize {
    /// This many bytes.
    pub const fn bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// In bytes.
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// In bytes, cut to what this machine can address.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = SIZE_UNITS
            .iter()
            .filter(|(_, factor)| self.0 >= *factor && self.0.is_multiple_of(*factor))
            .min_by_key(|(_, factor)| self.0 / factor);
        match whole {
            Some((unit, factor)) => write!(f, "{} {unit}", self.0 / factor),
            None => write!(f, "{} B", self.0),
        }
    }
}

impl FromStr for ByteSize {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let text = text.trim();
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        if number.is_empty() {
            return Err(UnitError::NotASize);
        }
        let unit = unit.trim_start();
        let factor = match SIZE_UNITS
            .iter()
            .find(|(name, _)| unit.eq_ignore_ascii_case(name))
        {
            Some((_, factor)) => *factor,
            None if unit.is_empty() => 1,
            None => return Err(UnitError::size_unit(number, unit)),
        };
        let number: u64 = number.parse().map_err(|_| UnitError::TooLarge)?;
        number
            .checked_mul(factor)
            .map(Self)
            .ok_or(UnitError::TooLarge)
    }
}

/// A duration as people write it: `"500ms"`, `"5s"`, `"1m30s"`, `"7d"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DurationText(pub Duration);

impl fmt::Display for DurationText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.as_millis();
        if rest == 0 {
            return f.write_str("0s");
        }
        for (unit, factor) in DURATION_UNITS {
            let factor = u128::from(factor);
            if rest >= factor {
                write!(f, "{}{unit}", rest / factor)?;
                rest %= factor;
            }
        }
        Ok(())
    }
}

impl FromStr for DurationText {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let mut rest = text.trim();
        if rest.is_empty() {
            return Err(UnitError::NotADuration);
        }
        let mut sum_ms: u64 = 0;
        let mut larger = u64::MAX;
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (number, tail) = rest.split_at(digits);
            let tail = tail.trim_start();
            let letters = tail.bytes().take_while(u8::is_ascii_alphabetic).count();
            let (unit, tail) = tail.split_at(letters);
            rest = tail.trim_start();
            if number.is_empty() {
                return Err(UnitError::NotADuration);
            }
            let factor = match DURATION_UNITS.iter().find(|(name, _)| unit == *name) {
                Some((_, factor)) => *factor,
                None if unit.is_empty() && tail.is_empty() => {
                    return Err(UnitError::NoDurationUnit(number.to_owned()));
                }
                None => return Err(UnitError::DurationUnit(unit.to_owned())),
            };
            if factor >= larger {
                return Err(UnitError::NotADuration);
            }
            larger = factor;
            let number: u64 = number.parse().map_err(|_| UnitError::TooLarge)?;
            sum_ms = number
                .checked_mul(factor)
                .and_then(|part| sum_ms.checked_add(part))
                .ok_or(UnitError::TooLarge)?;
        }
        Ok(Self(Duration::from_millis(sum_ms)))
    }
}

/// Why a text is no size or no duration.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnitError {
    /// No number with a unit of size.
    NotASize,
    /// No numbers with units of time.
    NotADuration,
    /// The unit of size is unknown.
    SizeUnit {
        /// As it was written.
        unit: String,
        /// What could have been meant.
        instead: Option<String>,
    },
    /// The unit of time is unknown.
    DurationUnit(String),
    /// A bare number does not say whether it means seconds.
    NoDurationUnit(String),
    /// More than 64 bits.
    TooLarge,
}

impl UnitError {
    fn size_unit(number: &str, unit: &str) -> Self {
        let instead = ["K", "M", "G"]
            .iter()
            .find(|letter| unit.eq_ignore_ascii_case(letter))
            .map(|letter| format!("\"{number}{letter}iB\" or \"{number}{letter}B\""));
        Self::SizeUnit {
            unit: unit.to_owned(),
            instead,
        }
    }
}

impl fmt::Display for UnitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotASize => f.write_str("not a size; write one like \"64MiB\" or \"4MB\""),
            Self::NotADuration => {
                f.write_str("not a duration; write one like \"500ms\", \"5s\" or \"1m30s\"")
            }
            Self::SizeUnit { unit, instead } => {
                write!(f, "unknown unit of size {unit:?}; write ")?;
                f.write_str(
                    instead
                        .as_deref()
                        .unwrap_or("B, KiB, MiB, GiB, KB, MB or GB"),
                )
            }
            Self::DurationUnit(unit) => {
                write!(f, "unknown unit of time {unit:?}; write ms, s, m, h or d")
            }
            Self::NoDurationUnit(number) => {
                write!(f, "no unit; write \"{number}s\" for seconds")
            }
            Self::TooLarge => f.write_str("too large a number"),
        }
    }
}

impl std::error::Error for UnitError {}

/// Text that never prints.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// Largest first, and of two that could write a value the one with fewer digits is taken.
const SIZE_UNITS: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("KB", 1_000),
    ("B", 1),
];

const DURATION_UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn check_size(text: &str, expected: Result<(u64, &str), &str>) {
        let got = text.parse::<ByteSize>();
        match expected {
            Ok((bytes, display)) => {
                let got = got.unwrap();
                assert_eq!(got.as_u64(), bytes, "{text}");
                assert_eq!(got.to_string(), display, "{text}");
                assert_eq!(display.parse(), Ok(got), "{text}");
            }
            Err(part) => {
                let problem = got.unwrap_err().to_string();
                assert!(problem.contains(part), "{text}: {problem}");
            }
        }
    }

    fn check_duration(text: &str, expected: Result<(u64, &str), &str>) {
        let got = text.parse::<DurationText>();
        match expected {
            Ok((ms, display)) => {
                let got = got.unwrap();
                assert_eq!(got.0, Duration::from_millis(ms), "{text}");
                assert_eq!(got.to_string(), display, "{text}");
                assert_eq!(display.parse(), Ok(got), "{text}");
            }
            Err(part) => {
                let problem = got.unwrap_err().to_string();
                assert!(problem.contains(part), "{text}: {problem}");
            }
        }
    }

    #[test]
    fn sizes() {
        check_size("0", Ok((0, "0 B")));
        check_size("1234", Ok((1234, "1234 B")));
        check_size("64MiB", Ok((64 << 20, "64 MiB")));
        check_size(" 4 MB ", Ok((4_000_000, "4 MB")));
        check_size("4mb", Ok((4_000_000, "4 MB")));
        check_size("1024 KiB", Ok((1 << 20, "1 MiB")));
        check_size("1000KiB", Ok((1_024_000, "1000 KiB")));
        check_size("3GB", Ok((3_000_000_000, "3 GB")));
        check_size("2GiB", Ok((2 << 30, "2 GiB")));
        check_size("12B", Ok((12, "12 B")));
        check_size("64M", Err("\"64MiB\" or \"64MB\""));
        check_size("1.5GiB", Err("unknown unit of size"));
        check_size("5 apples", Err("unknown unit of size \"apples\""));
        check_size("", Err("not a size"));
        check_size("MiB", Err("not a size"));
        check_size("-1", Err("not a size"));
        check_size("99999999999GiB", Err("too large"));
        check_size("99999999999999999999999", Err("too large"));
    }

    #[test]
    fn durations() {
        check_duration("0s", Ok((0, "0s")));
        check_duration("500ms", Ok((500, "500ms")));
        check_duration("90s", Ok((90_000, "1m30s")));
        check_duration("1m30s", Ok((90_000, "1m30s")));
        check_duration("1h 30m", Ok((5_400_000, "1h30m")));
        check_duration("7d", Ok((604_800_000, "7d")));
        check_duration("1500 ms", Ok((1_500, "1s500ms")));
        check_duration("5", Err("write \"5s\""));
        check_duration("5min", Err("unknown unit of time \"min\""));
        check_duration("s", Err("not a duration"));
        check_duration("1s1s", Err("not a duration"));
        check_duration("1s2h", Err("not a duration"));
        check_duration("-5s", Err("not a duration"));
        check_duration("", Err("not a duration"));
        check_duration("99999999999999999d", Err("too large"));
    }

    #[test]
    fn a_secret_does_not_print() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "[secret]");
    }
}

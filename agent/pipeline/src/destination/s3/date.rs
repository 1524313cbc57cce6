//! Times in object keys, in the patterns of Java's `DateTimeFormatter`, as Firehose takes them.

use std::fmt::Write as _;

use jiff::ZonedDateTime;

/// What [`DatePattern::parse`] knows.
const KNOWN: &str = "y u M L d D E a H k K h m s S X Z";

/// Longer runs of a letter are no number that a time has.
const RUN_MAX: usize = 9;

/// A pattern that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DatePattern(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Field(char, usize),
}

impl DatePattern {
    /// Reads a pattern; the error says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '\'' => parts.push(Part::Text(quoted(&mut chars)?)),
                'A'..='Z' | 'a'..='z' => {
                    let mut count = 1;
                    while chars.next_if_eq(&c).is_some() {
                        count += 1;
                    }
                    parts.push(field(c, count)?);
                }
                '{' | '}' | '[' | ']' | '#' => {
                    return Err(format!(
                        "\"{c}\" means something else in a pattern; quote it"
                    ));
                }
                _ => parts.push(Part::Text(c.to_string())),
            }
        }
        if parts.is_empty() {
            return Err("the pattern is empty; write one like yyyy/MM/dd/HH".to_owned());
        }
        Ok(Self(parts))
    }

    /// Appends `at` as the pattern says.
    pub(super) fn write(&self, at: &ZonedDateTime, out: &mut String) {
        for part in &self.0 {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Field(letter, count) => write_field(*letter, *count, at, out),
            }
        }
    }
}

/// What stands in quotes; two of them are one, inside and outside.
fn quoted(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<String, String> {
    if chars.next_if_eq(&'\'').is_some() {
        return Ok("'".to_owned());
    }
    let mut text = String::new();
    while let Some(c) = chars.next() {
        if c != '\'' {
            text.push(c);
        } else if chars.next_if_eq(&'\'').is_some() {
            text.push('\'');
        } else {
            return Ok(text);
        }
    }
    Err("a quote has no end".to_owned())
}

fn field(letter: char, count: usize) -> Result<Part, String> {
    let count_max = match letter {
        'y' | 'u' | 'S' => RUN_MAX,
        'M' | 'L' | 'E' => 4,
        'd' | 'H' | 'k' | 'K' | 'h' | 'm' | 's' => 2,
        'a' => 1,
        'D' | 'X' | 'Z' => 3,
        _ if letter.is_ascii_uppercase() && field(letter.to_ascii_lowercase(), count).is_ok() => {
            let lower = letter.to_ascii_lowercase();
            return Err(format!(
                "\"{letter}\" is not known; did you mean \"{lower}\"?"
            ));
        }
        _ => return Err(format!("\"{letter}\" is not known; known are {KNOWN}")),
    };
    if count > count_max {
        return Err(format!("{count} times \"{letter}\" is too many"));
    }
    Ok(Part::Field(letter, count))
}

fn write_field(letter: char, count: usize, at: &ZonedDateTime, out: &mut String) {
    let hour = i64::from(at.hour());
    let half = hour % 12;
    match letter {
        'y' | 'u' if count == 2 => number(out, i64::from(at.year()).rem_euclid(100), 2),
        'y' | 'u' => number(out, i64::from(at.year()), count),
        'M' | 'L' if count > 2 => named(out, at, if count == 3 { "%b" } else { "%B" }),
        'M' | 'L' => number(out, i64::from(at.month()), count),
        'd' => number(out, i64::from(at.day()), count),
        'D' => number(out, i64::from(at.day_of_year()), count),
        'E' => named(out, at, if count == 4 { "%A" } else { "%a" }),
        'a' => out.push_str(if hour < 12 { "AM" } else { "PM" }),
        'H' => number(out, hour, count),
        'k' => number(out, if hour == 0 { 24 } else { hour }, count),
        'K' => number(out, half, count),
        'h' => number(out, if half == 0 { 12 } else { half }, count),
        'm' => number(out, i64::from(at.minute()), count),
        's' => number(out, i64::from(at.second()), count),
        'S' => {
            let digits = format!("{:09}", at.subsec_nanosecond());
            out.push_str(digits.get(..count).unwrap_or(&digits));
        }
        _ => offset(letter, count, at.offset().seconds(), out),
    }
}

/// `X` is `Z` at UTC, else hours and what is not zero; `Z` is always hours and minutes.
fn offset(letter: char, count: usize, seconds: i32, out: &mut String) {
    if letter == 'X' && seconds == 0 {
        out.push('Z');
        return;
    }
    let sign = if seconds < 0 { '-' } else { '+' };
    let minutes = seconds.unsigned_abs() / 60;
    let (hours, minutes) = (minutes / 60, minutes % 60);
    out.push(sign);
    number(out, i64::from(hours), 2);
    if letter == 'X' && count == 1 && minutes == 0 {
        return;
    }
    if letter == 'X' && count == 3 {
        out.push(':');
    }
    number(out, i64::from(minutes), 2);
}

fn number(out: &mut String, value: i64, digits: usize) {
    // Writing to a `String` cannot fail.
    write!(out, "{value:0digits$}").unwrap_or_default();
}

fn named(out: &mut String, at: &ZonedDateTime, format: &str) {
    write!(out, "{}", at.strftime(format)).unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::tz::{Offset, TimeZone};

    fn written(pattern: &str, time: &str, offset_s: i32) -> Result<String, String> {
        let zone = TimeZone::fixed(Offset::from_seconds(offset_s).unwrap());
        let at = time
            .parse::<jiff::Timestamp>()
            .unwrap()
            .to_zoned_datetime(zone);
        let mut out = String::new();
        DatePattern::parse(pattern)?.write(&at, &mut out);
        Ok(out)
    }

    /// What `java.time.format.DateTimeFormatter` of Java 17 writes, by its documentation.
    #[test]
    fn patterns_are_those_of_java() {
        const NIGHT: &str = "2026-03-05T00:07:09.123456789Z";
        const EVENING: &str = "2026-11-25T21:00:00Z";
        for (pattern, time, expected) in [
            ("yyyy/MM/dd/HH", NIGHT, "2026/03/05/00"),
            ("yy-M-d", NIGHT, "26-3-5"),
            ("uuuu'y'", NIGHT, "2026y"),
            ("yyyyMMdd'T'HHmmss.SSS", NIGHT, "20260305T000709.123"),
            ("SSSSSSSSS S", NIGHT, "123456789 1"),
            ("DDD D", NIGHT, "064 64"),
            ("MMM MMMM", NIGHT, "Mar March"),
            ("EEE EEEE", NIGHT, "Thu Thursday"),
            ("H HH k K h a", NIGHT, "0 00 24 0 12 AM"),
            ("HH kk KK hh a", EVENING, "21 21 09 09 PM"),
            ("XX Z", NIGHT, "Z +0000"),
        ] {
            assert_eq!(
                written(pattern, time, 0).as_deref(),
                Ok(expected),
                "{pattern}"
            );
        }
        assert_eq!(
            written("h 'o''clock' ''", NIGHT, 0).as_deref(),
            Ok("12 o'clock '")
        );
        assert_eq!(
            written(
                &format!("dd HH:mm X XX {} Z", "X".repeat(3)),
                EVENING,
                5 * 3600 + 1800
            )
            .as_deref(),
            Ok("26 02:30 +0530 +0530 +05:30 +0530")
        );
        assert_eq!(written("X", EVENING, -3600).as_deref(), Ok("-01"));
    }

    #[test]
    fn wrong_patterns_say_what_is_wrong() {
        let error = |pattern: &str| DatePattern::parse(pattern).unwrap_err();
        assert_eq!(error("yyyy/MM/DDDD"), "4 times \"D\" is too many");
        assert_eq!(error("YYYY"), "\"Y\" is not known; did you mean \"y\"?");
        assert!(error("yyyy-ww").starts_with("\"w\" is not known; known are y u"));
        assert_eq!(error("yyyy'T"), "a quote has no end");
        assert!(error("yyyy{").contains("quote it"));
        assert!(error("").contains("empty"));
    }
}

//! When a certificate ends: the one field of X.509 that a client of today must know tomorrow.

use std::fmt;

use super::report::Finding;

/// So long before its end a certificate is worth a warning.
const SOON_MS: i64 = 30 * DAY_MS;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// It is no certificate that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CertificateError;

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("its validity cannot be read")
    }
}

impl std::error::Error for CertificateError {}

/// The end of the validity of a certificate in DER, in milliseconds of the calendar: RFC 5280,
/// section 4.1.
pub fn expiry_ms(der: &[u8]) -> Result<i64, CertificateError> {
    let (_, certificate, _) = element(der)?;
    let (_, mut body, _) = element(certificate)?;
    // Version, if there is one, serial number, signature, issuer.
    let mut skip = 3;
    let (tag, _, rest) = element(body)?;
    if tag == 0xa0 {
        body = rest;
    }
    while skip > 0 {
        (_, _, body) = element(body)?;
        skip -= 1;
    }
    let (_, validity, _) = element(body)?;
    let (_, _, rest) = element(validity)?;
    let (tag, text, _) = element(rest)?;
    let text = std::str::from_utf8(text).map_err(|_| CertificateError)?;
    time_ms(tag, text).ok_or(CertificateError)
}

/// Takes an element off `der`: its tag, what is in it, and what follows.
fn element(der: &[u8]) -> Result<(u8, &[u8], &[u8]), CertificateError> {
    let (&[tag, first], rest) = der.split_first_chunk().ok_or(CertificateError)?;
    let (len, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let count = usize::from(first & 0x7f);
        let (bytes, rest) = rest.split_at_checked(count).ok_or(CertificateError)?;
        if count > 4 {
            return Err(CertificateError);
        }
        let len = bytes
            .iter()
            .fold(0, |len, byte| (len << 8) | usize::from(*byte));
        (len, rest)
    };
    let (inner, rest) = rest.split_at_checked(len).ok_or(CertificateError)?;
    Ok((tag, inner, rest))
}

/// `UTCTime` (tag 23) or `GeneralizedTime` (tag 24), both in UTC and with seconds.
fn time_ms(tag: u8, text: &str) -> Option<i64> {
    let text = text.strip_suffix('Z')?;
    let (year, rest) = match tag {
        23 => {
            let (year, rest) = text.split_at_checked(2)?;
            let year: i16 = year.parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        24 => {
            let (year, rest) = text.split_at_checked(4)?;
            (year.parse().ok()?, rest)
        }
        _ => return None,
    };
    if rest.len() != 10 {
        return None;
    }
    let two = |at: usize| rest.get(at..at + 2)?.parse::<i8>().ok();
    let date_time =
        jiff::civil::DateTime::new(year, two(0)?, two(2)?, two(4)?, two(6)?, two(8)?, 0);
    let timestamp = jiff::tz::Offset::UTC.to_timestamp(date_time.ok()?).ok()?;
    Some(timestamp.as_millisecond())
}

/// Judges the end of a certificate at `now_ms`.
pub fn judge_expiry(about: &str, file: &str, expiry_ms: i64, now_ms: i64) -> Finding {
    let left = expiry_ms.saturating_sub(now_ms);
    let days = left / DAY_MS;
    if left <= 0 {
        let what = format!("{file} has expired {} days ago", -days);
        return Finding::problem(about, what, "renew it; it is read anew at each connection");
    }
    let what = format!("{file} expires in {days} days");
    if left < SOON_MS {
        Finding::warning(about, what, "renew it; it is read anew at each connection")
    } else {
        Finding::ok(about, what)
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::Level;
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    /// `openssl req -x509`, version 1 of X.509 without extensions, valid until 2026-12-23.
    const VERSION_1: &str = "\
        MIIBGDCBvwIUGQRJyf0KPtgDnEgPVUadbuJjy4AwCgYIKoZIzj0EAwIwETEPMA0GA1UEAwwGdGVzdGNhMB4XDTI2\
        MTEyMzE3Mzc0M1oXDTI2MTIyMzE3Mzc0M1owDTELMAkGA1UEAwwCZ3cwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNC\
        AAQyuYoLL4R+blzDncEzSmChYQ+TkKSGlyANfgA2RAxfNx1FhOmH9pB2DNP3RXzwQlz1Tif4UZt2Pk34Y7KH6fBi\
        MAoGCCqGSM49BAMCA0gAMEUCIQDlT/2DzIS59XmMvaNSSvJhNRc5ZuTIcQbRdO6TQO+NcQIgEgVMdp7eez53jaGD\
        /ut5C9nUv4zoM1F6/cVpdojrtEQ=";

    #[test]
    fn the_end_of_a_certificate() {
        let der = STANDARD.decode(VERSION_1).unwrap();
        assert_eq!(expiry_ms(&der), Ok(1_798_047_463_000));
        for len in 0..der.len() {
            assert!(expiry_ms(&der[..len]).is_err());
        }
        assert_eq!(expiry_ms(b""), Err(CertificateError));
        assert_eq!(
            expiry_ms(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]),
            Err(CertificateError)
        );
        assert_eq!(time_ms(23, "500101000000Z"), Some(-631_152_000_000));
        assert_eq!(time_ms(24, "20500101000000Z"), Some(2_524_608_000_000));
        assert_eq!(time_ms(24, "20501301000000Z"), None);
        assert_eq!(time_ms(23, "500101000000"), None);
    }

    #[test]
    fn judgment() {
        let check = |left_ms: i64, level, words: &str| {
            let finding =
                judge_expiry("a", "c.pem", 1_000_000_000_000 + left_ms, 1_000_000_000_000);
            assert_eq!(finding.level, level, "{finding:?}");
            assert!(finding.what.contains(words), "{finding:?}");
        };
        check(-3 * DAY_MS, Level::Problem, "c.pem has expired 3 days ago");
        check(29 * DAY_MS, Level::Warning, "c.pem expires in 29 days");
        check(31 * DAY_MS, Level::Ok, "c.pem expires in 31 days");
    }
}

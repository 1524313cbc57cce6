//! What of an X.509 certificate is looked at: whom it names, when it counts, and its key.
//!
//! Reads a certificate that somebody else has verified; verifying is not done here. A certificate
//! that is not understood names nobody. Nothing is kept, and nothing is read twice.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;

use crate::time::WallClock;

/// A certificate, as far as it is understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Certificate<'a> {
    /// Its serial number, the most significant byte first.
    pub serial: &'a [u8],
    /// The common name of its subject; the last one, if there are several.
    pub common_name: Option<&'a str>,
    /// It does not count before.
    pub not_before: WallClock,
    /// It does not count after.
    pub not_after: WallClock,
    /// Its public key with what kind of key it is, as it is written.
    pub public_key: &'a [u8],
}

const INTEGER: u8 = 0x02;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_ID: u8 = 0x06;
const UTF8_STRING: u8 = 0x0c;
const PRINTABLE_STRING: u8 = 0x13;
const TELETEX_STRING: u8 = 0x14;
const IA5_STRING: u8 = 0x16;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const VERSION: u8 = 0xa0;

/// `id-at-commonName`, 2.5.4.3.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

/// The SHA-256 of a public key, written as curl writes it: `sha256//` and base64.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyPin([u8; 32]);

/// A text that is no pin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoPin;

const PIN_PREFIX: &str = "sha256//";

impl KeyPin {
    /// That of [`Certificate::public_key`].
    pub fn of(public_key: &[u8]) -> Self {
        let digest = ring::digest::digest(&ring::digest::SHA256, public_key);
        Self(digest.as_ref().try_into().unwrap_or_default())
    }
}

impl fmt::Display for KeyPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PIN_PREFIX}{}", STANDARD.encode(self.0))
    }
}

impl fmt::Debug for KeyPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for KeyPin {
    type Err = NoPin;

    fn from_str(text: &str) -> Result<Self, NoPin> {
        let digits = text.strip_prefix(PIN_PREFIX).ok_or(NoPin)?;
        let bytes = STANDARD.decode(digits).map_err(|_| NoPin)?;
        bytes.try_into().map(Self).map_err(|_| NoPin)
    }
}

impl fmt::Display for NoPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not sha256// and 32 bytes in base64")
    }
}

impl std::error::Error for NoPin {}

/// So long before its end a certificate is worth a warning.
pub const SOON: Duration = Duration::from_hours(30 * 24);

/// Whether a certificate that ends then is to be renewed now.
pub fn ends_soon(end: WallClock, now: WallClock) -> bool {
    end.since(now) < SOON
}

impl<'a> Certificate<'a> {
    /// Reads a certificate in DER; `None` if it is not one.
    pub fn read(der: &'a [u8]) -> Option<Self> {
        let mut outer = Der(Der(der).expect(SEQUENCE)?);
        let mut certificate = Der(outer.expect(SEQUENCE)?);
        // Certificates of version 1 have none.
        if certificate.0.first() == Some(&VERSION) {
            certificate.next()?;
        }
        let serial = certificate.expect(INTEGER)?;
        for _algorithm_issuer in 0..2 {
            certificate.next()?;
        }
        let mut validity = Der(certificate.expect(SEQUENCE)?);
        Some(Self {
            serial,
            not_before: time(validity.next()?)?,
            not_after: time(validity.next()?)?,
            common_name: common_name(Der(certificate.expect(SEQUENCE)?)),
            public_key: certificate.whole(SEQUENCE)?,
        })
    }
}

/// Values one after the other, each a tag, a length and its bytes.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The next value's tag and bytes.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, mut rest) = rest.split_first()?;
        let mut len = usize::from(first & 0x7f);
        if first & 0x80 != 0 {
            let (digits, behind) = rest.split_at_checked(len)?;
            rest = behind;
            if digits.len() > size_of::<u32>() {
                return None;
            }
            len = digits
                .iter()
                .fold(0, |len, digit| (len << 8) | usize::from(*digit));
        }
        let (value, rest) = rest.split_at_checked(len)?;
        self.0 = rest;
        Some((tag, value))
    }

    /// The next value with its tag and length, if it has this tag.
    fn whole(&mut self, tag: u8) -> Option<&'a [u8]> {
        let before = self.0;
        self.expect(tag)?;
        before.get(..before.len().checked_sub(self.0.len())?)
    }

    /// The bytes of the next value, if it has this tag.
    fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (found, value) = self.next()?;
        (found == tag).then_some(value)
    }
}

/// The most specific common name is the last one.
fn common_name(mut subject: Der<'_>) -> Option<&str> {
    let mut name = None;
    while let Some(set) = subject.expect(SET) {
        let mut set = Der(set);
        while let Some(attribute) = set.expect(SEQUENCE) {
            let mut attribute = Der(attribute);
            if attribute.expect(OBJECT_ID) == Some(COMMON_NAME) {
                name = attribute.next().and_then(text);
            }
        }
    }
    name
}

/// Text of the kinds that are written in UTF-8 or ASCII.
fn text((tag, bytes): (u8, &[u8])) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    let readable = match tag {
        UTF8_STRING => true,
        PRINTABLE_STRING | TELETEX_STRING | IA5_STRING => text.is_ascii(),
        _ => false,
    };
    (readable && !text.is_empty() && !text.contains('\0')).then_some(text)
}

/// RFC 5280: `YYMMDDhhmmssZ` until 2049, `YYYYMMDDhhmmssZ` from then on.
fn time((tag, bytes): (u8, &[u8])) -> Option<WallClock> {
    let digits = std::str::from_utf8(bytes).ok()?.strip_suffix('Z')?;
    let (year, rest) = match tag {
        UTC_TIME => {
            let (year, rest) = digits.split_at_checked(2)?;
            let year: i16 = year.parse().ok()?;
            (year + if year < 50 { 2000 } else { 1900 }, rest)
        }
        GENERALIZED_TIME => {
            let (year, rest) = digits.split_at_checked(4)?;
            (year.parse().ok()?, rest)
        }
        _ => return None,
    };
    if rest.len() != "MMDDhhmmss".len() {
        return None;
    }
    let two = |at: usize| rest.get(at..at + 2)?.parse::<i8>().ok();
    let date = Date::new(year, two(0)?, two(2)?).ok()?;
    let time = Time::new(two(4)?, two(6)?, two(8)?, 0).ok()?;
    let moment = TimeZone::UTC.to_timestamp(date.to_datetime(time)).ok()?;
    Some(WallClock::from_millis(moment.as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A certificate without a key, made of its parts.
    fn certificate(version: &[u8], validity: &[u8], subject: &[u8]) -> Vec<u8> {
        let value = |tag: u8, parts: &[&[u8]]| {
            let bytes = parts.concat();
            let mut value = vec![tag, 0x81, u8::try_from(bytes.len()).unwrap()];
            value.extend(bytes);
            value
        };
        let serial: &[u8] = b"\x02\x01\x07";
        let algorithm: &[u8] = b"\x30\x03\x06\x01\x2a";
        let issuer: &[u8] = b"\x30\x00";
        let key: &[u8] = b"\x30\x02\x05\x00";
        let inner = value(
            SEQUENCE,
            &[version, serial, algorithm, issuer, validity, subject, key],
        );
        value(SEQUENCE, &[&inner, algorithm])
    }

    const VERSION_3: &[u8] = b"\xa0\x03\x02\x01\x02";
    const VALIDITY: &[u8] = b"\x30\x20\x17\x0d261123173743Z\x18\x0f20510102000001Z";

    /// A certificate of version 1, made by `openssl x509 -req`.
    const PEM: &str = "\
-----BEGIN CERTIFICATE-----
MIIBGDCBvwIUGQRJyf0KPtgDnEgPVUadbuJjy4AwCgYIKoZIzj0EAwIwETEPMA0G
A1UEAwwGdGVzdGNhMB4XDTI2MTEyMzE3Mzc0M1oXDTI2MTIyMzE3Mzc0M1owDTEL
MAkGA1UEAwwCZ3cwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAQyuYoLL4R+blzD
ncEzSmChYQ+TkKSGlyANfgA2RAxfNx1FhOmH9pB2DNP3RXzwQlz1Tif4UZt2Pk34
Y7KH6fBiMAoGCCqGSM49BAMCA0gAMEUCIQDlT/2DzIS59XmMvaNSSvJhNRc5ZuTI
cQbRdO6TQO+NcQIgEgVMdp7eez53jaGD/ut5C9nUv4zoM1F6/cVpdojrtEQ=
-----END CERTIFICATE-----
";

    fn check(der: &[u8], name: Option<&str>) {
        let read = Certificate::read(der).unwrap();
        assert_eq!(read.common_name, name, "{der:02x?}");
        assert_eq!(read.not_before.as_millis(), 1_795_455_463_000);
        assert_eq!(read.not_after.as_millis(), 2_556_230_401_000);
    }

    fn named(names: &[(u8, &[u8])]) -> Vec<u8> {
        let mut subject = Vec::new();
        for (tag, name) in names {
            let len = u8::try_from(name.len()).unwrap();
            subject.extend([SET, len + 9, SEQUENCE, len + 7, 6, 3, 0x55, 4, 3, *tag, len]);
            subject.extend(*name);
        }
        let len = u8::try_from(subject.len()).unwrap();
        [vec![SEQUENCE, len], subject].concat()
    }

    #[test]
    fn names() {
        let check = |names: &[(u8, &[u8])], expected| {
            for version in [VERSION_3, b""] {
                check(&certificate(version, VALIDITY, &named(names)), expected);
            }
        };
        check(
            &[(UTF8_STRING, b"first"), (UTF8_STRING, b"Pr\xc3\xbcfer 7")],
            Some("Pr\u{fc}fer 7"),
        );
        check(&[(PRINTABLE_STRING, b"dev-1")], Some("dev-1"));
        check(&[], None);
        check(&[(UTF8_STRING, b"")], None);
        check(&[(UTF8_STRING, b"a\0b")], None);
        check(&[(UTF8_STRING, b"\xff")], None);
        // BMPString: two bytes a letter.
        check(&[(0x1e, b"\0a")], None);
    }

    #[test]
    fn a_real_certificate_is_read() {
        let text: String = PEM.lines().filter(|line| !line.starts_with('-')).collect();
        let der = STANDARD.decode(text).unwrap();
        let read = Certificate::read(&der).unwrap();
        assert_eq!(read.common_name, Some("gw"));
        assert_eq!(read.not_before.as_millis(), 1_795_455_463_000);
        // openssl x509 -pubkey | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary
        // | base64
        let pin = "sha256//GNxwn+B4porLlWRqYHlh2KVgmRBHrzdQnZBwKf88ib0=";
        assert_eq!(KeyPin::of(read.public_key).to_string(), pin);
        assert_eq!(pin.parse(), Ok(KeyPin::of(read.public_key)));
    }

    #[test]
    fn pins_are_read() {
        let zeros = format!("sha256//{}=", "A".repeat(43));
        assert_eq!(zeros.parse::<KeyPin>().unwrap().to_string(), zeros);
        for wrong in [
            "",
            "sha256//",
            "sha256//AAAA",
            "sha1//AAAA",
            &zeros[8..],
            "sha256//?",
        ] {
            assert!(wrong.parse::<KeyPin>().is_err(), "{wrong}");
        }
    }

    /// Any bytes, and every certificate that is cut or changed in one byte.
    #[test]
    fn what_is_not_understood_is_no_certificate() {
        let whole = certificate(VERSION_3, VALIDITY, &named(&[(UTF8_STRING, b"dev")]));
        for len in 0..whole.len() {
            assert_eq!(Certificate::read(&whole[..len]), None, "{len}");
        }
        for at in 0..whole.len() {
            for byte in 0..=255 {
                let mut changed = whole.clone();
                changed[at] = byte;
                if let Some(read) = Certificate::read(&changed) {
                    assert_ne!(read.common_name, Some(""));
                }
            }
        }
        for validity in [
            &b"\x30\x1e\x17\x0d261323173743Z\x17\x0d261223173743Z"[..],
            b"\x30\x1e\x17\x0d2611231737431\x17\x0d261223173743Z",
            b"\x30\x1e\x04\x0d261123173743Z\x17\x0d261223173743Z",
        ] {
            assert_eq!(
                Certificate::read(&certificate(VERSION_3, validity, b"\x30\0")),
                None
            );
        }
        assert_eq!(Certificate::read(b"\x30\x85\xff\xff\xff\xff\xff"), None);
    }
}

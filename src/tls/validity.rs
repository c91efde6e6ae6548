//! Until when a certificate holds: the one field of it that is read here, everything else is `rustls`'s.
//!
//! Invariant: whatever the bytes are, they are read without a panic, and a time that cannot be is none.

use std::fmt;

/// The last second in which a certificate holds. (RFC 5280, section 4.1.2.5)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAfter {
    year: u16,
    month: u8,
    day: u8,
    hour: u8,
    minute: u8,
    second: u8,
}

impl NotAfter {
    /// Reads it out of a certificate's DER.
    pub(super) fn of(certificate: &[u8]) -> Option<Self> {
        let signed = Der(certificate).content(SEQUENCE)?;
        let mut fields = Der(Der(signed).content(SEQUENCE)?);
        // Version, serial number, algorithm, issuer; the first is left out in certificates of version 1.
        let (first, _) = fields.next()?;
        let before = if first == VERSION { [INTEGER, SEQUENCE, SEQUENCE].as_slice() } else { &[SEQUENCE, SEQUENCE] };
        for tag in before {
            fields.content(*tag)?;
        }
        let mut validity = Der(fields.content(SEQUENCE)?);
        validity.next()?;
        let (tag, digits) = validity.next()?;
        NotAfter::read(tag, digits)
    }

    fn read(tag: u8, text: &[u8]) -> Option<Self> {
        let digits = text.strip_suffix(b"Z").filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
        let (year, rest) = match (tag, digits.len()) {
            (UTC_TIME, 12) => {
                let (year, rest) = digits.split_at(2);
                let year = number(year);
                (if year < 50 { 2000 + year } else { 1900 + year }, rest)
            }
            (GENERALIZED_TIME, 14) => {
                let (year, rest) = digits.split_at(4);
                (number(year), rest)
            }
            _ => return None,
        };
        let mut two = rest.chunks(2).map(|two| u8::try_from(number(two)).unwrap_or(u8::MAX));
        let mut next = |least, most| two.next().filter(|n| (least..=most).contains(n));
        let (month, day) = (next(1, 12)?, next(1, 31)?);
        Some(NotAfter { year, month, day, hour: next(0, 23)?, minute: next(0, 59)?, second: next(0, 60)? })
    }

    /// In seconds since 1970.
    pub fn unix_s(self) -> i64 {
        // Years that begin in March have their leap day at the end; 400 of them are 146097 days.
        let (year, month) = (i64::from(self.year), i64::from(self.month));
        let year = if month <= 2 { year - 1 } else { year };
        let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + i64::from(self.day) - 1;
        let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + day_of_year - 719_468;
        let (hour, minute, second) = (i64::from(self.hour), i64::from(self.minute), i64::from(self.second));
        days * 86_400 + hour * 3_600 + minute * 60 + second
    }
}

impl fmt::Display for NotAfter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let NotAfter { year, month, day, hour, minute, second } = self;
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

const INTEGER: u8 = 0x02;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// What up to four digits mean.
fn number(digits: &[u8]) -> u16 {
    digits.iter().fold(0, |all, digit| all * 10 + u16::from(digit - b'0'))
}

/// Values one behind the other, each with its tag and its length.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (len, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x84 => {
                let (len, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
                (len.iter().fold(0, |all, byte| all << 8 | usize::from(*byte)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(len)?;
        self.0 = rest;
        Some((tag, content))
    }

    /// What the next value holds, which must be one of these.
    fn content(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next().filter(|(found, _)| *found == tag).map(|(_, content)| content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;

    #[test]
    fn times_are_read_as_they_are_written() {
        for (tag, text, shown, unix_s) in [
            (UTC_TIME, "700101000000Z", "1970-01-01T00:00:00Z", 0),
            (UTC_TIME, "491231235959Z", "2049-12-31T23:59:59Z", 2_524_607_999),
            (UTC_TIME, "500101000000Z", "1950-01-01T00:00:00Z", -631_152_000),
            (GENERALIZED_TIME, "20000229120000Z", "2000-02-29T12:00:00Z", 951_825_600),
            (GENERALIZED_TIME, "20991231235959Z", "2099-12-31T23:59:59Z", 4_102_444_799),
            (GENERALIZED_TIME, "99991231235959Z", "9999-12-31T23:59:59Z", 253_402_300_799),
        ] {
            let read = NotAfter::read(tag, text.as_bytes()).expect(text);
            assert_eq!((read.to_string().as_str(), read.unix_s()), (shown, unix_s));
        }
        for (tag, bad) in [
            (UTC_TIME, "20000229120000Z"),
            (GENERALIZED_TIME, "700101000000Z"),
            (UTC_TIME, "701301000000Z"),
            (UTC_TIME, "700100000000Z"),
            (UTC_TIME, "700101240000Z"),
            (UTC_TIME, "700101000000"),
            (UTC_TIME, "70010100000xZ"),
            (SEQUENCE, "700101000000Z"),
            (UTC_TIME, ""),
        ] {
            assert_eq!(NotAfter::read(tag, bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn a_certificate_says_when_it_ends_and_a_broken_one_nothing() {
        let pem = include_bytes!("testing/node.crt");
        let der = CertificateDer::from_pem_slice(pem).expect("a certificate");
        assert_eq!(NotAfter::of(&der).expect("a time").to_string(), include_str!("testing/ends").trim());
        for end in 0..der.len() {
            // Cut anywhere, it is not the whole that its first length says.
            assert_eq!(NotAfter::of(&der[..end]), None, "{end}");
        }
        for at in 0..der.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut broken = der.to_vec();
                broken[at] ^= flip;
                let _ = NotAfter::of(&broken);
            }
        }
    }
}

//! Dates as documents write them (RFC 3339).
//!
//! Invariant: what `rfc3339` writes is of one length up to the year 9999, so that texts are in the order of their times.

use super::calendar::{civil, days_of};

/// `2026-11-24T10:20:30.123Z`, of milliseconds since 1970.
pub fn rfc3339(ms: u64) -> String {
    let (days, in_day) = (ms / 86_400_000, ms % 86_400_000);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (in_day / 3_600_000, in_day / 60_000 % 60, in_day / 1000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", in_day % 1000)
}

/// The milliseconds since 1970 of a date, or of a date with a time in UTC: `2026-11-24`, `2026-11-24T10:20Z`,
/// `2026-11-24T10:20:30Z`, `2026-11-24T10:20:30.123Z`. `None` for what is no such text, or was never a day.
pub fn parse(text: &str) -> Option<u64> {
    let (date, time) = text.split_once('T').unwrap_or((text, "00:00Z"));
    let number = |text: &str, digits: usize| -> Option<u64> {
        let fits = text.len() == digits && text.bytes().all(|b| b.is_ascii_digit());
        text.parse().ok().filter(|_| fits)
    };
    let parts: Vec<&str> = date.split('-').collect();
    let [year, month, day] = parts[..] else { return None };
    let (year, month, day) = (number(year, 4)?, number(month, 2)?, number(day, 2)?);
    let (clock, millis) = match time.strip_suffix('Z')?.split_once('.') {
        Some((clock, millis)) => (clock, number(millis, 3)?),
        None => (time.strip_suffix('Z')?, 0),
    };
    let parts: Vec<&str> = clock.split(':').collect();
    let (hour, minute, second) = match parts[..] {
        [hour, minute] => (number(hour, 2)?, number(minute, 2)?, 0),
        [hour, minute, second] => (number(hour, 2)?, number(minute, 2)?, number(second, 2)?),
        _ => return None,
    };
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = days_of(year, month, day)?;
    Some((days * 86_400 + hour * 3_600 + minute * 60 + second) * 1_000 + millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_other_texts_are_not() {
        for ms in (0..120_u64).map(|n| n * 31_556_952_123 / 3).chain([951_782_400_000, 4_107_542_399_999]) {
            assert_eq!(parse(&rfc3339(ms)), Some(ms), "{}", rfc3339(ms));
        }
        assert_eq!(parse("2026-11-24"), Some(1_795_478_400_000));
        assert_eq!(parse("2026-11-24T10:20Z"), parse("2026-11-24T10:20:00.000Z"));
        assert_eq!(parse("2026-11-24T10:20:30Z"), parse("2026-11-24T10:20:30.000Z"));
        for bad in [
            "",
            "T",
            "2026",
            "2026-02-30",
            "2026-13-01",
            "2026-00-01",
            "2026-11-24T24:00Z",
            "2026-11-24T10:20",
            "2026-11-24T10:20:30.1Z",
            "1969-12-31",
            "+026-11-24",
            "2026-11-24T10Z",
            "2026-11-24 10:20Z",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn dates_agree_with_http_dates() {
        assert_eq!(rfc3339(784_111_777_450), "1994-11-06T08:49:37.450Z");
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(951_782_400_000), "2000-02-29T00:00:00.000Z");
        const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        for day in (0..150_000u64).step_by(7) {
            let (year, month, date) = civil(day);
            let http = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(day * 86_400));
            let name = MONTHS[usize::try_from(month).unwrap() - 1];
            assert!(http.contains(&format!(", {date:02} {name} {year} ")), "{http}: {year}-{month}-{date}");
        }
        assert!(rfc3339(u64::MAX).ends_with('Z'));
    }
}

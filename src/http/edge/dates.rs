//! Dates as documents write them (RFC 3339).

use crate::base::calendar::civil;

/// `2026-11-24T10:20:30.123Z`, of milliseconds since 1970.
pub fn rfc3339(ms: u64) -> String {
    let (days, in_day) = (ms / 86_400_000, ms % 86_400_000);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (in_day / 3_600_000, in_day / 60_000 % 60, in_day / 1000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", in_day % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;
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

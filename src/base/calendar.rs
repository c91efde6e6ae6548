//! Days since 1970 and dates of the Gregorian calendar, both ways.

/// The Gregorian date, that many days after 1970-01-01: year, month, day. Counted in eras of 400 years that begin on a
/// 1 March, so that the leap day is the last of its year.
pub fn civil(days: u64) -> (u64, u64, u64) {
    const ERA_DAYS: u64 = 146_097;
    let since = days + 719_468;
    let (era, day) = (since / ERA_DAYS, since % ERA_DAYS);
    let year = (day - day / 1460 + day / 36_524 - day / (ERA_DAYS - 1)) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

/// How many days after 1970-01-01 a date is; `None` of what is no date, of earlier ones, and of years behind 9999.
pub fn days_of(year: u64, month: u64, day: u64) -> Option<u64> {
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let before = |year: u64| year * 365 + year / 4 - year / 100 + year / 400;
    let shifted = (month + 9) % 12;
    let days = before(year - u64::from(month <= 2)) + (153 * shifted + 2) / 5 + day - 1;
    let days = days.checked_sub(719_468)?;
    (civil(days) == (year, month, day)).then_some(days)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_so_many_days_and_no_other_date_is() {
        assert_eq!(days_of(1970, 1, 1), Some(0));
        assert_eq!(days_of(2000, 2, 29), Some(11_016));
        for day in (0..2_932_896).step_by(13) {
            let (year, month, date) = civil(day);
            assert_eq!(days_of(year, month, date), Some(day));
        }
        for (year, month, day) in
            [(1969, 12, 31), (10_000, 1, 1), (2001, 2, 29), (2000, 4, 31), (2000, 0, 1), (2000, 1, 0)]
        {
            assert_eq!(days_of(year, month, day), None, "{year}-{month}-{day}");
        }
    }
}

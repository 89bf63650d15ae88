//! Times: RFC 3339 for programs, relative times for people.

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
/// The maximum age in days of a relative time; older times are dates.
const DAYS_COUNTED: u64 = 30;

/// Formats seconds since 1970 as RFC 3339 in UTC.
pub fn rfc3339(seconds: u64) -> String {
    let (days, second) = (seconds / DAY, seconds % DAY);
    format!("{}T{:02}:{:02}:{:02}Z", date(days), second / HOUR, second / MINUTE % 60, second % 60)
}

/// Formats a time relative to `now`, in at most 11 letters. Times older than a month become dates in UTC, and
/// so do future ones, which another machine's clock may give.
pub fn ago(seconds: u64, now: u64) -> String {
    let Some(passed) = now.checked_sub(seconds) else { return date(seconds / DAY) };
    match passed {
        ..MINUTE => "just now".into(),
        MINUTE..HOUR => format!("{} min ago", passed / MINUTE),
        HOUR..DAY => format!("{} h ago", passed / HOUR),
        _ if passed / DAY == 1 => "1 day ago".into(),
        _ if passed / DAY <= DAYS_COUNTED => format!("{} days ago", passed / DAY),
        _ => date(seconds / DAY),
    }
}

/// Formats a day counted from 1970-01-01 as a date of the Gregorian calendar.
///
/// Years are counted from March, so that the leap day is the last day of its year.
fn date(days: u64) -> String {
    let days = days + 719_468; // since 0000-03-01
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    format!("{:04}-{month:02}-{day:02}", era * 400 + year_of_era + u64::from(month <= 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_utc() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(951_827_696), "2000-02-29T12:34:56Z");
        assert_eq!(rfc3339(1_704_067_199), "2023-12-31T23:59:59Z");
        assert_eq!(rfc3339(4_107_542_400), "2100-03-01T00:00:00Z");
    }

    #[test]
    fn times_for_people_say_how_long_ago() {
        let now = 1_704_067_199;
        let cases = [
            (0, "just now"),
            (59, "just now"),
            (60, "1 min ago"),
            (3599, "59 min ago"),
            (7200, "2 h ago"),
            (DAY, "1 day ago"),
            (30 * DAY, "30 days ago"),
            (31 * DAY, "2023-11-30"),
        ];
        for (passed, text) in cases {
            assert_eq!(ago(now - passed, now), text);
        }
        assert_eq!(ago(now + 1, now), "2024-01-01");
    }
}

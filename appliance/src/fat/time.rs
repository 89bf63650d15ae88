//! Times of FAT: UTC here, in units of two seconds, from 1980 to 2107.

use crate::tree::Timestamp;

/// Seconds from 1970 to 1980-01-01 00:00:00.
const FIRST: i64 = 315_532_800;

/// Seconds from 1970 to 2107-12-31 23:59:58.
const LAST: i64 = 4_354_819_198;

const DAY_SECONDS: i64 = 86_400;

/// A date and a time of day as FAT stores them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FatTime {
    /// Years since 1980, month, day: 7, 4 and 5 bits.
    pub(super) date: u16,
    /// Hours, minutes, half seconds: 5, 6 and 5 bits.
    pub(super) time: u16,
}

impl From<Timestamp> for FatTime {
    /// Takes the nearest time that FAT has.
    fn from(timestamp: Timestamp) -> Self {
        let seconds = timestamp.seconds.clamp(FIRST, LAST);
        let (year, month, day) = date_of(seconds / DAY_SECONDS);
        let in_day = seconds % DAY_SECONDS;
        let (hour, minute, half_second) = (in_day / 3600, in_day / 60 % 60, in_day % 60 / 2);
        Self {
            date: ((year - 1980) << 9 | month << 5 | day) as u16,
            time: (hour << 11 | minute << 5 | half_second) as u16,
        }
    }
}

/// Returns year, month and day of a count of days since 1970, not before it.
///
/// Years start in March here, so that the leap day comes last: the method of Howard Hinnant's `civil_from_days`.
fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_times_have_known_fields() {
        let cases = [
            (1_700_000_000, (2023, 11, 14, 22, 13, 20)),
            (951_782_400, (2000, 2, 29, 0, 0, 0)),
            (i64::MIN, (1980, 1, 1, 0, 0, 0)),
            (FIRST, (1980, 1, 1, 0, 0, 0)),
            (LAST, (2107, 12, 31, 23, 59, 58)),
            (i64::MAX, (2107, 12, 31, 23, 59, 58)),
        ];
        for (seconds, (year, month, day, hour, minute, second)) in cases {
            let found = FatTime::from(Timestamp { seconds, nanoseconds: 0 });
            assert_eq!(found.date, (year - 1980) << 9 | month << 5 | day, "{seconds}");
            assert_eq!(found.time, hour << 11 | minute << 5 | (second / 2), "{seconds}");
        }
    }
}

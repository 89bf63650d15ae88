//! The time of an archive.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use serde::Deserialize;

/// The form of a date in a lock.
const LOCK_FORM: &str = "%Y-%m-%dT%H:%M:%SZ";

/// The form of a date in addresses of the snapshot archive.
const SNAPSHOT_FORM: &str = "%Y%m%dT%H%M%SZ";

/// The forms of the field `Date` of a Release file: deb-repository format, "Date, Valid-Until".
const RELEASE_FORMS: [&str; 3] =
    ["%a, %d %b %Y %H:%M:%S UTC", "%a, %d %b %Y %H:%M:%S GMT", "%a, %d %b %Y %H:%M:%S +0000"];

/// A time in whole seconds, UTC, from the year 1970 to 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Date(Timestamp);

/// A text that is not a date.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is not a date, expected one like 2025-05-17T09:12:21Z")]
pub struct InvalidDate {
    /// The text, its first 120 letters at most.
    pub found: String,
}

impl Date {
    /// Returns the date of `seconds` since 1970, or none before 1970 and after the year 9999.
    #[must_use]
    pub fn from_seconds(seconds: i64) -> Option<Self> {
        // jiff ends a day before the year 9999 does, so that each of its times exists in each time zone.
        Timestamp::from_second(seconds).ok().filter(|_| seconds >= 0).map(Self)
    }

    /// Returns the seconds since 1970.
    #[must_use]
    pub fn seconds(self) -> i64 {
        self.0.as_second()
    }

    /// Returns the date in the form that addresses of a snapshot archive have: `20250517T091221Z`.
    #[must_use]
    pub fn snapshot(self) -> String {
        self.format(SNAPSHOT_FORM)
    }

    /// Returns the date `hours` later, or this one where there is none.
    #[must_use]
    pub fn plus_hours(self, hours: u32) -> Self {
        Self::from_seconds(self.seconds().saturating_add(i64::from(hours) * 3600)).unwrap_or(self)
    }

    /// Reads the field `Date` of a Release file: `Sat, 17 May 2025 09:12:21 UTC`.
    pub(crate) fn from_release(text: &str) -> Option<Self> {
        RELEASE_FORMS.iter().find_map(|form| read(form, text))
    }

    fn format(self, form: &str) -> String {
        self.0.strftime(form).to_string()
    }
}

fn read(form: &str, text: &str) -> Option<Date> {
    let civil: DateTime = strtime::parse(form, text).ok()?.to_datetime().ok()?;
    let time = TimeZone::UTC.to_timestamp(civil).ok()?;
    Date::from_seconds(time.as_second())
}

impl fmt::Display for Date {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.format(LOCK_FORM))
    }
}

impl FromStr for Date {
    type Err = InvalidDate;

    fn from_str(text: &str) -> Result<Self, InvalidDate> {
        // Only one text for each date: the parser is lenient about blanks and zeros.
        let date = read(LOCK_FORM, text).filter(|date| date.to_string() == text);
        date.ok_or_else(|| InvalidDate { found: text.chars().take(120).collect() })
    }
}

impl TryFrom<String> for Date {
    type Error = InvalidDate;

    fn try_from(text: String) -> Result<Self, InvalidDate> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_equal_in_each_of_its_forms() {
        let date: Date = "2025-05-17T09:12:21Z".parse().unwrap();
        assert_eq!(date.seconds(), 1_747_473_141);
        assert_eq!(date.snapshot(), "20250517T091221Z");
        assert_eq!(Date::from_release("Sat, 17 May 2025 09:12:21 UTC"), Some(date));
        assert_eq!(date.plus_hours(24).to_string(), "2025-05-18T09:12:21Z");
        assert_eq!(Date::from_seconds(0).unwrap().to_string(), "1970-01-01T00:00:00Z");
    }

    #[test]
    fn other_texts_are_no_dates() {
        let bad = [
            "",
            "2025-05-17",
            "2025-05-17T09:12:21",
            "2025-05-17T09:12:21+00:00",
            "2025-5-17T09:12:21Z",
            "2025-02-30T09:12:21Z",
            "1969-12-31T23:59:59Z",
            "2025-05-17t09:12:21z",
            " 2025-05-17T09:12:21Z",
            "x",
            "99999-05-17T09:12:21Z",
            "-025-05-17T09:12:21Z",
        ];
        for bad in bad {
            assert!(bad.parse::<Date>().is_err(), "{bad}");
        }
        assert_eq!(Date::from_release("Sat, 17 May 2025 09:12:21 CEST"), None);
    }
}

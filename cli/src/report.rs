//! Standard output: text, JSON, and sizes and times for people.

use std::io::{self, BufWriter, Stdout, Write};

use melv::Error;
use serde_json::Value;

use crate::args::Globals;

/// Standard output. Once its reader is gone, what is written is dropped: who reads `head` has had
/// enough, which is no failure.
#[derive(Debug)]
pub struct Out {
    inner: BufWriter<Stdout>,
    json: bool,
    quiet: bool,
    gone: bool,
}

/// What to call it in messages.
pub const STDOUT: &str = "standard output";

impl Out {
    /// Standard output, in the form that the options ask for.
    pub fn new(globals: &Globals) -> Self {
        let inner = BufWriter::with_capacity(64 << 10, io::stdout());
        Self { inner, json: globals.json, quiet: globals.quiet, gone: false }
    }

    /// Whether JSON is wanted.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Whether nobody reads any more.
    pub fn is_gone(&self) -> bool {
        self.gone
    }

    /// Prints a command's result: one JSON object, or its text.
    pub fn data(&mut self, json: &Value, text: &str) -> melv::Result<()> {
        if self.json { writeln!(self, "{json}") } else { self.write_all(text.as_bytes()) }
            .and_then(|()| self.flush())
            .map_err(write_failed)
    }

    /// As [`Out::data`], of what is done rather than what was asked for: text is dropped with `-q`.
    pub fn summary(&mut self, json: &Value, text: &str) -> melv::Result<()> {
        self.data(json, if self.quiet { "" } else { text })
    }

    fn forgive(&mut self, result: io::Result<()>) -> io::Result<()> {
        match result {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.gone = true;
                Ok(())
            }
            other => other,
        }
    }
}

impl Write for Out {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if !self.gone {
            let written = self.inner.write_all(buf);
            self.forgive(written)?;
        }
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.gone {
            return Ok(());
        }
        let flushed = self.inner.flush();
        self.forgive(flushed)
    }
}

/// A refusal of standard output.
pub fn write_failed(error: io::Error) -> Error {
    Error::io("write", STDOUT, error)
}

/// A line on standard error. Nobody is left to be told where that is closed.
pub fn note(line: &str) {
    crate::log::write(crate::log::Urgency::Info, line);
}

/// A number of bytes for people: three significant digits or more.
pub fn human(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = if value < 10.0 { 2 } else { 1 };
    format!("{value:.digits$} {}", UNITS[unit])
}

/// Seconds since 1970 as RFC 3339 in UTC.
pub fn rfc3339(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil_date(days);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

/// Year, month and day of a day counted from 1970-01-01, in the Gregorian calendar.
///
/// Years are counted from March, so that the leap day is the last of its year.
fn civil_date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468; // since 0000-03-01
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

/// Rows as columns, two spaces apart; columns named in `right` are aligned to the right.
pub fn table(rows: &[Vec<String>], right: &[usize]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<_> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = widths[column];
            line.push_str(&if right.contains(&column) {
                format!("{cell:>width$}  ")
            } else {
                format!("{cell:<width$}  ")
            });
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
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
    fn sizes_are_short() {
        assert_eq!(human(0), "0 B");
        assert_eq!(human(1023), "1023 B");
        assert_eq!(human(4096), "4.00 KiB");
        assert_eq!(human((1 << 20) - 1), "1.00 MiB");
        assert_eq!(human(2 << 30), "2.00 GiB");
        assert_eq!(human(u64::MAX), "16.0 EiB");
    }

    #[test]
    fn columns_line_up() {
        let rows = [vec!["a".into(), "100".into()], vec!["long".into(), "1".into()]];
        assert_eq!(table(&rows, &[1]), "a     100\nlong    1\n");
    }
}

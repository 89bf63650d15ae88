//! Sizes in bytes as text: parsed from the command line, and formatted for people.

/// Parses a number of bytes: digits alone, or followed by K M G T, or KiB MiB GiB TiB, in any case.
pub fn size(text: &str) -> Result<u64, String> {
    let digits = text.len() - text.trim_start_matches(|char: char| char.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" => 0,
        "k" | "kib" => 10,
        "m" | "mib" => 20,
        "g" | "gib" => 30,
        "t" | "tib" => 40,
        _ => return Err("expected a number of bytes, or a number with K M G T or KiB MiB GiB TiB".into()),
    };
    let number: u64 = number.parse().map_err(|_| "expected a number that fits 64 bits".to_owned())?;
    number.checked_mul(1 << shift).ok_or_else(|| "the number of bytes does not fit 64 bits".into())
}

/// Formats a number of bytes for people, with three significant digits or more.
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

/// Formats a number of bytes, rounded for people and exact.
pub fn exact(bytes: u64) -> String {
    if bytes < 1024 { format!("{bytes} bytes") } else { format!("{} ({bytes} bytes)", human(bytes)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_1024() {
        assert_eq!(size("4096"), Ok(4096));
        assert_eq!((size("64K"), size("64KiB")), (Ok(65536), Ok(65536)));
        assert_eq!((size("64k"), size("64kib")), (Ok(65536), Ok(65536)));
        assert_eq!((size("1G"), size("2TiB")), (Ok(1 << 30), Ok(2 << 40)));
        for bad in ["", "K", "-1", "1.5G", "64KB", "64kb", "64 K", "16777216T", "99999999999999999999"] {
            assert!(size(bad).is_err(), "{bad}");
        }
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
}

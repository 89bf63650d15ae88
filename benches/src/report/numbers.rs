//! Numbers formatted for readers.

/// Formats a figure of a table: decimals by magnitude, three for ratios and other bare numbers.
pub(super) fn figure(value: f64, unit: &str) -> String {
    let size = value.abs();
    if !value.is_finite() {
        "no number".into()
    } else if size >= 100.0 || ((value - value.round()).abs() < 1e-9 && (!unit.is_empty() || size >= 2.0)) {
        format!("{value:.0}")
    } else if unit.is_empty() {
        format!("{value:.3}")
    } else {
        format!("{value:.*}", if size >= 10.0 { 1 } else { 2 })
    }
}

/// Formats a limit: two decimals for ratios.
pub(super) fn limit(value: f64, unit: &str) -> String {
    if unit.is_empty() && value < 2.0 { format!("{value:.2}") } else { figure(value, unit) }
}

/// Separates thousands with a narrow no-break space in numbers of five digits or more.
pub(super) fn grouped(number: &str) -> String {
    let (sign, rest) = number.split_at(usize::from(number.starts_with('-')));
    let (whole, fraction) = rest.split_at(rest.find('.').unwrap_or(rest.len()));
    if whole.len() < 5 || !whole.bytes().all(|byte| byte.is_ascii_digit()) {
        return number.into();
    }
    let digits = whole.chars().enumerate().map(|(at, digit)| {
        let gap = if at > 0 && (whole.len() - at).is_multiple_of(3) { "\u{202f}" } else { "" };
        format!("{gap}{digit}")
    });
    format!("{sign}{}{fraction}", digits.collect::<String>())
}

/// Formats with three significant digits, without trailing zeros.
pub(super) fn short(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return "0".into();
    }
    let decimals = (2 - value.abs().log10().floor() as i32).clamp(0, 6) as usize;
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').into() } else { text }
}

/// Formats a time in a readable unit.
pub(super) fn duration(nanos: f64) -> String {
    let (unit, size) = [("s", 1e9), ("ms", 1e6), ("µs", 1e3)]
        .into_iter()
        .find(|(_, size)| nanos >= *size * 0.9995)
        .unwrap_or(("ns", 1.0));
    format!("{} {unit}", short(nanos / size))
}

//! The order of Debian's versions.

use std::cmp::Ordering;

use super::Version;

/// Compares two versions as Debian Policy, section 5.6.12, orders them: by epoch, upstream version, revision.
#[must_use]
pub fn compare(left: &Version, right: &Version) -> Ordering {
    let (left, right) = (Parts::of(left.as_str()), Parts::of(right.as_str()));
    compare_numbers(left.epoch, right.epoch)
        .then_with(|| compare_texts(left.upstream, right.upstream))
        .then_with(|| compare_texts(left.revision, right.revision))
}

struct Parts<'a> {
    epoch: &'a [u8],
    upstream: &'a [u8],
    revision: &'a [u8],
}

impl<'a> Parts<'a> {
    fn of(text: &'a str) -> Self {
        let (epoch, rest) = text.split_once(':').unwrap_or(("", text));
        let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
        Self { epoch: epoch.as_bytes(), upstream: upstream.as_bytes(), revision: revision.as_bytes() }
    }
}

/// Compares parts in turn: letters in their own order, then digits as a number.
fn compare_texts(mut left: &[u8], mut right: &[u8]) -> Ordering {
    while !left.is_empty() || !right.is_empty() {
        let (letters, numbers) = (take(&mut left, is_no_digit), take(&mut left, is_digit));
        let (others, values) = (take(&mut right, is_no_digit), take(&mut right, is_digit));
        let order = compare_letters(letters, others).then_with(|| compare_numbers(numbers, values));
        if order.is_ne() {
            return order;
        }
    }
    Ordering::Equal
}

fn is_digit(byte: u8) -> bool {
    byte.is_ascii_digit()
}

fn is_no_digit(byte: u8) -> bool {
    !byte.is_ascii_digit()
}

/// Takes the bytes at the front that fit.
fn take<'a>(bytes: &mut &'a [u8], fits: fn(u8) -> bool) -> &'a [u8] {
    let end = bytes.iter().position(|&byte| !fits(byte)).unwrap_or(bytes.len());
    let (front, rest) = bytes.split_at(end);
    *bytes = rest;
    front
}

/// Compares letters: `~` before the end, the end before letters, letters before signs.
fn compare_letters(left: &[u8], right: &[u8]) -> Ordering {
    let rank = |byte: Option<&u8>| match byte {
        Some(b'~') => -1,
        None => 0,
        Some(byte) if byte.is_ascii_alphabetic() => i32::from(*byte),
        Some(byte) => i32::from(*byte) + 256,
    };
    let ranks = |bytes: &[u8], index| rank(bytes.get(index));
    let length = left.len().max(right.len());
    let orders = (0..length).map(|index| ranks(left, index).cmp(&ranks(right, index)));
    orders.fold(Ordering::Equal, Ordering::then)
}

/// Compares digits as numbers of any length.
fn compare_numbers(left: &[u8], right: &[u8]) -> Ordering {
    let trim = |digits: &[u8]| digits.iter().position(|&digit| digit != b'0').unwrap_or(digits.len());
    let (left, right) = (&left[trim(left)..], &right[trim(right)..]);
    left.len().cmp(&right.len()).then_with(|| left.cmp(right))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_in_the_order_that_dpkg_gives_them() {
        let versions = [
            "1.0",
            "1.0-1",
            "1.0-1+b1",
            "1.0~rc1-1",
            "1.0~~",
            "1.0+deb12u1",
            "1:0.9",
            "0:1.0",
            "1.00",
            "1.a",
            "1.+",
            "1.-1",
            "1.10",
            "1.9",
            "2.36-9+deb12u13",
            "2.36-9+deb12u9",
            "3:6.04~git20190206.bf6db5b4+dfsg1-3",
            "a1",
            "1.0.0",
            "99999999999999999999999999",
            "1.2-3-4",
            "1a",
            "1~",
        ];
        for left in versions {
            for right in versions {
                let found = compare(&left.parse().unwrap(), &right.parse().unwrap());
                let operator = match found {
                    Ordering::Less => "lt",
                    Ordering::Equal => "eq",
                    Ordering::Greater => "gt",
                };
                let mut dpkg = std::process::Command::new("dpkg");
                let status = dpkg.args(["--compare-versions", left, operator, right]).output();
                assert!(status.expect("dpkg is needed").status.success(), "{left} {operator} {right}");
            }
        }
    }
}

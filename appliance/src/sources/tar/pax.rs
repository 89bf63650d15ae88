//! Records of extended headers, pure.
//!
//! Layout: POSIX.1-2017, `pax`, "pax Extended Header"; `SCHILY.xattr.` as star, GNU tar and Docker write it.

use std::collections::BTreeMap;

use crate::tree::Timestamp;

use super::{
    error::TarFault,
    sparse::{self, Range},
};

/// Values that extension headers put in place of a header's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extended {
    /// Path.
    pub path: Option<Vec<u8>>,
    /// Target of a link.
    pub link: Option<Vec<u8>>,
    /// Bytes that follow.
    pub size: Option<u64>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Time of the last change.
    pub mtime: Option<Timestamp>,
    /// Extended attributes.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Sparse file.
    pub sparse: Sparse,
    /// Number of attributes in a form that no tree holds (access control lists as text).
    pub ignored: u64,
}

/// Records of a sparse file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sparse {
    /// Major version of the form, 1 where the map lies before the data.
    pub major: Option<u64>,
    /// Minor version.
    pub minor: Option<u64>,
    /// Path of the file; the header has a made-up one.
    pub name: Option<Vec<u8>>,
    /// Size with the holes.
    pub real_size: Option<u64>,
    /// The map, in the forms 0.0 and 0.1.
    pub ranges: Option<Vec<Range>>,
    /// The offset of form 0.0 whose length is still to come.
    offset: Option<u64>,
}

/// Applies the records of one extension header, in their order.
///
/// With `global`, the records stand for all entries that follow: those that name one file are refused.
pub fn apply(bytes: &[u8], global: bool, extended: &mut Extended) -> Result<(), TarFault> {
    let mut at = 0;
    while at < bytes.len() {
        let (key, value, next) = record(bytes, at).ok_or(TarFault::Record(at))?;
        if global && names_one_file(key) {
            return Err(TarFault::Global(key.to_vec()));
        }
        if apply_one(key, value, extended)?.is_none() {
            return Err(TarFault::Value(key.to_vec()));
        }
        at = next;
    }
    Ok(())
}

fn names_one_file(key: &[u8]) -> bool {
    matches!(key, b"path" | b"linkpath" | b"size")
        || key.starts_with(b"GNU.sparse.")
        || key.starts_with(b"SCHILY.xattr.")
}

/// Takes the record at `at` apart: key, value, start of the next.
fn record(bytes: &[u8], at: usize) -> Option<(&[u8], &[u8], usize)> {
    let rest = bytes.get(at..)?;
    let space = rest.iter().take(20).position(|byte| *byte == b' ')?;
    let len = usize::try_from(sparse::decimal(&rest[..space])?).ok()?;
    let body = rest.get(space + 1..len)?;
    let (last, body) = body.split_last()?;
    let equals = body.iter().position(|byte| *byte == b'=')?;
    if *last != b'\n' || equals == 0 {
        return None;
    }
    Some((&body[..equals], &body[equals + 1..], at.checked_add(len)?))
}

/// Applies one record. `None` is a value that the key cannot have; an empty value takes an earlier one back.
fn apply_one(key: &[u8], value: &[u8], extended: &mut Extended) -> Result<Option<()>, TarFault> {
    let text = || (!value.is_empty()).then(|| value.to_vec());
    match key {
        b"path" => extended.path = text(),
        b"linkpath" => extended.link = text(),
        b"size" => return Ok(number(value, &mut extended.size)),
        b"uid" => return Ok(id(value, &mut extended.uid)),
        b"gid" => return Ok(id(value, &mut extended.gid)),
        b"mtime" => {
            extended.mtime = None;
            if !value.is_empty() {
                let Some(time) = time(value) else { return Ok(None) };
                extended.mtime = Some(time);
            }
        }
        _ => match (key.strip_prefix(b"SCHILY.xattr."), key.strip_prefix(b"GNU.sparse.")) {
            (Some(name), _) => {
                extended.xattrs.insert(name.to_vec(), value.to_vec());
            }
            (_, Some(name)) => return sparse_record(name, value, &mut extended.sparse),
            _ if key.starts_with(b"SCHILY.acl.") => extended.ignored += 1,
            _ => {}
        },
    }
    Ok(Some(()))
}

fn number(value: &[u8], field: &mut Option<u64>) -> Option<()> {
    *field = if value.is_empty() { None } else { Some(sparse::decimal(value)?) };
    Some(())
}

fn id(value: &[u8], field: &mut Option<u32>) -> Option<()> {
    *field = if value.is_empty() { None } else { Some(u32::try_from(sparse::decimal(value)?).ok()?) };
    Some(())
}

fn sparse_record(name: &[u8], value: &[u8], found: &mut Sparse) -> Result<Option<()>, TarFault> {
    match name {
        b"major" => return Ok(number(value, &mut found.major)),
        b"minor" => return Ok(number(value, &mut found.minor)),
        b"size" | b"realsize" => return Ok(number(value, &mut found.real_size)),
        b"name" => found.name = Some(value.to_vec()),
        b"map" => found.ranges = Some(sparse::comma_map(value)?),
        b"numblocks" => found.ranges = Some(Vec::new()),
        b"offset" => return Ok(number(value, &mut found.offset)),
        b"numbytes" => {
            let (Some(offset), Some(len)) = (found.offset.take(), sparse::decimal(value)) else {
                return Ok(None);
            };
            sparse::push(found.ranges.get_or_insert_default(), Range { offset, len })?;
        }
        _ => return Ok(None),
    }
    Ok(Some(()))
}

/// Parses decimal seconds with a sign and a fraction. Digits below the nanosecond are cut off.
fn time(value: &[u8]) -> Option<Timestamp> {
    let (negative, value) = match value.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, value),
    };
    let (whole, fraction) = match value.iter().position(|byte| *byte == b'.') {
        Some(dot) => (&value[..dot], &value[dot + 1..]),
        None => (value, &b""[..]),
    };
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let seconds = i64::try_from(sparse::decimal(whole)?).ok()?;
    let digits = fraction.iter().map(|digit| u32::from(digit - b'0')).chain(std::iter::repeat(0));
    let nanoseconds = digits.take(9).fold(0, |value, digit| value * 10 + digit);
    Some(match (negative, nanoseconds) {
        (false, _) => Timestamp { seconds, nanoseconds },
        (true, 0) => Timestamp { seconds: -seconds, nanoseconds: 0 },
        (true, _) => {
            Timestamp { seconds: (-seconds).checked_sub(1)?, nanoseconds: 1_000_000_000 - nanoseconds }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(bytes: &[u8]) -> Result<Extended, TarFault> {
        let mut extended = Extended::default();
        apply(bytes, false, &mut extended)?;
        Ok(extended)
    }

    #[test]
    fn records_are_read_by_their_length() {
        let extended =
            parsed(b"12 path=a=b\n30 mtime=1350244992.023960108\n26 SCHILY.xattr.user.x=\n\0\n").unwrap();
        assert_eq!(extended.path.as_deref(), Some(&b"a=b"[..]));
        assert_eq!(extended.mtime, Some(Timestamp { seconds: 1_350_244_992, nanoseconds: 23_960_108 }));
        assert_eq!(extended.xattrs[&b"user.x"[..]], b"\n\0");
    }

    #[test]
    fn records_that_lie_are_refused_at_their_byte() {
        for (bytes, at) in [
            (&b"12 path=a=b"[..], 0),
            (b"13 path=a=b\n", 0),
            (b"0 \n", 0),
            (b"2 \n", 0),
            (b"3 \n", 0),
            (b"4 =\n", 0),
            (b"5 a=\n9 b=\n", 5),
            (b"99999999999999999999 a=b\n", 0),
            (b"18446744073709551615 a=b\n", 0),
            (b"-5 a=\n", 0),
        ] {
            assert_eq!(parsed(bytes), Err(TarFault::Record(at)), "{bytes:?}");
        }
        assert_eq!(parsed(b"12 size=-12\n"), Err(TarFault::Value(b"size".to_vec())));
        assert_eq!(parsed(b"18 uid=4294967296\n"), Err(TarFault::Value(b"uid".to_vec())));
    }

    #[test]
    fn times_before_1970_count_down_from_the_second_below() {
        let timestamp = |seconds, nanoseconds| Some(Timestamp { seconds, nanoseconds });
        assert_eq!(time(b"-1.5"), timestamp(-2, 500_000_000));
        assert_eq!(time(b"-3"), timestamp(-3, 0));
        assert_eq!(time(b"5.0000000019"), timestamp(5, 1));
        assert_eq!(time(b"9223372036854775808"), None);
        assert_eq!(time(b"1.x"), None);
        assert_eq!(time(b""), None);
    }
}

//! The file `control` of a binary package, pure.
//!
//! Layout: Debian Policy, sections 5.1 (syntax), 5.3 (fields of binary packages) and 5.6.

use std::collections::{BTreeMap, BTreeSet};

use crate::sources::shown;

/// Facts of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Control {
    /// Name.
    pub package: String,
    /// Version.
    pub version: String,
    /// Name of the source package; the package's own unless the field says otherwise.
    pub source: String,
    /// Version of the source package; the package's own unless the field says otherwise.
    pub source_version: String,
    /// `amd64` or `all`.
    pub architecture: String,
    /// `Multi-Arch`, as it stands.
    pub multi_arch: Option<String>,
    /// Maintainer.
    pub maintainer: Option<String>,
    /// `Installed-Size` in KiB, as the package claims. Nothing here trusts it.
    pub installed_size: Option<u64>,
    /// Whether `Essential` is `yes`.
    pub essential: bool,
    /// Names of the packages in `Replaces`, without their versions: packages of one suite meet in the versions that
    /// the suite has.
    pub replaces: BTreeSet<String>,
}

/// A fault of a control file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControlFault {
    /// It is no UTF-8.
    #[error("the text is not UTF-8")]
    Encoding,
    /// A line is neither `Field: value` nor the next line of a value.
    #[error("line {0} is no field")]
    Line(usize),
    /// A field stands twice.
    #[error("line {line} has the field {field} for the second time")]
    Twice {
        /// The line, from 1.
        line: usize,
        /// The field.
        field: String,
    },
    /// A field that each package has is not there.
    #[error("the field {0} is missing")]
    Missing(&'static str),
    /// A field has a value that cannot be.
    #[error("the field {field} has the value {}, which cannot be", shown(value.as_bytes()))]
    Value {
        /// The field.
        field: &'static str,
        /// The value.
        value: String,
    },
    /// The package is for other machines.
    #[error("the package is for {}, and amd64 or all is supported", shown(.0.as_bytes()))]
    Architecture(String),
}

/// Parses a control file.
///
/// # Errors
///
/// The faults of [`ControlFault`].
pub fn parse(bytes: &[u8]) -> Result<Control, ControlFault> {
    let text = std::str::from_utf8(bytes).map_err(|_| ControlFault::Encoding)?;
    let fields = fields(text)?;
    let field = |name: &str| fields.get(name).map(|value| value.trim());
    let required = |name: &'static str| {
        field(&name.to_ascii_lowercase()).filter(|value| !value.is_empty()).ok_or(ControlFault::Missing(name))
    };
    let package = checked("Package", required("Package")?, is_name)?;
    let version = checked("Version", required("Version")?, is_version)?;
    let architecture = required("Architecture")?.to_owned();
    if architecture != "amd64" && architecture != "all" {
        return Err(ControlFault::Architecture(architecture));
    }
    let (source, source_version) = match field("source") {
        None | Some("") => (package.clone(), version.clone()),
        Some(value) => source(value, &version)?,
    };
    Ok(Control {
        source,
        source_version,
        architecture,
        multi_arch: field("multi-arch").map(str::to_owned),
        maintainer: field("maintainer").map(str::to_owned),
        installed_size: field("installed-size").and_then(|value| value.parse().ok()),
        essential: field("essential") == Some("yes"),
        replaces: field("replaces").map(names_of).unwrap_or_default(),
        package,
        version,
    })
}

/// Takes the one paragraph apart: names in lower case to values, whose further lines keep their line ends.
fn fields(text: &str) -> Result<BTreeMap<String, String>, ControlFault> {
    let mut fields: BTreeMap<String, String> = BTreeMap::new();
    let mut last: Option<String> = None;
    let mut ended = false;
    for (at, line) in text.lines().enumerate() {
        let number = at + 1;
        if line.trim().is_empty() {
            ended = last.is_some();
            continue;
        }
        // A second paragraph has no meaning here: a reader that takes its fields sees another package.
        if ended || line.contains('\0') {
            return Err(ControlFault::Line(number));
        }
        if line.starts_with([' ', '\t']) {
            let value =
                last.as_ref().and_then(|last| fields.get_mut(last)).ok_or(ControlFault::Line(number))?;
            value.push('\n');
            value.push_str(line);
            continue;
        }
        let (name, value) = line.split_once(':').ok_or(ControlFault::Line(number))?;
        let plain = |byte: u8| byte.is_ascii_graphic();
        if name.is_empty() || name.starts_with(['#', '-']) || !name.bytes().all(plain) {
            return Err(ControlFault::Line(number));
        }
        let name = name.to_ascii_lowercase();
        if fields.insert(name.clone(), value.to_owned()).is_some() {
            return Err(ControlFault::Twice { line: number, field: name });
        }
        last = Some(name);
    }
    Ok(fields)
}

fn checked(field: &'static str, value: &str, is: fn(&str) -> bool) -> Result<String, ControlFault> {
    if is(value) { Ok(value.to_owned()) } else { Err(ControlFault::Value { field, value: value.to_owned() }) }
}

/// Whether this is a package's name. It becomes the name of a file, so that no other letters are taken.
fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (2..=200).contains(&name.len())
        && plain(name.as_bytes()[0])
        && name.bytes().all(|byte| plain(byte) || b"+-.".contains(&byte))
}

fn is_version(version: &str) -> bool {
    version.len() <= 200
        && version.as_bytes().first().is_some_and(u8::is_ascii_digit)
        && version.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".+-~:".contains(&byte))
}

/// Parses `NAME` or `NAME (VERSION)`.
fn source(value: &str, version: &str) -> Result<(String, String), ControlFault> {
    let fault = || ControlFault::Value { field: "Source", value: value.to_owned() };
    let (name, found) = match value.split_once('(') {
        None => (value, version),
        Some((name, rest)) => (name.trim_end(), rest.strip_suffix(')').ok_or_else(fault)?.trim()),
    };
    if !is_name(name) || !is_version(found) {
        return Err(fault());
    }
    Ok((name.to_owned(), found.to_owned()))
}

/// Returns the names in a list of packages.
fn names_of(list: &str) -> BTreeSet<String> {
    let name = |item: &str| item.trim().split(['(', ' ', ':', '[', '\t', '\n']).next().map(str::to_owned);
    list.split(',').filter_map(name).filter(|name| is_name(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NGINX: &str = "Package: nginx\nVersion: 1.22.1-9\nArchitecture: amd64\n";

    #[test]
    fn a_source_is_the_package_itself_unless_it_is_named() {
        let control = parse(NGINX.as_bytes()).unwrap();
        assert_eq!((control.source.as_str(), control.source_version.as_str()), ("nginx", "1.22.1-9"));
        let control = parse(format!("{NGINX}Source: other (2:1~x)\n").as_bytes()).unwrap();
        assert_eq!((control.source.as_str(), control.source_version.as_str()), ("other", "2:1~x"));
    }

    #[test]
    fn values_have_several_lines_and_names_any_case() {
        let text = format!("{NGINX}Replaces: a (<< 1),\n bb (>= 2), cc:any\nDescription: x\n y\n .\n\n\n");
        let control = parse(text.replace("Package", "PACKAGE").as_bytes()).unwrap();
        assert_eq!(control.replaces, ["bb".to_owned(), "cc".to_owned()].into());
    }

    #[test]
    fn names_that_leave_a_folder_are_refused() {
        for name in ["../x", "a/b", "..", "A", "a\u{e9}x", "", ".a"] {
            let text = NGINX.replace("Package: nginx", &format!("Package: {name}"));
            assert!(parse(text.as_bytes()).is_err(), "{name}");
        }
    }

    #[test]
    fn other_machines_are_refused_by_name() {
        let fault = parse(NGINX.replace("amd64", "arm64").as_bytes()).unwrap_err();
        assert_eq!(fault, ControlFault::Architecture("arm64".to_owned()));
    }

    #[test]
    fn a_text_that_is_no_paragraph_is_refused_at_its_line() {
        for (text, fault) in [
            (format!(" x\n{NGINX}"), ControlFault::Line(1)),
            (format!("{NGINX}\nPackage: other\n"), ControlFault::Line(5)),
            (format!("{NGINX}no field\n"), ControlFault::Line(4)),
            (format!("{NGINX}a\0b: x\n"), ControlFault::Line(4)),
            (format!("{NGINX}version: 2\n"), ControlFault::Twice { line: 4, field: "version".to_owned() }),
            ("Package: nginx\n".to_owned(), ControlFault::Missing("Version")),
            (String::new(), ControlFault::Missing("Package")),
        ] {
            assert_eq!(parse(text.as_bytes()).unwrap_err(), fault, "{text}");
        }
        assert_eq!(parse(b"Package: \xff\n").unwrap_err(), ControlFault::Encoding);
    }
}

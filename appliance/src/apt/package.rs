//! A stanza of a list of packages, as an entry of a lock. Pure.

use std::path::Path;
use std::str::FromStr;

use super::error::AptError;
use super::stanzas::Stanza;
use crate::lock::{Architecture, ArchiveName, InvalidText, MAX_FILE_BYTES, Package, PackageName, Version};

/// Reads the entry of a package. `list` is named in errors.
pub(crate) fn read(stanza: Stanza<'_>, archive: &ArchiveName, list: &Path) -> Result<Package, AptError> {
    let reader = Reader { stanza, list };
    let name: PackageName = reader.text("Package")?;
    let version: Version = reader.text("Version")?;
    let size = reader.field("Size")?;
    let architecture = match reader.field("Architecture")? {
        "all" => Architecture::All,
        "amd64" => Architecture::Amd64,
        other => return Err(reader.fault(other, "the architecture all or amd64")),
    };
    let (source, source_version) = match stanza.field("Source") {
        None => (None, None),
        Some(source) => {
            let (name, version) = source.split_once(" (").unwrap_or((source, ""));
            (Some(name), version.strip_suffix(')'))
        }
    };
    let path = reader.field("Filename")?;
    Ok(Package {
        source: source.map_or(Ok(name.clone()), |source| reader.parse(source))?,
        source_version: source_version.map_or(Ok(version.clone()), |version| reader.parse(version))?,
        name,
        architecture,
        version,
        archive: archive.clone(),
        path: reader.parse(path.strip_prefix("./").unwrap_or(path))?,
        size: size
            .parse()
            .ok()
            .filter(|size| (1..=MAX_FILE_BYTES).contains(size))
            .ok_or_else(|| reader.fault(size, "a size of 1 byte to 16 GiB"))?,
        sha256: {
            let text = reader.field("SHA256")?;
            text.parse().map_err(|_| reader.fault(text, "64 hexadecimal digits"))?
        },
    })
}

struct Reader<'a> {
    stanza: Stanza<'a>,
    list: &'a Path,
}

impl<'a> Reader<'a> {
    fn place(&self) -> String {
        format!(
            "{}, package {}",
            self.list.display(),
            self.stanza.field("Package").unwrap_or("without a name")
        )
    }

    fn fault(&self, found: &str, expected: &'static str) -> AptError {
        AptError::form(self.place(), found, expected)
    }

    fn field(&self, name: &'static str) -> Result<&'a str, AptError> {
        self.stanza.field(name).ok_or_else(|| self.fault(name, "a stanza with this field"))
    }

    fn text<T: FromStr<Err = InvalidText>>(&self, name: &'static str) -> Result<T, AptError> {
        self.parse(self.field(name)?)
    }

    fn parse<T: FromStr<Err = InvalidText>>(&self, text: &str) -> Result<T, AptError> {
        text.parse().map_err(|source| AptError::Text { place: self.place(), source })
    }
}

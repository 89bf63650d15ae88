//! The parsers of foreign bytes, as functions for any bytes. None of them fails; a panic is a fault of the parser.

use std::ops::ControlFlow;
use std::path::Path;

use crate::apt::{self, Search};
use crate::closure::Wanted;
use crate::lock::Lock;

/// A lock: one that is read has one text, which reads as the same lock.
///
/// # Panics
///
/// A lock that differs from the one that its text reads as.
pub fn lock(bytes: &[u8]) {
    if let Ok(lock) = Lock::parse(bytes) {
        let text = lock.to_toml();
        let again = Lock::parse(text.as_bytes());
        assert_eq!(again.as_ref(), Ok(&lock));
        assert_eq!(again.map(|again| again.to_toml()), Ok(text));
        let _ = (crate::sbom::cyclonedx(&lock, None), crate::sbom::sources(&lock));
    }
}

/// A list of packages.
///
/// # Panics
///
/// Never.
pub fn packages(bytes: &[u8]) {
    let archive = "debian".parse().expect("small letters are a name");
    let _ = apt::stanzas::each_stanza(bytes, |stanza| {
        let _ = apt::package::read(stanza, &archive, Path::new("Packages"));
        ControlFlow::Continue(())
    });
}

/// A list of contents.
pub fn contents(bytes: &[u8]) {
    for wanted in [Wanted::Path(b"/usr/bin/x"), Wanted::Library(b"libx.so.1")] {
        let mut search = Search::new(wanted);
        let _ = search.read(bytes);
        let _ = search.finish();
    }
}

/// The outputs of apt's programs, and a signed list.
pub fn outputs(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _ = apt::uris::parse(&text);
    let _ = apt::methods::failures(&text);
    let _ = apt::release::date(&text);
    let _ = apt::release::file(&text, "main/x");
    for target in apt::targets::parse(&text).unwrap_or_default() {
        let _ = (target.release_file(), target.component().len());
    }
}

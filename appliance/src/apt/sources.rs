//! The list of sources that apt reads, with the keys inside it. Pure.

use std::fmt::Write as _;

use super::question::{Options, Repository};
use crate::lock::{Archive, ArchiveName};

/// Names of Debian's archives, in a lock and in the snapshot archive.
const MAIN: &str = "debian";
const SECURITY: &str = "debian-security";

/// Returns the list of sources in the form of sources.list(5), "deb822-style format". `keys` are the armoured keys of
/// the archive, then those of each further repository.
pub(super) fn sources(options: &Options, keys: &[Vec<String>]) -> String {
    let suite = options.suite.as_str();
    let mut text = String::new();
    let mut keys = keys.iter();
    let archive_keys = keys.next().map_or(&[][..], Vec::as_slice);
    let updates = if options.updates { format!(" {suite}-updates") } else { String::new() };
    stanza(&mut text, options.mirror.as_str(), &format!("{suite}{updates}"), "main", archive_keys);
    if options.updates {
        let suites = format!("{suite}-security");
        stanza(&mut text, options.security_mirror.as_str(), &suites, "main", archive_keys);
    }
    for (repository, keys) in options.repositories.iter().zip(keys) {
        let components: Vec<&str> = repository.components.iter().map(|name| name.as_str()).collect();
        let Repository { uri, suite, .. } = repository;
        stanza(&mut text, uri.as_str(), suite.as_str(), &components.join(" "), keys);
    }
    text
}

fn stanza(text: &mut String, uri: &str, suites: &str, components: &str, keys: &[String]) {
    let _ = write!(text, "Types: deb\nURIs: {uri}\nSuites: {suites}\n");
    if !components.is_empty() {
        let _ = writeln!(text, "Components: {components}");
    }
    text.push_str("Signed-By:\n");
    for line in keys {
        // An empty line would end the stanza.
        let _ = writeln!(text, " {}", if line.is_empty() { "." } else { line });
    }
    text.push('\n');
}

/// Returns the archives in the order of the sources, by the names that locks have for them.
pub(super) fn archives(options: &Options) -> Vec<Archive> {
    let name = |text: &str| -> ArchiveName { text.parse().expect("digits and small letters are a name") };
    let archive = |text: &str, uri: &crate::lock::Uri| Archive {
        name: name(text),
        uri: uri.clone(),
        snapshot: Some(name(text)),
    };
    let mut archives = vec![archive(MAIN, &options.mirror)];
    if options.updates {
        archives.push(archive(SECURITY, &options.security_mirror));
    }
    for (index, repository) in options.repositories.iter().enumerate() {
        // Two suites of one repository share its files.
        if archives.iter().all(|archive| archive.uri != repository.uri) {
            let name = name(&format!("repository-{}", index + 1));
            archives.push(Archive { name, uri: repository.uri.clone(), snapshot: None });
        }
    }
    archives
}

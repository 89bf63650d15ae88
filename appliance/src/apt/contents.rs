//! The package of the suite that has a file: the archive's lists of contents, streamed.

use std::io::{self, BufRead, BufReader, Read};

use flate2::read::MultiGzDecoder;

use super::error::AptError;
use super::release::{self, ListedFile};
use super::resolver::{Resolver, release_text};
use crate::closure::{PackageLookup, Wanted};
use crate::fetch::{Fetcher, Source};

/// Longest line in bytes.
const MAX_LINE_BYTES: u64 = 1 << 20;

/// The lists of a component: of packages for x86-64, and of those for all machines.
const LISTS: [&str; 2] = ["Contents-amd64", "Contents-all"];

/// The lists of contents of a suite. They are fetched when a file is asked for, and never before.
#[derive(Debug)]
pub struct SuiteContents<'a> {
    fetcher: &'a Fetcher,
    lists: Vec<Source>,
}

impl Resolver {
    /// Returns the lists of contents that the suite's signed lists name. Nothing is fetched yet.
    ///
    /// # Errors
    ///
    /// See [`AptError`].
    pub fn contents<'a>(&self, fetcher: &'a Fetcher) -> Result<SuiteContents<'a>, AptError> {
        let mut lists: Vec<Source> = Vec::new();
        for target in self.indexes(&self.lock()?)? {
            let Some(text) = target.release_file().and_then(|file| release_text(&file).ok()) else {
                continue;
            };
            for list in LISTS {
                let path = format!("{}/{list}.gz", target.component());
                let Some(ListedFile { sha256, size }) = release::file(&text, &path) else {
                    continue;
                };
                let base = &target.release;
                // The address by digest stays when the list is replaced.
                let by_hash = format!("{base}{}/by-hash/SHA256/{sha256}", target.component());
                lists.push(Source {
                    name: path.clone(),
                    sha256,
                    size,
                    urls: vec![by_hash, format!("{base}{path}")],
                });
            }
        }
        Ok(SuiteContents { fetcher, lists })
    }
}

impl SuiteContents<'_> {
    /// Returns the packages that have the file, by name. A list that cannot be had is left out.
    #[must_use]
    pub fn holders(&self, wanted: Wanted<'_>) -> Vec<String> {
        let mut search = Search::new(wanted);
        for list in &self.lists {
            if let Ok(file) = self.fetcher.get_source(list) {
                // Half a list is better than none: this is for the text of an error.
                let _ = search.read(BufReader::new(MultiGzDecoder::new(BufReader::new(file))));
            }
        }
        search.finish()
    }
}

impl PackageLookup for SuiteContents<'_> {
    fn holder(&self, wanted: Wanted<'_>) -> Option<String> {
        self.holders(wanted).into_iter().min_by_key(|name| (name.contains("-dbg"), name.len(), name.clone()))
    }
}

/// A search for a file in lists of contents: lines `PATH SECTION/PACKAGE,SECTION/PACKAGE`.
#[derive(Debug)]
pub(crate) struct Search<'a> {
    wanted: Wanted<'a>,
    found: Vec<String>,
}

impl<'a> Search<'a> {
    pub(crate) fn new(wanted: Wanted<'a>) -> Self {
        Self { wanted, found: Vec::new() }
    }

    /// Reads a list to its end, a line at a time.
    pub(crate) fn read(&mut self, mut input: impl BufRead) -> io::Result<()> {
        let mut line = Vec::new();
        loop {
            line.clear();
            if Read::take(&mut input, MAX_LINE_BYTES).read_until(b'\n', &mut line)? == 0 {
                return Ok(());
            }
            self.line(line.trim_ascii_end());
        }
    }

    fn line(&mut self, line: &[u8]) {
        let Some(blank) = line.iter().rposition(u8::is_ascii_whitespace) else {
            return;
        };
        let (path, packages) = (line[..blank].trim_ascii_end(), &line[blank + 1..]);
        if !self.is_wanted(path) {
            return;
        }
        for entry in packages.split(|&byte| byte == b',') {
            let name = entry.rsplit(|&byte| byte == b'/').next().unwrap_or(entry);
            let name = String::from_utf8_lossy(name).into_owned();
            if !name.is_empty() && self.found.len() < 100 {
                self.found.push(name);
            }
        }
    }

    fn is_wanted(&self, path: &[u8]) -> bool {
        match self.wanted {
            Wanted::Path(wanted) => merged(path) == merged(wanted.strip_prefix(b"/").unwrap_or(wanted)),
            Wanted::Library(name) => {
                let folder = path.strip_suffix(name);
                folder.is_some_and(|folder| folder.ends_with(b"/") && merged(folder).starts_with(b"lib"))
            }
        }
    }

    /// Returns the packages by name, each once.
    pub(crate) fn finish(mut self) -> Vec<String> {
        self.found.sort();
        self.found.dedup();
        self.found
    }
}

/// Cuts off `usr/`: `/lib` and `/usr/lib` are one folder.
fn merged(path: &[u8]) -> &[u8] {
    path.strip_prefix(b"usr/").unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &[u8] = b"usr/bin/a b\tx/one,y/two\nlib/x86_64-linux-gnu/libq.so.1   libs/libq1\n\
        usr/share/doc/libq.so.1 doc/q-doc\nnoblank\n\nusr/lib/r/libq.so.1 contrib/libs/libq1,\n";

    fn search(wanted: Wanted<'_>) -> Vec<String> {
        let mut search = Search::new(wanted);
        search.read(LIST).unwrap();
        search.finish()
    }

    #[test]
    fn paths_and_libraries_are_found_on_both_sides_of_usr() {
        assert_eq!(search(Wanted::Path(b"/bin/a b")), ["one", "two"]);
        assert_eq!(search(Wanted::Path(b"/usr/lib/x86_64-linux-gnu/libq.so.1")), ["libq1"]);
        assert_eq!(search(Wanted::Library(b"libq.so.1")), ["libq1"]);
        assert!(search(Wanted::Library(b"q.so.1")).is_empty());
        assert!(search(Wanted::Path(b"/bin/a")).is_empty());
    }
}

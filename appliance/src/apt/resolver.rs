//! Puts a question to apt.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Read as _;
use std::ops::ControlFlow;
use std::path::Path;

use super::armour::armour;
use super::error::AptError;
use super::list_file::each;
use super::methods::{self, Cause};
use super::package;
use super::question::{Answer, Options, Question, Selection};
use super::run::{self, Output};
use super::state::State;
use super::targets::{self, Target};
use super::uris::{self, PrintedUri};
use super::{config, release, sources, unknown};
use crate::lock::{Archive, ArchiveName, Date, Package, PackageName};
use crate::sha256::Sha256;

/// Longest file of keys and longest signed list, in bytes.
const MAX_KEYS_BYTES: u64 = 4 << 20;
const MAX_RELEASE_BYTES: u64 = 16 << 20;

/// Resolves names to packages with Debian's `apt-get`, which runs as this user and touches nothing outside its folder.
#[derive(Debug)]
pub struct Resolver {
    options: Options,
    keys: Vec<Sha256>,
    state: State,
}

impl Resolver {
    /// Prepares the folder of the state. Nothing is fetched yet.
    ///
    /// # Errors
    ///
    /// Keys that cannot be read, and a folder that cannot be written.
    pub fn new(options: Options) -> Result<Self, AptError> {
        let files = options.repositories.iter().map(|repository| &repository.key);
        let mut blocks = Vec::new();
        let mut digests = Vec::new();
        for path in [&options.keyring].into_iter().chain(files) {
            let bytes = read(path, MAX_KEYS_BYTES)
                .map_err(|source| AptError::NoKeys { path: path.clone(), source })?;
            digests.push(Sha256::of(&bytes));
            blocks.push(armour(&bytes).ok_or_else(|| AptError::InvalidKeys { path: path.clone() })?);
        }
        let text = sources::sources(&options, &blocks);
        let proxies = proxies(&options)?;
        let state =
            State::open(&options.cache, options.suite.as_str(), &text, options.accept_expired, &proxies)?;
        Ok(Self { keys: digests.split_off(1), options, state })
    }

    /// Answers a question, with new lists where the old ones are older than the options allow.
    ///
    /// # Errors
    ///
    /// See [`AptError`]. After any of them the lists are as they were.
    pub fn resolve(&self, question: &Question) -> Result<Answer, AptError> {
        self.refresh()?;
        let lock = self.lock()?;
        self.answer(question, &lock)
    }

    /// Brings new lists where the old ones are too old.
    fn refresh(&self) -> Result<(), AptError> {
        if self.options.offline {
            let folder = self.state.folder().into();
            return if self.state.has_lists() { Ok(()) } else { Err(AptError::NoLists { folder }) };
        }
        if self.state.is_fresh(self.options.max_age) {
            return Ok(());
        }
        let lock = self.state.lock_alone(self.options.time_limit)?;
        self.update(&lock)
    }

    fn update(&self, lock: &File) -> Result<(), AptError> {
        // Another process may have done it during the wait.
        if self.state.is_fresh(self.options.max_age) {
            return Ok(());
        }
        let output = self.apt(&["update".into()], lock)?;
        if output.status.success() {
            return self.state.mark_fresh();
        }
        let mut failures = methods::failures(&format!("{}\n{}", output.text, output.errors));
        failures.sort_by_key(|failure| failure.cause);
        let Some(failure) = failures.into_iter().next() else {
            return Err(failed(&output));
        };
        let (uri, reason) = (failure.uri, failure.message);
        Err(match failure.cause {
            Cause::Signature => AptError::Signature { uri, reason },
            Cause::Status(status) => AptError::Refused { uri, status },
            Cause::Unreachable => AptError::Unreachable { uri, reason },
        })
    }

    fn answer(&self, question: &Question, lock: &File) -> Result<Answer, AptError> {
        let date = self.date()?;
        let archives = sources::archives(&self.options);
        let printed = self.solve(question, lock)?;
        let mut packages = self.describe(&archives, &printed, lock)?;
        if question.selection == Selection::SameSource {
            same_source(&mut packages, &question.packages);
        }
        packages.sort();
        let used: BTreeSet<&ArchiveName> = packages.iter().map(|package| &package.archive).collect();
        let archives = archives.into_iter().filter(|archive| used.contains(&archive.name)).collect();
        Ok(Answer { date, archives, packages, keys: self.keys.clone() })
    }

    /// Lets apt choose the files.
    fn solve(&self, question: &Question, lock: &File) -> Result<Vec<PrintedUri>, AptError> {
        if question.packages.is_empty() && question.files.is_empty() {
            return Ok(Vec::new());
        }
        let mut arguments: Vec<OsString> = ["install", "--print-uris", "--"].map(OsString::from).to_vec();
        arguments.extend(question.packages.iter().map(|name| name.as_str().into()));
        for file in &question.files {
            arguments.push(std::path::absolute(file).map_err(AptError::io(file))?.into());
        }
        let output = self.apt(&arguments, lock)?;
        if output.status.success() {
            return uris::parse(&output.text);
        }
        let unknown = unknown::find(&self.indexes(lock)?, &question.packages)?;
        if unknown.is_empty() {
            return Err(AptError::Conflict { words: words(&output) });
        }
        Err(AptError::Unknown { suite: self.options.suite.clone(), unknown })
    }

    /// Finds the entries of the files that apt chose.
    fn describe(
        &self,
        archives: &[Archive],
        printed: &[PrintedUri],
        lock: &File,
    ) -> Result<Vec<Package>, AptError> {
        let mut wanted: BTreeMap<&str, &PrintedUri> =
            printed.iter().map(|printed| (printed.uri.as_str(), printed)).collect();
        let mut packages = Vec::with_capacity(printed.len());
        for target in self.indexes(lock)? {
            if wanted.is_empty() {
                break;
            }
            let Some(archive) = archives.iter().find(|archive| target.is_of(&archive.uri)) else {
                continue;
            };
            let base = format!("{}/", archive.uri);
            let in_archive: BTreeMap<&str, &PrintedUri> = wanted
                .iter()
                .filter_map(|(uri, printed)| Some((plain(uri.strip_prefix(&base)?), *printed)))
                .collect();
            let mut fault = None;
            each(&target.file, |stanza| {
                let path = stanza.field("Filename").map(plain);
                let Some(printed) = path.and_then(|path| in_archive.get(path)) else {
                    return ControlFlow::Continue(());
                };
                match package::read(stanza, &archive.name, &target.file) {
                    // Two lists may name one path; apt chose the entry with this digest.
                    Ok(package) if (package.sha256, package.size) != (printed.sha256, printed.size) => {}
                    Ok(package) => {
                        if wanted.remove(printed.uri.as_str()).is_some() {
                            packages.push(package);
                        }
                    }
                    Err(error) => fault = Some(error),
                }
                if fault.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })?;
            if let Some(fault) = fault {
                return Err(fault);
            }
        }
        match wanted.keys().next() {
            None => Ok(packages),
            Some(uri) => {
                Err(AptError::form("lists of packages", uri, "an entry for each file that apt chose"))
            }
        }
    }

    /// Waits until nobody changes the lists.
    pub(super) fn lock(&self) -> Result<File, AptError> {
        self.state.lock_shared(self.options.time_limit)
    }

    /// Returns the lists of packages.
    pub(super) fn indexes(&self, lock: &File) -> Result<Vec<Target>, AptError> {
        let arguments = ["indextargets", "--format", targets::FORMAT, "Created-By: Packages"];
        let output = self.apt(&arguments.map(OsString::from), lock)?;
        if !output.status.success() {
            return Err(failed(&output));
        }
        targets::parse(&output.text)
    }

    fn date(&self) -> Result<Date, AptError> {
        let mut dates = Vec::new();
        for path in self.state.releases()? {
            let place = path.to_string_lossy().into_owned();
            let text = release_text(&path)?;
            let date = release::date(&text).ok_or_else(|| AptError::form(place, "", "a field `Date`"))?;
            dates.push(date);
        }
        let folder = self.state.folder().to_path_buf();
        dates.into_iter().max().ok_or(AptError::NoLists { folder })
    }

    fn apt(&self, arguments: &[OsString], lock: &File) -> Result<Output, AptError> {
        let Options { programs, time_limit, .. } = &self.options;
        run::run(&programs.apt_get, arguments, Some(&self.state.config()), Some(lock), *time_limit)
    }
}

/// Reads a signed list.
pub(super) fn release_text(path: &Path) -> Result<String, AptError> {
    let bytes = read(path, MAX_RELEASE_BYTES).map_err(AptError::io(path))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn read(path: &Path, limit: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Asks this machine's configuration of apt for its proxies.
fn proxies(options: &Options) -> Result<Vec<(String, String)>, AptError> {
    let output = run::run(&options.programs.apt_config, &["dump".into()], None, None, options.time_limit)?;
    if output.status.success() { Ok(config::proxies(&output.text)) } else { Err(failed(&output)) }
}

/// Cuts off the beginning that lists of flat repositories have: `./x.deb`.
fn plain(path: &str) -> &str {
    path.strip_prefix("./").unwrap_or(path)
}

/// Keeps the packages named, and those of the same source packages.
fn same_source(packages: &mut Vec<Package>, named: &[PackageName]) {
    let of_named = packages.iter().filter(|package| named.contains(&package.name));
    let sources: BTreeSet<PackageName> = of_named.map(|package| package.source.clone()).collect();
    packages.retain(|package| sources.contains(&package.source));
}

fn failed(output: &Output) -> AptError {
    AptError::Failed { status: output.status.to_string(), words: words(output) }
}

/// Returns the words of apt for people: without the messages of its methods and the lines of its progress.
fn words(output: &Output) -> String {
    let of_workers =
        [" <- ", " -> ", "Starting method", "Configured access method", "Failed fork", "Version:"];
    let lines = output.text.lines().chain(output.errors.lines());
    let kept = lines
        .filter(|line| !of_workers.iter().any(|start| line.starts_with(start)) && !line.ends_with("..."));
    kept.collect::<Vec<_>>().join("\n")
}

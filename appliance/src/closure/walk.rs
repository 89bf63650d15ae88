//! The walk from the roots over all needs.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    io,
};

use crate::{
    declaration::Pattern,
    elf::{self, Priority},
    tree::{Content, InodeId, Kind},
};

use super::{
    libraries::{self, Found},
    lookup::{Paths, Unresolved, file_name, folder, resolve, shown},
    outcome::{Closure, ClosureError, Kept, Missing, Note, ProgramFault},
    request::{Request, Wanted},
    script,
    why::{Edge, Reason, Why},
};

/// Largest program or library in bytes. Chromium has 250 MiB.
const MAX_PROGRAM: u64 = 1 << 30;
/// Folders where `env` looks for programs, as init sets `PATH`.
const PATH: [&[u8]; 4] = [b"/usr/local/bin", b"/usr/bin", b"/usr/local/sbin", b"/usr/sbin"];

/// The state of a walk.
pub(super) struct Walk<'a> {
    pub(super) request: Request<'a>,
    pub(super) paths: &'a Paths,
    pub(super) closure: Closure,
    /// Paths that are kept and not yet looked into.
    queue: VecDeque<Vec<u8>>,
    missing: Vec<Missing>,
    /// Pairs of files: the first one cannot do without the second.
    hard: Vec<(Vec<u8>, Vec<u8>)>,
    /// Faults of kept files that were looked into.
    faults: BTreeMap<Vec<u8>, ProgramFault>,
    /// Files that something runs or links, with the first need.
    strict: BTreeMap<Vec<u8>, Reason>,
    /// Kept scripts that nothing ran when they were looked into.
    idle_scripts: BTreeSet<Vec<u8>>,
    seen_inodes: BTreeSet<InodeId>,
    applied: BTreeSet<usize>,
    /// Names of libraries, with the paths that have them.
    libraries: HashMap<&'a [u8], Vec<&'a [u8]>>,
    configured: Vec<Vec<u8>>,
    /// Folders of `DT_RPATH` that a library inherits from the file that first needed it.
    inherited: BTreeMap<Vec<u8>, Vec<Vec<u8>>>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(request: Request<'a>, paths: &'a Paths) -> Self {
        let mut libraries: HashMap<&[u8], Vec<&[u8]>> = HashMap::new();
        for (path, id) in paths.iter() {
            let name = file_name(path);
            let is_library = name.ends_with(b".so") || name.windows(4).any(|part| part == b".so.");
            if is_library && !matches!(request.tree.get(id).kind, Kind::Directory(_)) {
                libraries.entry(name).or_default().push(path);
            }
        }
        let read = |content: &Content| match content.len() {
            0..=1_048_576 => read_all(request, content).unwrap_or_default(),
            _ => Vec::new(),
        };
        Self {
            configured: libraries::configured(request.tree, &read),
            request,
            paths,
            closure: Closure::default(),
            queue: VecDeque::new(),
            missing: Vec::new(),
            hard: Vec::new(),
            faults: BTreeMap::new(),
            strict: BTreeMap::new(),
            idle_scripts: BTreeSet::new(),
            seen_inodes: BTreeSet::new(),
            applied: BTreeSet::new(),
            libraries,
            inherited: BTreeMap::new(),
        }
    }

    /// Returns the pattern that leaves a path out.
    fn dropped(&self, path: &[u8]) -> Option<&'a Pattern> {
        self.request.policy.drop.iter().find(|pattern| pattern.fits(path))
    }

    /// Keeps a path of the tree as it is: a link as a link. Left-out ones stay out.
    pub(super) fn keep(&mut self, path: &[u8], reason: Reason) {
        if self.closure.keeps(path) || self.dropped(path).is_some() {
            return;
        }
        let Ok(parent) = resolve(self.request.tree, folder(path)) else { return };
        let Some(id) = self.request.tree.child(parent.id, file_name(path)) else { return };
        let size = match &self.request.tree.get(id).kind {
            Kind::File(content) if self.seen_inodes.insert(id) => content.len(),
            _ => 0,
        };
        let package = self.request.origins.package_of(path).map(|package| package.name.clone());
        self.closure.kept.insert(path.to_vec(), Kept { reason, size, package });
        self.queue.push_back(path.to_vec());
        let above = folder(path);
        if above != b"/" {
            self.keep(above, Reason::Folder(path.to_vec()));
        }
    }

    /// Keeps the file that a path leads to, and every link on the way. Returns the path without links.
    pub(super) fn keep_resolved(&mut self, path: &[u8], reason: &Reason) -> Result<Vec<u8>, Unresolved> {
        let found = resolve(self.request.tree, path)?;
        for link in &found.links {
            self.keep(link, reason.clone());
        }
        self.keep(&found.path, reason.clone());
        if self.closure.keeps(&found.path) { Ok(found.path) } else { Err(Unresolved::NotFound) }
    }

    /// Keeps a program or library, which must be there and be one.
    pub(super) fn need(&mut self, path: &[u8], reason: Reason) -> Option<Vec<u8>> {
        match self.keep_resolved(path, &reason) {
            Ok(found) => {
                if let Some(by) = reason.by() {
                    self.hard.push((by.to_vec(), found.clone()));
                }
                self.strict.entry(found.clone()).or_insert(reason);
                if self.idle_scripts.remove(&found) {
                    self.queue.push_back(found.clone());
                }
                Some(found)
            }
            Err(Unresolved::NotFound) => {
                self.miss(Wanted::Path(path), reason);
                None
            }
            Err(Unresolved::TooManyLinks | Unresolved::TooLong) => {
                self.faults.insert(path.to_vec(), ProgramFault::Links);
                self.strict.entry(path.to_vec()).or_insert(reason);
                None
            }
        }
    }

    /// Records a need that is not met.
    pub(super) fn miss(&mut self, wanted: Wanted<'_>, reason: Reason) {
        let (Wanted::Path(name) | Wanted::Library(name)) = wanted;
        let left_out = match wanted {
            Wanted::Path(path) => self.dropped(path),
            Wanted::Library(name) => {
                self.libraries.get(name).and_then(|paths| paths.iter().find_map(|path| self.dropped(path)))
            }
        };
        let dropped_by = left_out.map(|pattern| pattern.as_str().to_owned());
        let package = if dropped_by.is_some() { None } else { self.request.packages.holder(wanted) };
        let why = self.chain(name, reason);
        self.missing.push(Missing { wanted: name.to_vec(), why, package, dropped_by });
    }

    /// Looks into all kept files until no new one comes.
    pub(super) fn run(&mut self) -> Result<(), ClosureError> {
        while let Some(path) = self.queue.pop_front() {
            self.rules(&path);
            let Ok(parent) = resolve(self.request.tree, folder(&path)) else { continue };
            let Some(id) = self.request.tree.child(parent.id, file_name(&path)) else { continue };
            match &self.request.tree.get(id).kind {
                Kind::Symlink(_) => {
                    // A link to nothing is a link all the same; only who goes through it needs a target.
                    if let Ok(target) =
                        self.keep_resolved(&path, &Reason::Needed { edge: Edge::Link, by: path.clone() })
                    {
                        self.hard.push((path, target));
                    }
                }
                Kind::File(content) => self.look_into(&path, content)?,
                Kind::Directory(_) => {
                    self.faults.insert(path, ProgramFault::Folder);
                }
            }
        }
        Ok(())
    }

    fn rules(&mut self, path: &[u8]) {
        let rules = self.request.rules;
        let text = shown(path);
        for (index, rule) in rules.rules().iter().enumerate() {
            if self.applied.contains(&index) || !rule.applies(&text) {
                continue;
            }
            self.applied.insert(index);
            let paths = self.paths;
            let fitting: Vec<&[u8]> =
                paths.iter().map(|(path, _)| path).filter(|path| rule.keeps(&shown(path))).collect();
            let reason = Reason::Rule { rule: rule.name().to_owned(), by: path.to_vec() };
            if fitting.is_empty() && rule.is_required() {
                self.miss(Wanted::Path(rule.wanted().as_bytes()), reason.clone());
            } else if fitting.is_empty() {
                self.closure
                    .notes
                    .push(Note::NothingToKeep { rule: rule.name().to_owned(), by: path.to_vec() });
            }
            for path in fitting {
                self.keep(path, reason.clone());
            }
        }
    }

    fn look_into(&mut self, path: &[u8], content: &Content) -> Result<(), ClosureError> {
        let failed = |source| ClosureError::Read { path: path.to_vec(), source };
        let start = read_start(self.request, content, 4).map_err(failed)?;
        if !elf::is_elf(&start) && !script::is_script(&start) {
            self.faults.insert(path.to_vec(), ProgramFault::Neither);
            return Ok(());
        }
        if script::is_script(&start) {
            let line = read_start(self.request, content, 512).map_err(failed)?;
            self.script(path, &line);
            return Ok(());
        }
        if content.len() > MAX_PROGRAM {
            let fault = ProgramFault::TooLarge { found: content.len(), limit: MAX_PROGRAM };
            self.faults.insert(path.to_vec(), fault);
            return Ok(());
        }
        let bytes = read_all(self.request, content).map_err(failed)?;
        match elf::parse(&bytes) {
            Ok(needs) => self.elf(path, &bytes, &needs),
            Err(fault) => {
                self.faults.insert(path.to_vec(), fault.into());
            }
        }
        Ok(())
    }

    fn script(&mut self, path: &[u8], line: &[u8]) {
        let Some(shebang) = script::shebang(line) else {
            self.faults.insert(path.to_vec(), ProgramFault::EmptyScript);
            return;
        };
        // Packages carry scripts that nobody runs in an appliance (helpers for developers, hooks). A script is a
        // need only where something runs it.
        let by = path.to_vec();
        if !self.strict.contains_key(path) {
            self.idle_scripts.insert(by);
            return;
        }
        let reason = Reason::Needed { edge: Edge::Script, by: by.clone() };
        self.need(shebang.interpreter, reason);
        if let Some(program) = shebang.by_env {
            let reason = Reason::Needed { edge: Edge::Environment, by };
            let tree = self.request.tree;
            let place = PATH.iter().map(|folder| [folder, &b"/"[..], program].concat());
            let place = place.filter(|path| resolve(tree, path).is_ok()).collect::<Vec<_>>();
            let path = place.first().cloned().unwrap_or_else(|| [b"/usr/bin/", program].concat());
            self.need(&path, reason);
        }
    }

    fn elf(&mut self, path: &[u8], bytes: &[u8], needs: &elf::Elf<'_>) {
        let needed = |edge| Reason::Needed { edge, by: path.to_vec() };
        if let Some(interpreter) = needs.interpreter {
            self.need(interpreter, needed(Edge::Interpreter));
        }
        let (own, inherited) = self.own_folders(path, needs);
        for name in &needs.needed {
            match self.library(path, name, &own) {
                Some(found) => {
                    if found.by_configuration {
                        self.closure.linked.insert(name.to_vec(), found.path.clone());
                    }
                    if let Some(real) = self.need(&found.path, needed(Edge::Library)) {
                        self.inherited.entry(real).or_insert_with(|| inherited.clone());
                    }
                }
                None => self.miss(Wanted::Library(name), needed(Edge::Library)),
            }
        }
        for note in &needs.dlopen {
            self.note(path, note, &own);
        }
        let known = |name: &[u8]| self.libraries.get_key_value(name).map(|(name, _)| *name);
        let stated = |name: &&[u8]| needs.needed.contains(name) || needs.soname == Some(name);
        let names: Vec<&[u8]> =
            elf::library_names(bytes, known).into_iter().filter(|name| !stated(name)).collect();
        for name in names {
            // Its own file name is in many a library, for messages.
            if name == file_name(path) {
                continue;
            }
            if let Some(found) = self.library(path, name, &own) {
                let _ = self.keep_resolved(&found.path, &needed(Edge::String));
            }
        }
    }

    /// Returns the folders that the file itself names, and those that its libraries inherit from it.
    fn own_folders(&self, path: &[u8], needs: &elf::Elf<'_>) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
        if let Some(list) = needs.runpath {
            // DT_RUNPATH turns DT_RPATH off, here and above, and is not inherited.
            return (libraries::folders(list, path), Vec::new());
        }
        let mut folders = needs.rpath.map(|list| libraries::folders(list, path)).unwrap_or_default();
        folders.extend(self.inherited.get(path).cloned().unwrap_or_default());
        folders.dedup();
        folders.truncate(256);
        (folders.clone(), folders)
    }

    fn note(&mut self, path: &[u8], note: &elf::DlopenNote, own: &[Vec<u8>]) {
        let reason = Reason::Needed { edge: Edge::Dlopen, by: path.to_vec() };
        let found = note.soname.iter().find_map(|name| self.library(path, name.as_bytes(), own));
        if let Some(found) = found {
            let _ = self.keep_resolved(&found.path, &reason);
            return;
        }
        let Some(first) = note.soname.first() else { return };
        match note.priority {
            Priority::Required => self.miss(Wanted::Library(first.as_bytes()), reason),
            Priority::Recommended => {
                self.closure.notes.push(Note::NotThere { wanted: first.clone(), by: path.to_vec() });
            }
            Priority::Suggested => {}
        }
    }

    /// Finds a library that the file at `path` needs.
    fn library(&self, path: &[u8], name: &[u8], own: &[Vec<u8>]) -> Option<Found> {
        let request = self.request;
        // ld.so passes a library of another machine over and goes on.
        let mut fits = |id: InodeId| match &request.tree.get(id).kind {
            Kind::File(content) => {
                let start = read_start(request, content, 20).unwrap_or_default();
                elf::is_elf(&start) && start.get(4) == Some(&2) && start.get(18..20) == Some(&[62, 0])
            }
            _ => false,
        };
        if name.contains(&b'/') {
            let absolute = name.starts_with(b"/") && resolve(request.tree, name).is_ok();
            return absolute.then(|| Found { path: name.to_vec(), by_configuration: false });
        }
        let found = libraries::find(request.tree, name, own, &self.configured, &mut fits);
        // A plugin may need a library that its program has loaded from a folder of its own; such a one lies in the
        // same package, or else in the only place where the name is.
        let beside = || {
            let places = self.libraries.get(name)?;
            let origin = request.origins.origin(path);
            let mut same = places.iter().filter(|place| request.origins.origin(place) == origin);
            same.next().or(if places.len() == 1 { places.first() } else { None })
        };
        found.or_else(|| beside().map(|place| Found { path: place.to_vec(), by_configuration: false }))
    }

    /// Finds the kept files that must work: roots, and what they cannot do without. A plugin of a package that is kept
    /// whole, or one that a program looks for by name, may lack a library: the program goes on without it.
    fn required(&self) -> BTreeSet<&[u8]> {
        let is_root = |reason: &Reason| {
            let whole = matches!(reason, Reason::WholePackage(_) | Reason::Image);
            !whole && !matches!(reason, Reason::Needed { .. } | Reason::Folder(_))
        };
        let kept = self.closure.kept.iter().map(|(path, kept)| (path, &kept.reason));
        let roots = kept.chain(self.strict.iter()).filter(|(_, reason)| is_root(reason));
        let mut left: Vec<&[u8]> = roots.map(|(path, _)| path.as_slice()).collect();
        let mut needs: HashMap<&[u8], Vec<&[u8]>> = HashMap::new();
        for (by, to) in &self.hard {
            needs.entry(by).or_default().push(to);
        }
        let mut required = BTreeSet::new();
        while let Some(path) = left.pop() {
            if required.insert(path) {
                left.extend(needs.get(path).into_iter().flatten());
            }
        }
        required
    }

    /// Holds the files that must work against their faults, and returns the closure.
    pub(super) fn finish(mut self) -> Result<Closure, ClosureError> {
        let unmet = std::mem::take(&mut self.missing);
        let required = self.required();
        let counts = |reason: &Reason| reason.by().is_none_or(|by| required.contains(by));
        for (path, reason) in self.strict.iter().filter(|(_, reason)| counts(reason)) {
            let is_command = !matches!(reason, Reason::Needed { edge: Edge::Library, .. });
            let id = resolve(self.request.tree, path).map(|found| found.id);
            let mode = id.map(|id| self.request.tree.get(id).mode).unwrap_or(0o111);
            let fault = self.faults.get(path).cloned();
            let fault =
                fault.or((is_command && mode & 0o111 == 0).then_some(ProgramFault::NotExecutable(mode)));
            if let Some(fault) = fault {
                let why = self.chain(path, reason.clone());
                return Err(ClosureError::NoProgram { path: path.clone(), fault, why });
            }
        }
        let first = |missing: &Missing| missing.why.reasons.first().cloned().unwrap_or(Reason::Declared);
        let (missing, lacking): (Vec<_>, Vec<_>) =
            unmet.into_iter().partition(|missing| counts(&first(missing)));
        if !missing.is_empty() {
            return Err(ClosureError::Missing(missing));
        }
        for missing in lacking {
            let by = first(&missing).by().unwrap_or_default().to_vec();
            self.closure.notes.push(Note::NotThere { wanted: shown(&missing.wanted), by });
        }
        Ok(self.closure)
    }

    /// Returns a reason with those of the file that it leads to.
    fn chain(&self, path: &[u8], reason: Reason) -> Why {
        let above = reason.by().and_then(|by| self.closure.why(by)).map_or_else(Vec::new, |why| why.reasons);
        Why { path: path.to_vec(), reasons: std::iter::once(reason).chain(above).collect() }
    }
}

/// Reads a content whole. Zeros are not read: they are no program, and may be told to be of any size.
pub(super) fn read_all(request: Request<'_>, content: &Content) -> io::Result<Vec<u8>> {
    read_start(request, content, u64::MAX)
}

fn read_start(request: Request<'_>, content: &Content, most: u64) -> io::Result<Vec<u8>> {
    match content {
        Content::Bytes(bytes) => {
            let end = bytes.len().min(usize::try_from(most).unwrap_or(usize::MAX));
            Ok(bytes[..end].to_vec())
        }
        Content::Zeros { .. } => Ok(Vec::new()),
        Content::Spooled { offset, len } => {
            let count = usize::try_from(most.min(*len)).map_err(|_| io::ErrorKind::OutOfMemory)?;
            let mut bytes = vec![0; count];
            request.contents.read_at(*offset, &mut bytes)?;
            Ok(bytes)
        }
    }
}

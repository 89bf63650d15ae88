//! The graph of the files of a crate, from the paths that their code names.
//!
//! A path is followed through the modules to the file that defines its name: a re-export counts as the
//! file that it leads to. A module's own `mod` and `pub use` lines are no arrows.

use std::collections::{BTreeMap, BTreeSet};

use super::source::Source;

/// Arrows of one crate: file to the files whose names it uses.
pub type Arrows = BTreeMap<String, BTreeSet<String>>;

/// The modules of one crate, by path: `store::list` is `store/list.rs`, the root is empty.
struct Modules<'a> {
    files: BTreeMap<Vec<String>, &'a Source>,
}

/// The module path of a file: `store/list.rs` and `store/list/mod.rs` are both `store::list`.
fn module_of(path: &str) -> Vec<String> {
    let parts = path.trim_end_matches(".rs").split('/').map(str::to_owned);
    let mut parts: Vec<String> = parts.collect();
    if matches!(parts.last().map(String::as_str), Some("mod" | "lib" | "main")) {
        parts.pop();
    }
    parts
}

/// Paths named in `use` trees, each written out: `a::{b, c::d as e}` is `a::b` and `a::c::d`.
fn written_out(tree: &str) -> Vec<String> {
    let tree = tree.trim();
    let Some(open) = tree.find('{') else {
        let name = tree.split(" as ").next().unwrap_or_default().trim();
        return vec![name.to_owned()];
    };
    let (front, inner) = (&tree[..open], tree[open + 1..].trim_end().trim_end_matches('}'));
    let (mut depth, mut item, mut items) = (0, String::new(), Vec::new());
    for char in inner.chars() {
        match char {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(std::mem::take(&mut item));
                continue;
            }
            _ => {}
        }
        item.push(char);
    }
    items.push(item);
    let whole = items.iter().filter(|item| !item.trim().is_empty());
    whole.flat_map(|item| written_out(&format!("{front}{}", item.trim()))).collect()
}

/// The `use` declarations of a file: whether it is a re-export, and each path.
fn uses(code: &str) -> Vec<(bool, String)> {
    let mut found = Vec::new();
    let joined = code.replace('\n', " ");
    for statement in joined.split(';') {
        let statement =
            statement.rsplit(['}', ']']).next().filter(|_| !statement.contains("use ")).unwrap_or(statement);
        let Some(at) = statement.find("use ") else { continue };
        let before = statement[..at].trim_end();
        let is_word = before.ends_with(|char: char| char.is_alphanumeric() || char == '_');
        let is_public =
            before.ends_with("pub") || before.ends_with("pub(crate)") || before.ends_with("pub(super)");
        if is_word && !is_public {
            continue;
        }
        found.extend(written_out(&statement[at + 4..]).into_iter().map(|path| (is_public, path)));
    }
    found
}

impl<'a> Modules<'a> {
    fn of(sources: &'a [Source]) -> Self {
        Self { files: sources.iter().map(|source| (module_of(&source.path), source)).collect() }
    }

    /// The absolute path of one that is named in module `at`; `None` if it leads out of the crate.
    fn absolute(&self, at: &[String], path: &str) -> Option<Vec<String>> {
        let mut parts = path.split("::").map(|part| part.trim().to_owned()).peekable();
        let mut whole = match parts.peek()?.as_str() {
            "crate" => Vec::new(),
            "self" => at.to_vec(),
            "super" => at.split_last()?.1.to_vec(),
            first => {
                let child: Vec<String> = at.iter().cloned().chain([first.to_owned()]).collect();
                let is_child = self.files.contains_key(&child);
                return is_child.then(|| at.iter().cloned().chain(parts).collect());
            }
        };
        parts.next();
        for part in parts {
            if part == "super" {
                whole.pop();
            } else {
                whole.push(part);
            }
        }
        Some(whole)
    }

    /// The file that defines the name at the end of an absolute path.
    fn defines(&self, path: &[String], depth: u32) -> Option<&'a Source> {
        let mut len = path.len();
        while len > 0 && !self.files.contains_key(&path[..len]) {
            len -= 1;
        }
        let module = &path[..len];
        let file = *self.files.get(module)?;
        let Some(name) = path.get(len).filter(|_| depth < 8) else { return Some(file) };
        for (is_public, named) in uses(&file.code) {
            let Some(target) = self.absolute(module, &named).filter(|_| is_public) else { continue };
            if target.last() == Some(name) && target != path {
                return self.defines(&target, depth + 1);
            }
        }
        Some(file)
    }
}

/// Paths in code that are not in a `use`: `super::names::object(…)`.
fn inline_paths(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for start in ["crate::", "super::", "self::"] {
        for (at, _) in code.match_indices(start) {
            let before = code[..at].chars().next_back();
            if before.is_some_and(|char| char.is_alphanumeric() || char == '_' || char == ':') {
                continue;
            }
            let is_path = |char: char| char.is_alphanumeric() || char == '_' || char == ':';
            let path: String = code[at..].chars().take_while(|&char| is_path(char)).collect();
            // A tree of names is a `use`, which is read as one.
            if path.len() > start.len() {
                found.push(path);
            }
        }
    }
    found
}

/// The arrows of a crate.
pub fn arrows(sources: &[Source]) -> Arrows {
    let modules = Modules::of(sources);
    let mut arrows = Arrows::new();
    for (module, source) in &modules.files {
        let named = uses(&source.code).into_iter().filter(|(is_public, _)| !is_public).map(|(_, path)| path);
        let to = arrows.entry(source.path.clone()).or_default();
        for path in named.chain(inline_paths(&source.code)) {
            let target = modules.absolute(module, &path).and_then(|path| modules.defines(&path, 0));
            if let Some(target) = target.filter(|target| target.path != source.path) {
                to.insert(target.path.clone());
            }
        }
    }
    arrows
}

/// Circles: sets of more than one file that reach each other.
pub fn circles(arrows: &Arrows) -> Vec<BTreeSet<String>> {
    let reached = |from: &String| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![from.clone()]);
        while let Some(file) = next.pop() {
            for to in arrows.get(&file).into_iter().flatten() {
                if seen.insert(to.clone()) {
                    next.push(to.clone());
                }
            }
        }
        seen
    };
    let all: BTreeMap<&String, BTreeSet<String>> = arrows.keys().map(|file| (file, reached(file))).collect();
    let mut found = BTreeSet::new();
    for (file, reaches) in &all {
        let circle: BTreeSet<String> = reaches
            .iter()
            .filter(|other| all.get(other).is_some_and(|back| back.contains(*file)))
            .cloned()
            .collect();
        if circle.len() > 1 {
            found.insert(circle);
        }
    }
    found.into_iter().collect()
}

//! Names that no archive has, and the names that are near them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use super::error::{AptError, Unknown};
use super::list_file::each;
use super::targets::Target;
use crate::lock::PackageName;

/// Most names that are proposed.
const MOST: usize = 3;

/// Similarity of Jaro and Winkler from which on a name is proposed: 0 is none, 1 is the same name.
const LEAST_SIMILARITY: f64 = 0.85;

/// Returns the names that no list has.
pub(super) fn find(lists: &[Target], names: &[PackageName]) -> Result<Vec<Unknown>, AptError> {
    let mut known = BTreeSet::new();
    let mut providers: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for list in lists {
        each(&list.file, |stanza| {
            if let Some(package) = stanza.field("Package") {
                for provided in provides(stanza.field("Provides").unwrap_or_default()) {
                    if let Some(name) = names.iter().find(|name| name.as_str() == provided) {
                        providers.entry(name.as_str()).or_default().insert(package.to_owned());
                    }
                }
                known.insert(package.to_owned());
            }
            ControlFlow::Continue(())
        })?;
    }
    let unknown = names.iter().filter(|name| !known.contains(name.as_str()));
    Ok(unknown
        .map(|name| Unknown {
            name: name.to_string(),
            nearest: nearest(&known, name.as_str()),
            providers: providers.remove(name.as_str()).unwrap_or_default().into_iter().collect(),
        })
        .collect())
}

/// Returns the names of a field `Provides`: `a, b (= 1), c:any`.
fn provides(field: &str) -> impl Iterator<Item = &str> {
    field
        .split(',')
        .filter_map(|entry| entry.trim().split([' ', '(', ':']).next())
        .filter(|name| !name.is_empty())
}

fn nearest(known: &BTreeSet<String>, name: &str) -> Vec<String> {
    let similarities = known.iter().map(|other| (strsim::jaro_winkler(name, other), other));
    let mut near: Vec<(f64, &String)> =
        similarities.filter(|(similarity, _)| *similarity >= LEAST_SIMILARITY).collect();
    near.sort_by(|left, right| right.0.total_cmp(&left.0).then_with(|| left.1.cmp(right.1)));
    near.into_iter().take(MOST).map(|(_, name)| name.clone()).collect()
}

//! Rules about needs that no file states, as data.
//!
//! Each rule stands in a file of `rules/`, with the fact that made it necessary. `when` are patterns of kept files,
//! `keep` patterns of the files that they need then, `except` leaves some of these out. `fetch` names packages that
//! are resolved beside those of the declaration, if one of them fits `beside`.

use std::sync::LazyLock;

use globset::{Glob, GlobBuilder, GlobSet, GlobSetBuilder};
use serde::Deserialize;

/// Texts of the rules, in the order in which they are tried.
const FILES: [&str; 11] = [
    include_str!("../../rules/glibc.toml"),
    include_str!("../../rules/openssl.toml"),
    include_str!("../../rules/certificates.toml"),
    include_str!("../../rules/tzdata.toml"),
    include_str!("../../rules/ncurses.toml"),
    include_str!("../../rules/pam.toml"),
    include_str!("../../rules/postgresql.toml"),
    include_str!("../../rules/python.toml"),
    include_str!("../../rules/perl.toml"),
    include_str!("../../rules/node.toml"),
    include_str!("../../rules/openjdk.toml"),
];
/// Text of the policy for packages.
const POLICY: &str = include_str!("../../rules/packages.toml");

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    rule: Vec<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    name: String,
    fact: String,
    #[serde(default)]
    when: Vec<String>,
    #[serde(default)]
    keep: Vec<String>,
    #[serde(default)]
    except: Vec<String>,
    #[serde(default)]
    required: bool,
    #[serde(default)]
    fetch: Vec<String>,
    #[serde(default)]
    beside: Vec<String>,
}

/// A rule about needs that no file states.
#[derive(Debug, Clone)]
pub struct Rule {
    name: String,
    fact: String,
    when: GlobSet,
    keep: GlobSet,
    except: GlobSet,
    /// A path that stands for the kept ones in an error.
    wanted: String,
    required: bool,
    fetch: Vec<String>,
    beside: GlobSet,
}

impl Rule {
    /// Returns its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the fact that made it necessary.
    #[must_use]
    pub fn fact(&self) -> &str {
        &self.fact
    }

    /// Whether a kept path makes it apply.
    pub(super) fn applies(&self, path: &str) -> bool {
        self.when.is_match(path)
    }

    /// Whether it keeps a path.
    pub(super) fn keeps(&self, path: &str) -> bool {
        self.keep.is_match(path) && !self.except.is_match(path)
    }

    /// Whether it is an error that nothing is there to keep.
    pub(super) fn is_required(&self) -> bool {
        self.required
    }

    /// Returns the first of the patterns that it keeps.
    pub(super) fn wanted(&self) -> &str {
        &self.wanted
    }
}

/// All rules.
#[derive(Debug, Clone)]
pub struct Rules {
    rules: Vec<Rule>,
    unwanted: GlobSet,
    programs: GlobSet,
}

/// The rules of this program, read once.
static BUILT_IN: LazyLock<Rules> = LazyLock::new(|| {
    Rules::read(&FILES, POLICY).expect("a test reads the rules that are part of the program")
});

impl Rules {
    /// Returns the rules that are part of the program.
    #[must_use]
    pub fn built_in() -> &'static Self {
        &BUILT_IN
    }

    /// Returns these rules without the one called `name`: for tests of the need for it.
    #[must_use]
    pub fn without(&self, name: &str) -> Self {
        let mut rules = self.clone();
        rules.rules.retain(|rule| rule.name != name);
        rules
    }

    /// Returns the rules.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Returns the packages to be resolved beside `packages`, in byte order.
    #[must_use]
    pub fn companions(&self, packages: &[&str]) -> Vec<&str> {
        let applies = |rule: &&Rule| packages.iter().any(|package| rule.beside.is_match(package));
        let fetched =
            self.rules.iter().filter(applies).flat_map(|rule| rule.fetch.iter().map(String::as_str));
        let mut names: Vec<&str> = fetched.filter(|name| !packages.contains(name)).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Whether a path of a named package has no use in an appliance: documentation, units and the like.
    pub(super) fn is_unwanted(&self, path: &str) -> bool {
        self.unwanted.is_match(path)
    }

    /// Whether a path is a program in one of the folders of `PATH`.
    pub(super) fn is_program(&self, path: &str) -> bool {
        self.programs.is_match(path)
    }

    fn read(files: &[&str], policy: &str) -> Result<Self, Box<dyn std::error::Error>> {
        let mut rules = Vec::new();
        for text in files {
            for rule in toml::from_str::<File>(text)?.rule {
                rules.push(Rule {
                    when: set(&rule.when)?,
                    keep: set(&rule.keep)?,
                    except: set(&rule.except)?,
                    beside: set(&rule.beside)?,
                    wanted: rule.keep.first().cloned().unwrap_or_default(),
                    name: rule.name,
                    fact: rule.fact,
                    required: rule.required,
                    fetch: rule.fetch,
                });
            }
        }
        let policy: Policy = toml::from_str(policy)?;
        let unwanted: Vec<String> = policy.unwanted.into_iter().flat_map(|entry| entry.paths).collect();
        Ok(Self { rules, unwanted: set(&unwanted)?, programs: set(&policy.programs.paths)? })
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Policy {
    unwanted: Vec<PolicyEntry>,
    programs: PolicyEntry,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyEntry {
    #[allow(dead_code, reason = "the fact is for those who read the file")]
    fact: String,
    paths: Vec<String>,
}

fn set(patterns: &[String]) -> Result<GlobSet, globset::Error> {
    let mut builder = GlobSetBuilder::new();
    for pattern in patterns {
        let glob: Glob = GlobBuilder::new(pattern).literal_separator(true).build()?;
        builder.add(glob);
    }
    builder.build()
}

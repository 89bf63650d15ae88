//! A vector, and the index of all vectors.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Debug, Write};
use std::str::FromStr;

use melv::digest::{BlockDigest, ChunkId, ContentId, Digest, ImageId, ListId, PackId};

/// A number or a text in the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Number(u64),
    Text(String),
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

macro_rules! from_ids {
    ($($id:ty)*) => {$(
        impl From<$id> for Value {
            fn from(id: $id) -> Self {
                Self::Text(id.to_string())
            }
        }
    )*};
}

from_ids! { Digest BlockDigest ChunkId ContentId ImageId ListId PackId }

/// Names and their values.
pub type Values = Vec<(&'static str, Value)>;

/// The expected result of reading a vector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// Accepted, with at least these values.
    Ok(Values),
    /// Refused for this rule.
    Rule(&'static str),
}

/// The bytes of a vector.
#[derive(Debug, Clone)]
pub enum Content {
    File(Vec<u8>),
    /// A store: its files lie over those of the store named by the context, if any.
    Folder(BTreeMap<String, Vec<u8>>),
}

/// One vector.
#[derive(Debug, Clone)]
pub struct Vector {
    pub file: String,
    pub kind: &'static str,
    pub section: &'static str,
    pub note: &'static str,
    pub context: Values,
    pub expect: Expect,
    pub content: Content,
}

impl Vector {
    /// Makes `folder/name.kind`, expected to be sound.
    fn of(
        folder: &str,
        name: &str,
        kind: &'static str,
        section: &'static str,
        note: &'static str,
        bytes: Vec<u8>,
    ) -> Self {
        Self {
            file: format!("{folder}/{name}.{kind}"),
            kind,
            section,
            note,
            context: Vec::new(),
            expect: Expect::Ok(Vec::new()),
            content: Content::File(bytes),
        }
    }

    /// Makes a vector that a reader accepts.
    pub fn valid(
        name: &str,
        kind: &'static str,
        section: &'static str,
        note: &'static str,
        bytes: Vec<u8>,
    ) -> Self {
        Self::of("valid", name, kind, section, note, bytes)
    }

    /// Makes a vector that a reader refuses; `name` is the rule, optionally with two dashes and a
    /// distinguishing suffix.
    pub fn invalid(
        name: &'static str,
        kind: &'static str,
        section: &'static str,
        note: &'static str,
        bytes: Vec<u8>,
    ) -> Self {
        let rule = name.split_once("--").map_or(name, |(rule, _)| rule);
        Self::of("invalid", name, kind, section, note, bytes).refused(rule)
    }

    /// Makes a vector that a later version may write.
    pub fn future(
        name: &str,
        kind: &'static str,
        section: &'static str,
        note: &'static str,
        bytes: Vec<u8>,
    ) -> Self {
        Self::of("future", name, kind, section, note, bytes)
    }

    pub fn refused(self, rule: &'static str) -> Self {
        Self { expect: Expect::Rule(rule), ..self }
    }

    /// Adds context that a reader needs before it can read the bytes.
    pub fn with(mut self, key: &'static str, value: impl Into<Value>) -> Self {
        self.context.push((key, value.into()));
        self
    }

    /// Adds a value that a reader must find.
    pub fn gives(mut self, key: &'static str, value: impl Into<Value>) -> Self {
        if let Expect::Ok(values) = &mut self.expect {
            values.push((key, value.into()));
        }
        self
    }

    pub fn context(&self, key: &str) -> Option<&Value> {
        self.context.iter().find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    pub fn number(&self, key: &str) -> u64 {
        match self.context(key) {
            Some(Value::Number(number)) => *number,
            other => panic!("{}: {key} is {other:?}", self.file),
        }
    }

    pub fn text(&self, key: &str) -> &str {
        match self.context(key) {
            Some(Value::Text(text)) => text,
            other => panic!("{}: {key} is {other:?}", self.file),
        }
    }

    pub fn id<I: FromStr<Err: Debug>>(&self, key: &str) -> I {
        self.text(key).parse().unwrap()
    }
}

/// Returns the names of all vectors.
pub fn names(vectors: &[Vector]) -> BTreeSet<&str> {
    vectors.iter().map(|vector| vector.file.as_str()).collect()
}

/// Returns all files: the vectors and their index.
pub fn files(vectors: &[Vector]) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::from([("index.toml".into(), index(vectors).into_bytes())]);
    for vector in vectors {
        match &vector.content {
            Content::File(bytes) => drop(files.insert(vector.file.clone(), bytes.clone())),
            Content::Folder(folder) => {
                let file =
                    |(name, bytes): (&String, &Vec<u8>)| (format!("{}/{name}", vector.file), bytes.clone());
                files.extend(folder.iter().map(file));
            }
        }
    }
    files
}

fn index(vectors: &[Vector]) -> String {
    let mut text = String::from("# Made by melv/tests/vectors.rs; README.md explains.\n");
    for vector in vectors {
        let Vector { file, kind, section, note, context, expect, .. } = vector;
        let (expected, rule, values) = match expect {
            Expect::Ok(values) => ("ok", None, values.as_slice()),
            Expect::Rule(rule) => ("refuse", Some(*rule), [].as_slice()),
        };
        let fields = [("file", file.as_str()), ("kind", kind), ("section", section), ("note", note)];
        let fields = fields.into_iter().chain([("expect", expected)]).chain(rule.map(|rule| ("rule", rule)));
        text.push_str("\n[[vector]]\n");
        for (key, value) in fields {
            writeln!(text, "{key} = {value:?}").unwrap();
        }
        for (key, values) in [("context", context.as_slice()), ("values", values)] {
            if !values.is_empty() {
                writeln!(text, "{key} = {{ {} }}", inline(values)).unwrap();
            }
        }
    }
    text
}

fn inline(values: &[(&'static str, Value)]) -> String {
    let one = |(key, value): &(&str, Value)| match value {
        Value::Number(number) => format!("{key} = {number}"),
        Value::Text(text) => format!("{key} = {text:?}"),
    };
    values.iter().map(one).collect::<Vec<_>>().join(", ")
}

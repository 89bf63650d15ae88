//! Values of a TOML file with their places, and tables whose keys are all known.

use toml::de::{DeTable, DeValue};

use super::fault::{Fault, Rule, Spot, nearest, quoted};

/// Entries of one list or table at most. An appliance has tens.
const MAX_ENTRIES: usize = 4096;

/// A value and its place.
#[derive(Debug, Clone)]
pub(super) struct Value<'t> {
    pub(super) spot: Spot,
    inner: &'t DeValue<'t>,
}

/// A table whose keys were compared with the known ones.
#[derive(Debug)]
pub(super) struct Section<'t> {
    pub(super) spot: Spot,
    entries: &'t DeTable<'t>,
}

impl<'t> Section<'t> {
    /// Takes the whole file as a table.
    pub(super) fn document(entries: &'t DeTable<'t>, known: &'static [&'static str]) -> Result<Self, Fault> {
        Self::open(Spot { offset: 0, key: String::new() }, entries, known)
    }

    fn open(spot: Spot, entries: &'t DeTable<'t>, known: &'static [&'static str]) -> Result<Self, Fault> {
        // The first in the file, not in the alphabet: it is the one that the reader looks for.
        let unknown = entries
            .keys()
            .filter(|key| !known.contains(&key.get_ref().as_ref()))
            .min_by_key(|key| key.span().start);
        if let Some(key) = unknown {
            let name = key.get_ref().as_ref();
            let spot = Spot { offset: key.span().start, key: join(&spot.key, name) };
            return Err(spot.fault(Rule::UnknownKey { nearest: nearest(name, known.iter().copied()) }));
        }
        Ok(Self { spot, entries })
    }

    /// Returns the value of a key.
    pub(super) fn get(&self, key: &'static str) -> Option<Value<'t>> {
        let value = self.entries.get(key)?;
        let spot = Spot { offset: value.span().start, key: join(&self.spot.key, key) };
        Some(Value { spot, inner: value.get_ref() })
    }

    /// Returns the value of a key that must be there.
    pub(super) fn require(&self, key: &'static str) -> Result<Value<'t>, Fault> {
        self.get(key).ok_or_else(|| self.spot.fault(Rule::Missing(key)))
    }

    /// Reads the value of a key with `read`, if the key is there.
    pub(super) fn optional<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&Value<'t>) -> Result<T, Fault>,
    ) -> Result<Option<T>, Fault> {
        self.get(key).map(|value| read(&value)).transpose()
    }

    /// Reads a truth value, with its default.
    pub(super) fn boolean(&self, key: &'static str, default: bool) -> Result<bool, Fault> {
        Ok(self.optional(key, Value::boolean)?.unwrap_or(default))
    }

    /// Returns the tables of `[[key]]`, each with known keys.
    pub(super) fn tables(
        &self,
        key: &'static str,
        known: &'static [&'static str],
    ) -> Result<Vec<Section<'t>>, Fault> {
        match self.get(key) {
            None => Ok(Vec::new()),
            Some(value) => value.list()?.iter().map(|entry| entry.table(known)).collect(),
        }
    }

    /// Refuses a key that has a meaning only with something else.
    pub(super) fn only_with(&self, key: &'static str, with: &'static str) -> Result<(), Fault> {
        match self.get(key) {
            Some(value) => Err(value.spot.fault(Rule::OnlyWith { key, with })),
            None => Ok(()),
        }
    }

    /// Refuses `other` beside `key`.
    pub(super) fn exclusive(&self, key: &'static str, other: &'static str) -> Result<(), Fault> {
        match (self.get(key), self.get(other)) {
            (Some(_), Some(second)) => Err(second.spot.fault(Rule::Exclusive { key, other })),
            _ => Ok(()),
        }
    }
}

impl<'t> Value<'t> {
    /// Makes a fault at this value.
    pub(super) fn fault(&self, rule: Rule) -> Fault {
        self.spot.fault(rule)
    }

    fn wrong_type(&self, expected: &'static str) -> Fault {
        self.fault(Rule::Type { expected, found: type_name(self.inner) })
    }

    /// Returns a string.
    pub(super) fn text(&self) -> Result<&'t str, Fault> {
        match self.inner {
            DeValue::String(text) => Ok(text),
            _ => Err(self.wrong_type("a string")),
        }
    }

    /// Reads a string with `read`, which says the broken rule.
    pub(super) fn parse<T>(&self, read: impl FnOnce(&str) -> Result<T, Rule>) -> Result<T, Fault> {
        read(self.text()?).map_err(|rule| self.fault(rule))
    }

    /// Returns a truth value.
    pub(super) fn boolean(&self) -> Result<bool, Fault> {
        match self.inner {
            DeValue::Boolean(value) => Ok(*value),
            _ => Err(self.wrong_type("true or false")),
        }
    }

    /// Returns an integer from `least` to `most`; `expected` names that range.
    pub(super) fn integer(&self, least: u64, most: u64, expected: &'static str) -> Result<u64, Fault> {
        let DeValue::Integer(integer) = self.inner else {
            return Err(self.wrong_type("an integer"));
        };
        u64::from_str_radix(integer.as_str(), integer.radix())
            .ok()
            .filter(|value| (least..=most).contains(value))
            .ok_or_else(|| self.fault(Rule::Value { expected, found: quoted(&integer.to_string()) }))
    }

    /// Returns an integer written in octal (`0o755`), if it is one.
    pub(super) fn octal(&self) -> Option<&'t str> {
        match self.inner {
            DeValue::Integer(integer) if integer.radix() == 8 => Some(integer.as_str()),
            _ => None,
        }
    }

    /// Returns the digits of an integer in decimal, or a string, as one text.
    pub(super) fn text_or_integer(&self) -> Result<&'t str, Fault> {
        match self.inner {
            DeValue::String(text) => Ok(text),
            DeValue::Integer(integer) if integer.radix() == 10 => Ok(integer.as_str()),
            _ => Err(self.wrong_type("a string or an integer")),
        }
    }

    /// Whether this is a string.
    pub(super) fn is_text(&self) -> bool {
        matches!(self.inner, DeValue::String(_))
    }

    /// Returns the entries of a list.
    pub(super) fn list(&self) -> Result<Vec<Value<'t>>, Fault> {
        let DeValue::Array(entries) = self.inner else {
            return Err(self.wrong_type("a list"));
        };
        self.at_most(entries.len())?;
        let entry = |(index, value): (usize, &'t toml::Spanned<DeValue<'t>>)| Value {
            spot: Spot { offset: value.span().start, key: format!("{}[{index}]", self.spot.key) },
            inner: value.get_ref(),
        };
        Ok(entries.iter().enumerate().map(entry).collect())
    }

    /// Reads each entry of a list with `read`.
    pub(super) fn each<T>(&self, read: impl FnMut(&Value<'t>) -> Result<T, Fault>) -> Result<Vec<T>, Fault> {
        self.list()?.iter().map(read).collect()
    }

    /// Returns a table with known keys.
    pub(super) fn table(&self, known: &'static [&'static str]) -> Result<Section<'t>, Fault> {
        match self.inner {
            DeValue::Table(entries) => Section::open(self.spot.clone(), entries, known),
            _ => Err(self.wrong_type("a table")),
        }
    }

    /// Returns the keys and values of a table whose keys are free, in the order of the file.
    pub(super) fn pairs(&self) -> Result<Vec<(Spot, &'t str, Value<'t>)>, Fault> {
        let DeValue::Table(entries) = self.inner else {
            return Err(self.wrong_type("a table"));
        };
        self.at_most(entries.len())?;
        let mut pairs: Vec<_> = entries
            .iter()
            .map(|(key, value)| {
                let name: &str = key.get_ref();
                let path = join(&self.spot.key, name);
                let at_key = Spot { offset: key.span().start, key: path.clone() };
                let spot = Spot { offset: value.span().start, key: path };
                (at_key, name, Value { spot, inner: value.get_ref() })
            })
            .collect();
        pairs.sort_by_key(|(spot, _, _)| spot.offset);
        Ok(pairs)
    }

    fn at_most(&self, found: usize) -> Result<(), Fault> {
        if found > MAX_ENTRIES {
            Err(self.fault(Rule::TooMany { found, limit: MAX_ENTRIES }))
        } else {
            Ok(())
        }
    }
}

fn join(table: &str, key: &str) -> String {
    let plain =
        !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    let key = if plain { key.to_owned() } else { quoted(key) };
    if table.is_empty() { key } else { format!("{table}.{key}") }
}

fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a number with a point",
        DeValue::Boolean(_) => "a truth value",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

//! Linux's Kconfig files, as far as errors and choices need them, pure.
//!
//! Language: `Documentation/kbuild/kconfig-language.rst` of Linux. Only `config`, `choice`, `if` and `depends on`
//! count, line by line. An expression is a bag of names here: those that are not negated. So the answer to "what does
//! it need" may be incomplete, and is used in errors alone.

use std::collections::BTreeMap;

use super::setting::is_symbol_byte;

/// Names of one symbol's needs that are kept.
const MAX_NEEDS: usize = 64;

/// The symbols of a source.
#[derive(Debug, Default)]
pub(super) struct Kconfig {
    symbols: BTreeMap<String, Symbol>,
    choices: Vec<Vec<String>>,
}

#[derive(Debug, Default)]
struct Symbol {
    needs: Vec<String>,
    choice: Option<usize>,
}

impl Kconfig {
    /// Adds a file.
    pub(super) fn add(&mut self, text: &str) {
        // An open `if` or menu has the names that all within need.
        let mut open: Vec<Vec<String>> = Vec::new();
        let (mut current, mut choice): (Option<String>, Option<usize>) = (None, None);
        let mut in_menu_head = false;
        for line in text.lines() {
            let line = line.trim();
            let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            match word {
                "config" | "menuconfig" => {
                    let name = rest.trim().to_owned();
                    in_menu_head = false;
                    self.declare(&name, open.iter().flatten(), choice);
                    current = Some(name);
                }
                "choice" => {
                    current = None;
                    choice = Some(self.choices.len());
                    self.choices.push(Vec::new());
                }
                "endchoice" => (current, choice) = (None, None),
                "menu" => {
                    open.push(Vec::new());
                    (current, in_menu_head) = (None, true);
                }
                // Within a symbol, `if` stands behind a value, never at the start of a line.
                "if" => {
                    open.push(names(rest));
                    (current, in_menu_head) = (None, false);
                }
                "endif" | "endmenu" => {
                    open.pop();
                    (current, in_menu_head) = (None, false);
                }
                "depends" => {
                    let needs = names(rest.trim_start().strip_prefix("on").unwrap_or(rest));
                    match (&current, open.last_mut()) {
                        (Some(name), _) => self.need(name, &needs),
                        (None, Some(menu)) if in_menu_head => menu.extend(needs),
                        _ => {}
                    }
                }
                _ => {}
            }
        }
    }

    fn declare<'n>(&mut self, name: &str, needs: impl Iterator<Item = &'n String>, choice: Option<usize>) {
        let needs: Vec<String> = needs.cloned().collect();
        self.need(name, &needs);
        if let (Some(choice), Some(symbol)) = (choice, self.symbols.get_mut(name)) {
            symbol.choice = Some(choice);
            if let Some(members) = self.choices.get_mut(choice) {
                members.push(name.to_owned());
            }
        }
    }

    fn need(&mut self, name: &str, needs: &[String]) {
        let symbol = self.symbols.entry(name.to_owned()).or_default();
        for need in needs {
            if symbol.needs.len() < MAX_NEEDS && need != name && !symbol.needs.contains(need) {
                symbol.needs.push(need.clone());
            }
        }
    }

    /// Tells whether a symbol of this name is declared.
    pub(super) fn knows(&self, name: &str) -> bool {
        self.symbols.contains_key(name)
    }

    /// Returns the other symbols of the choice that `name` belongs to.
    pub(super) fn rivals<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let choice = self.symbols.get(name).and_then(|symbol| symbol.choice);
        let members = choice.and_then(|choice| self.choices.get(choice));
        members.into_iter().flatten().map(String::as_str).filter(move |member| *member != name)
    }

    /// Returns the names that a symbol needs and that are not on, without those that no file declares.
    pub(super) fn lacking(&self, name: &str, is_on: impl Fn(&str) -> bool) -> Vec<String> {
        let needs = self.symbols.get(name).map(|symbol| symbol.needs.as_slice()).unwrap_or_default();
        needs.iter().filter(|need| self.knows(need) && !is_on(need)).cloned().collect()
    }
}

/// Returns the names of an expression that are not negated nor compared.
fn names(expression: &str) -> Vec<String> {
    let expression = expression.split('#').next().unwrap_or_default();
    let mut names = Vec::new();
    let mut rest = expression;
    while let Some(start) = rest.find(|letter: char| letter.is_ascii_uppercase()) {
        let end = rest[start..].find(|c: char| !c.is_ascii() || !is_symbol_byte(c as u8));
        let end = end.map_or(rest.len(), |end| start + end);
        let (before, name, after) = (rest[..start].trim_end(), &rest[start..end], rest[end..].trim_start());
        let is_compared = after.starts_with(['=', '!', '<', '>']) || before.ends_with(['=', '<', '>']);
        if !before.ends_with('!') && !is_compared && !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
        rest = &rest[end..];
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_negated_or_compared_do_not_count() {
        assert_eq!(names("BLOCK && !BROKEN || (NET && X86_64)"), ["BLOCK", "NET", "X86_64"]);
        assert_eq!(names("HZ=100 && A != n && B # C"), ["B"]);
        assert!(names("").is_empty() && names("y").is_empty() && names("größe").is_empty());
    }

    #[test]
    fn ifs_and_menus_count_for_all_within() {
        let mut kconfig = Kconfig::default();
        kconfig.add("menu \"Net\"\n\tdepends on NET\nif A\nconfig B\n\tbool\n\tdepends on C\nendif\nconfig D\nendmenu\nconfig E\nconfig NET\nconfig A\nconfig C\n");
        let lacking = |name| kconfig.lacking(name, |_| false).join(" ");
        assert_eq!(
            (lacking("B"), lacking("D"), lacking("E")),
            ("NET A C".into(), "NET".into(), String::new())
        );
        assert_eq!(kconfig.lacking("B", |name| name != "A"), ["A"]);
    }

    #[test]
    fn a_choice_makes_rivals() {
        let mut kconfig = Kconfig::default();
        kconfig.add("choice\nconfig A\nconfig B\n\tdepends on X\nendchoice\nconfig C\n");
        assert_eq!(kconfig.rivals("A").collect::<Vec<_>>(), ["B"]);
        assert_eq!(kconfig.rivals("C").count() + kconfig.rivals("none").count(), 0);
    }

    #[test]
    fn any_bytes_are_read() {
        let words = [
            "if",
            "endif",
            "menu",
            "endmenu",
            "choice",
            "endchoice",
            "config A",
            "depends on !!(",
            "\u{e9}",
            "config",
        ];
        let mut state = 7_u64;
        for _ in 0..2000 {
            let mut text = String::new();
            for _ in 0..20 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                text.push_str(words[(state >> 33) as usize % words.len()]);
                text.push(if state >> 63 == 0 { '\n' } else { ' ' });
            }
            let mut kconfig = Kconfig::default();
            kconfig.add(&text);
            let _ = kconfig.lacking("A", |_| false);
        }
    }
}

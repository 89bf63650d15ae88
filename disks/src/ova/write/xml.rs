//! Writes XML 1.0: elements, attributes, text, and nothing else.
//!
//! A descriptor needs four operations, and its bytes are golden, so a crate would be longer than these lines and
//! would decide about blanks. Every text passes through [`escape`]; tags and the names of attributes are literals.

/// A document under construction, with two blanks of indentation for each open element.
#[derive(Debug)]
pub(super) struct Document {
    text: String,
    open: Vec<&'static str>,
}

/// An attribute: its name, and its value before escaping.
pub(super) type Attribute<'a> = (&'static str, &'a str);

impl Document {
    pub(super) fn new() -> Self {
        Self { text: String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"), open: Vec::new() }
    }

    /// Writes an element whose content `fill` writes.
    pub(super) fn element(
        &mut self,
        tag: &'static str,
        attributes: &[Attribute<'_>],
        fill: impl FnOnce(&mut Self),
    ) {
        self.begin(tag, attributes);
        self.text.push_str(">\n");
        self.open.push(tag);
        fill(self);
        self.open.pop();
        self.indent();
        self.end(tag);
    }

    /// Writes an element without content.
    pub(super) fn empty(&mut self, tag: &'static str, attributes: &[Attribute<'_>]) {
        self.begin(tag, attributes);
        self.text.push_str("/>\n");
    }

    /// Writes an element that holds a text.
    pub(super) fn text(&mut self, tag: &'static str, content: &str) {
        self.begin(tag, &[]);
        self.text.push('>');
        escape(content, &mut self.text);
        self.end(tag);
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.text.into_bytes()
    }

    fn begin(&mut self, tag: &str, attributes: &[Attribute<'_>]) {
        self.indent();
        self.text.push('<');
        self.text.push_str(tag);
        for (name, value) in attributes {
            self.text.push(' ');
            self.text.push_str(name);
            self.text.push_str("=\"");
            escape(value, &mut self.text);
            self.text.push('"');
        }
    }

    fn end(&mut self, tag: &str) {
        self.text.push_str("</");
        self.text.push_str(tag);
        self.text.push_str(">\n");
    }

    fn indent(&mut self) {
        for _ in &self.open {
            self.text.push_str("  ");
        }
    }
}

/// Appends a text so that it reads back unchanged, in content and in attributes. Readers turn bare line breaks and
/// tabs of attributes into blanks (XML 1.0, section 3.3.3), so these are written as numbers.
fn escape(text: &str, out: &mut String) {
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\n' => out.push_str("&#10;"),
            '\r' => out.push_str("&#13;"),
            '\t' => out.push_str("&#9;"),
            _ => out.push(char),
        }
    }
}

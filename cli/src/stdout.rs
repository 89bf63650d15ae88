//! Standard output: text for people, or JSON for programs.

use std::io::{self, BufWriter, Stdout, Write};

use melv::Error;
use serde_json::Value;

use crate::globals::Globals;
use crate::{table, width};

/// Standard output. Once its reader is gone, output is dropped: a reader such as `head` has had enough, which
/// is not a failure.
#[derive(Debug)]
pub struct Out {
    inner: BufWriter<Stdout>,
    json: bool,
    quiet: bool,
    gone: bool,
}

/// The name of standard output in messages.
pub const NAME: &str = "standard output";

impl Out {
    /// Opens standard output in the form that the options ask for.
    pub fn new(globals: &Globals) -> Self {
        let inner = BufWriter::with_capacity(64 << 10, io::stdout());
        Self { inner, json: globals.json, quiet: globals.quiet, gone: false }
    }

    /// Whether the output is JSON.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Whether the reader is gone.
    pub fn is_gone(&self) -> bool {
        self.gone
    }

    /// Prints the result of a command: one JSON object, or its text.
    pub fn data(&mut self, json: &Value, text: &str) -> melv::Result<()> {
        self.data_bytes(json, text.as_bytes())
    }

    /// As [`Out::data`], for text with file names, which need not be UTF-8.
    pub fn data_bytes(&mut self, json: &Value, text: &[u8]) -> melv::Result<()> {
        if self.json { writeln!(self, "{json}") } else { self.write_all(text) }
            .and_then(|()| self.flush())
            .map_err(write_failed)
    }

    /// As [`Out::data`], for a report on the work done instead of requested data: `-q` drops the text.
    pub fn summary(&mut self, json: &Value, text: &str) -> melv::Result<()> {
        self.data(json, if self.quiet { "" } else { text })
    }

    fn forgive(&mut self, result: io::Result<()>) -> io::Result<()> {
        match result {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.gone = true;
                Ok(())
            }
            other => other,
        }
    }
}

impl Write for Out {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if !self.gone {
            let written = self.inner.write_all(buf);
            self.forgive(written)?;
        }
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.gone {
            return Ok(());
        }
        let flushed = self.inner.flush();
        self.forgive(flushed)
    }
}

/// Returns the error of a failed write to standard output.
pub fn write_failed(error: io::Error) -> Error {
    Error::io("write", NAME, error)
}

/// Formats rows as a table, with two spaces between columns, to fit standard output. The columns listed in
/// `right` are aligned to the right.
pub fn table(rows: &[Vec<String>], right: &[usize]) -> String {
    table::table(rows, right, width::of_stdout())
}

/// Formats labels and values as lines that fit standard output.
pub fn facts(lines: &[(&str, String)]) -> String {
    width::facts(lines, width::of_stdout())
}

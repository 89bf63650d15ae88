//! A lock to its text. Pure.

use super::value::{Archive, Lock, Package, Repository};
use super::{LOCK_VERSION, Version};

/// The first line, for people that meet the file.
const HEADING: &str =
    "# The files that an appliance is built from. Written by melv; commit it beside the declaration.\n";

impl Lock {
    /// Returns the one text of this lock: equal locks have equal texts, whatever the order of their entries.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut lock = self.clone();
        lock.sort();
        let mut text = Text(HEADING.to_owned());
        lock.write_head(&mut text);
        lock.request.repositories.iter().for_each(|repository| write_repository(&mut text, repository));
        lock.archives.iter().for_each(|archive| write_archive(&mut text, archive));
        lock.packages.iter().for_each(|package| write_package(&mut text, "package", package));
        lock.boot.iter().for_each(|package| write_package(&mut text, "boot", package));
        if let Some(kernel) = &lock.kernel {
            text.0.push_str("\n[kernel]\n");
            text.string("kind", kernel.kind.name());
            text.string("sha256", &kernel.sha256.to_string());
            kernel.packages.iter().for_each(|package| write_package(&mut text, "kernel.package", package));
        }
        for file in &lock.files {
            text.table("file");
            text.string("path", file.path.as_str());
            text.plain("size", &file.size.to_string());
            text.string("sha256", &file.sha256.to_string());
        }
        for image in &lock.images {
            text.table("oci");
            text.string("path", image.path.as_str());
            text.string("config", &image.config.to_string());
            text.strings("layers", image.layers.iter().map(ToString::to_string));
        }
        text.0
    }

    fn write_head(&self, text: &mut Text) {
        text.plain("version", &LOCK_VERSION.to_string());
        text.string("recipe", self.recipe.as_str());
        text.string("suite", self.suite.as_str());
        text.string("date", &self.date.to_string());
        text.string("epoch", &self.epoch.to_string());
        text.strings("requested", self.request.packages.iter().map(ToString::to_string));
        text.plain("updates", if self.request.updates { "true" } else { "false" });
    }
}

fn write_repository(text: &mut Text, repository: &Repository) {
    text.table("repository");
    text.string("uri", repository.uri.as_str());
    text.string("suite", repository.suite.as_str());
    text.strings("components", repository.components.iter().map(ToString::to_string));
    text.string("key", &repository.key.to_string());
}

fn write_archive(text: &mut Text, archive: &Archive) {
    text.table("archive");
    text.string("name", archive.name.as_str());
    text.string("uri", archive.uri.as_str());
    if let Some(snapshot) = &archive.snapshot {
        text.string("snapshot", snapshot.as_str());
    }
}

fn write_package(text: &mut Text, table: &str, package: &Package) {
    text.table(table);
    text.string("name", package.name.as_str());
    text.string("architecture", package.architecture.name());
    text.string("version", Version::as_str(&package.version));
    text.string("source", package.source.as_str());
    text.string("source_version", package.source_version.as_str());
    text.string("archive", package.archive.as_str());
    text.string("path", package.path.as_str());
    text.plain("size", &package.size.to_string());
    text.string("sha256", &package.sha256.to_string());
}

/// A text of TOML that grows line by line.
struct Text(String);

impl Text {
    fn table(&mut self, name: &str) {
        self.0.push_str(&format!("\n[[{name}]]\n"));
    }

    fn plain(&mut self, key: &str, value: &str) {
        self.0.push_str(&format!("{key} = {value}\n"));
    }

    fn string(&mut self, key: &str, value: &str) {
        self.plain(key, &quote(value));
    }

    /// Writes a list with a value a line, so that a change is one line, too.
    fn strings(&mut self, key: &str, values: impl Iterator<Item = String>) {
        let lines: String = values.map(|value| format!("    {},\n", quote(&value))).collect();
        let list = if lines.is_empty() { "[]".to_owned() } else { format!("[\n{lines}]") };
        self.plain(key, &list);
    }
}

/// Returns a basic string of TOML. None of the values has control characters.
fn quote(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

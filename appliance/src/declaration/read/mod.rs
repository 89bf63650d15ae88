//! From the tables of a file to the value, a file for each group of tables.

mod check;
mod files;
mod kernel;
mod machine;
mod programs;
mod sources;

use super::{
    fault::{Fault, Rule, Spot, line_and_column, quoted},
    paths::AbsolutePath,
    reader::{Section, Value},
    users::Users,
    value::Declaration,
};

const KEYS: &[&str] = &[
    "suite",
    "updates",
    "packages",
    "repository",
    "oci",
    "rootfs",
    "parent",
    "shell",
    "writes",
    "machine",
    "kernel",
    "network",
    "files",
    "user",
    "file",
    "copy",
    "dir",
    "link",
    "data",
    "secret",
    "setup",
    "service",
    "check",
];

/// A path that the declaration puts into the image.
#[derive(Debug)]
pub(super) struct Placed {
    path: AbsolutePath,
    kind: &'static str,
    spot: Spot,
}

/// Facts that more than one table needs.
#[derive(Debug)]
pub(super) struct Context<'t> {
    text: &'t str,
    users: Users,
    placed: Vec<Placed>,
}

impl Context<'_> {
    fn line(&self, spot: &Spot) -> usize {
        line_and_column(self.text, spot.offset).0
    }

    /// Reads the path of something that the declaration puts into the image.
    fn place(&mut self, value: &Value<'_>, kind: &'static str) -> Result<AbsolutePath, Fault> {
        let path = value.parse(AbsolutePath::parse)?;
        self.placed.push(Placed { path: path.clone(), kind, spot: value.spot.clone() });
        Ok(path)
    }

    /// Refuses a name that an earlier entry has.
    fn unique(
        &self,
        thing: &'static str,
        seen: &mut Vec<(String, Spot)>,
        name: &str,
        spot: &Spot,
    ) -> Result<(), Fault> {
        if let Some((_, first)) = seen.iter().find(|(other, _)| other == name) {
            let first_line = self.line(first);
            return Err(spot.fault(Rule::Twice { thing, name: quoted(name), first_line }));
        }
        seen.push((name.to_owned(), spot.clone()));
        Ok(())
    }
}

/// Reads a whole declaration.
pub(super) fn declaration(text: &str, entries: &toml::de::DeTable<'_>) -> Result<Declaration, Fault> {
    let document = Section::document(entries, KEYS)?;
    let suite = document.require("suite")?.parse(sources::suite)?;
    let image = sources::image(&document)?;
    let users = Users::read(&document, text, image.is_some())?;
    let mut context = Context { text, users, placed: Vec::new() };
    let packages = sources::packages(&context, &document)?;
    let repositories = sources::repositories(&document)?;
    let (kernel, micro) = kernel::kernel(&document)?;
    let machine = machine::machine(&context, &document, &kernel, micro)?;
    let network = machine::network(&document)?;
    let files = files::files(&document)?;
    let texts = files::texts(&mut context, &document)?;
    let copies = files::copies(&mut context, &document)?;
    let directories = files::directories(&mut context, &document)?;
    let links = files::links(&mut context, &document)?;
    let data = files::data(&mut context, &document)?;
    let setups = programs::setups(&context, &document)?;
    let services = programs::services(&context, &document, image.is_some())?;
    let secrets = files::secrets(&context, &document, &data, &files::sole_user(&setups, &services))?;
    let writes = files::writes(&document, &data)?;
    check::placed(&context)?;
    Ok(Declaration {
        suite,
        updates: document.boolean("updates", true)?,
        packages,
        repositories,
        image,
        parent: document.optional("parent", |value| value.parse(sources::reference))?,
        shell: document.boolean("shell", false)?,
        writes,
        machine,
        kernel,
        network,
        files,
        users: context.users.declared,
        texts,
        copies,
        directories,
        links,
        data,
        secrets,
        setups,
        services,
        check: programs::check(&document)?,
    })
}

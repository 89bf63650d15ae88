//! Roots and policy of a declaration.

use crate::declaration::{ClosureKind, Declaration, PackageSource, Ready};

use super::request::{Command, Policy};

impl Policy {
    /// Returns the choice of files that a declaration makes.
    #[must_use]
    pub fn of(declaration: &Declaration) -> Self {
        let files = &declaration.files;
        Self {
            whole_packages: files.closure == Some(ClosureKind::Packages),
            shrink_image: files.closure == Some(ClosureKind::Files),
            all_programs: files.all_programs,
            licences: files.licences,
            keep: files.keep.clone(),
            drop: files.drop.clone(),
            suid: files.suid.iter().map(|path| path.as_str().as_bytes().to_vec()).collect(),
        }
    }
}

/// Returns the programs that a declaration runs: for services, their readiness, setup, and the check.
#[must_use]
pub fn commands(declaration: &Declaration) -> Vec<Command> {
    let command = |words: &[String], by: String| {
        words.first().map(|program| Command { path: program.as_bytes().to_vec(), by })
    };
    let mut commands: Vec<Option<Command>> = Vec::new();
    for service in &declaration.services {
        commands.push(command(&service.program.command, format!("the service {}", service.name)));
        if let Ready::Exec(words) = &service.ready {
            commands.push(command(words, format!("the readiness of the service {}", service.name)));
        }
    }
    for setup in &declaration.setups {
        commands.push(command(&setup.program.command, format!("the setup {}", setup.name)));
    }
    if let Some(words) = &declaration.check {
        commands.push(command(words, "the check".to_owned()));
    }
    commands.into_iter().flatten().collect()
}

/// Returns the packages that a declaration names. Those that it gives as files have their names in the files.
#[must_use]
pub fn named_packages(declaration: &Declaration) -> Vec<String> {
    let name = |package: &PackageSource| match package {
        PackageSource::Named(name) => Some(name.clone()),
        PackageSource::File(_) => None,
    };
    declaration.packages.iter().filter_map(name).collect()
}

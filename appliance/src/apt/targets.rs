//! The lists that apt has, as `apt-get indextargets` prints them. Pure.

use std::path::PathBuf;

use super::error::AptError;
use crate::lock::Uri;

/// The format to ask for. The file comes last, since its path may have blanks.
pub(crate) const FORMAT: &str = "$(REPO_URI) $(BASE_URI) $(METAKEY) $(FILENAME)";

/// A list of packages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// Address that the paths in the list start from, with a slash at its end.
    pub repository: String,
    /// Address that the paths in the signed list start from, with a slash at its end.
    pub release: String,
    /// Path in the signed list: `main/binary-amd64/Packages`.
    pub key: String,
    /// File on this machine.
    pub file: PathBuf,
}

impl Target {
    /// Whether the list is of the archive at `uri`.
    pub fn is_of(&self, uri: &Uri) -> bool {
        self.repository.trim_end_matches('/') == uri.as_str()
    }

    /// Returns the file of the signed list that has this one.
    pub fn release_file(&self) -> Option<PathBuf> {
        let name = self.file.file_name()?.to_str()?;
        let prefix = name.strip_suffix(self.key.replace('/', "_").as_str())?;
        Some(self.file.with_file_name(format!("{prefix}InRelease")))
    }

    /// Returns the component: `main`.
    pub fn component(&self) -> &str {
        self.key.split_once("/binary-").map_or("", |(component, _)| component)
    }
}

/// Reads the output.
pub(crate) fn parse(output: &str) -> Result<Vec<Target>, AptError> {
    output.lines().filter(|line| !line.starts_with(' ')).map(target).collect()
}

fn target(line: &str) -> Result<Target, AptError> {
    let mut words = line.splitn(4, ' ').map(str::to_owned);
    match (words.next(), words.next(), words.next(), words.next()) {
        (Some(repository), Some(release), Some(key), Some(file)) if file.starts_with('/') => {
            Ok(Target { repository, release, key, file: file.into() })
        }
        _ => Err(AptError::form("apt-get indextargets", line, "REPOSITORY RELEASE LIST FILE")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_with_a_blank_is_read_and_its_release_found() {
        let line = "http://h/d/ http://h/d/dists/x/ main/binary-amd64/Packages /c d/lists/h_d_dists_x_main_binary-amd64_Packages\n";
        let target = &parse(line).unwrap()[0];
        assert!(target.is_of(&"http://h/d".parse().unwrap()));
        assert_eq!(target.component(), "main");
        assert_eq!(target.release_file().unwrap(), PathBuf::from("/c d/lists/h_d_dists_x_InRelease"));
        assert!(parse("a b c").is_err() && parse("a b c d").is_err());
    }
}

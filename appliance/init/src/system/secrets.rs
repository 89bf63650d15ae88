//! Secrets: given from outside, kept on a data disk, or made.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt, chown},
    path::{Path, PathBuf},
};

use crate::{
    config::{Secret, SecretSource},
    data::folder,
    report::{Problem, Report},
};

const FOLDER: &str = "/run/melv/secrets";
/// Characters of generated secrets: no two look alike, and none means something to a shell. Their count divides
/// 256, so that each is as likely as the others.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// Writes all secrets to their files. `given` are those from outside.
pub fn secrets(
    wanted: &[Secret],
    given: &BTreeMap<String, Vec<u8>>,
    tell: &mut dyn FnMut(Report),
) -> Result<(), Problem> {
    if wanted.is_empty() {
        return Ok(());
    }
    super::files::folder(Path::new(FOLDER), 0o711, 0, 0)
        .map_err(|error| Problem::new("secrets", FOLDER, error))?;
    for secret in wanted {
        let problem = |error| Problem::new("secret", &secret.name, error);
        let value = match (given.get(&secret.name), &secret.source) {
            (Some(value), _) => value.clone(),
            (None, SecretSource::Given) => return Err(problem(io::Error::from(io::ErrorKind::NotFound))),
            (None, SecretSource::Generated { length, keep }) => {
                let kept = keep.as_deref().map(|name| folder(name).join(".melv/secrets").join(&secret.name));
                generated(usize::from(*length), kept, |value| {
                    tell(Report::Secret(secret.name.clone(), value.into()));
                })
                .map_err(problem)?
            }
        };
        let path = Path::new(FOLDER).join(&secret.name);
        write(&path, &value).map_err(problem)?;
        chown(&path, Some(secret.owner.uid), Some(secret.owner.gid)).map_err(problem)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(secret.mode.into())).map_err(problem)?;
    }
    Ok(())
}

/// Returns the secret that is kept, or makes one, keeps it, and shows it.
fn generated(length: usize, kept: Option<PathBuf>, show: impl FnOnce(&str)) -> io::Result<Vec<u8>> {
    if let Some(path) = &kept {
        match fs::read(path) {
            Ok(value) => return Ok(value),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Err(_) => {}
        }
    }
    let mut random = vec![0; length];
    File::open("/dev/urandom")?.read_exact(&mut random)?;
    let value: String = random.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect();
    if let Some(path) = &kept {
        let parent = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        fs::create_dir_all(parent)?;
        fs::set_permissions(parent, fs::Permissions::from_mode(0o700))?;
        // It is complete under its name or not there: a lost power must not leave half of it.
        let draft = path.with_extension("new");
        write(&draft, value.as_bytes())?;
        fs::rename(&draft, path)?;
        File::open(parent)?.sync_all()?;
    }
    show(&value);
    Ok(value.into_bytes())
}

fn write(path: &Path, value: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o400).open(path)?;
    file.write_all(value)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_secret_is_shown_once_and_stays() {
        let base = std::env::temp_dir().join(format!("melv-init-secret-{}", std::process::id()));
        let path = base.join("secrets/password");
        let mut shown = Vec::new();
        let first = generated(24, Some(path.clone()), |value| shown.push(value.to_owned())).unwrap();
        let second = generated(24, Some(path.clone()), |value| shown.push(value.to_owned())).unwrap();
        assert_eq!(first, second);
        assert_eq!(shown, [String::from_utf8(first).unwrap()]);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o400);
        assert_eq!(shown[0].len(), 24);
        fs::remove_dir_all(base).unwrap();
    }

    #[test]
    fn a_secret_that_nothing_keeps_is_new_each_time() {
        let make = || generated(16, None, |_| {}).unwrap();
        assert_ne!(make(), make());
    }
}

//! The configuration that apt runs with. Pure.

use std::fmt::Write as _;
use std::path::Path;

/// Settings that do not depend on the folder.
///
/// An empty `pkgCacheGen::Essential` would add every essential package; an empty sandbox user keeps apt from
/// changing its user when root runs it; without `ForceHash` apt prints MD5 beside each address.
const FIXED: &str = r#"Dir::Etc::main "/dev/null";
Dir::Etc::parts "/dev/null";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::Etc::netrc "/dev/null";
Dir::Etc::netrcparts "/dev/null";
Dir::Etc::trusted "/dev/null";
Dir::Etc::trustedparts "/dev/null";
APT::Architecture "amd64";
APT::Architectures { "amd64"; };
APT::Install-Recommends "false";
APT::Install-Suggests "false";
APT::Get::Assume-Yes "true";
APT::Sandbox::User "";
APT::Update::Error-Mode "any";
APT::Color "false";
pkgCacheGen::Essential "none";
Acquire::Languages "none";
Acquire::ForceHash "SHA256";
Acquire::Retries "1";
Acquire::AllowInsecureRepositories "false";
Acquire::AllowWeakRepositories "false";
Acquire::AllowDowngradeToInsecureRepositories "false";
Acquire::http::Timeout "20";
Acquire::https::Timeout "20";
Dpkg::Use-Pty "false";
Debug::pkgAcquire::Worker "true";
"#;

/// Paths below the folder of the state.
const PATHS: [(&str, &str); 8] = [
    ("Dir::State", ""),
    ("Dir::State::status", "/status"),
    ("Dir::State::lists", "/lists"),
    ("Dir::Cache", "/cache"),
    ("Dir::Cache::archives", "/archives"),
    ("Dir::Etc", "/etc"),
    ("Dir::Etc::sourcelist", "/apt.sources"),
    ("Dir::Log", "/log"),
];

/// Returns the configuration for a state in `folder`, or none where the path has signs that a configuration cannot
/// hold: quotes, backslashes, control characters, bytes that are not UTF-8.
pub(super) fn config(folder: &Path, accept_expired: bool, proxies: &[(String, String)]) -> Option<String> {
    let folder = folder.to_str().filter(|folder| is_plain(folder))?;
    let mut text = String::new();
    for (key, path) in PATHS {
        let _ = writeln!(text, "{key} \"{folder}{path}\";");
    }
    text.push_str(FIXED);
    if accept_expired {
        text.push_str("Acquire::Check-Valid-Until \"false\";\n");
    }
    for (key, value) in proxies {
        let _ = writeln!(text, "{key} \"{value}\";");
    }
    Some(text)
}

/// Finds the settings of proxies in the output of `apt-config dump`, with `KEY "VALUE";` in a line.
pub(super) fn proxies(dump: &str) -> Vec<(String, String)> {
    let setting = |line: &str| {
        let (key, rest) = line.split_once(' ')?;
        let value = rest.strip_prefix('"')?.strip_suffix("\";")?;
        let lower = key.to_ascii_lowercase();
        let of_proxies = ["acquire::http::proxy", "acquire::https::proxy"];
        let known = of_proxies.iter().any(|prefix| lower.starts_with(prefix));
        let good = |byte: u8| byte.is_ascii_alphanumeric() || b":._-".contains(&byte);
        let sound = key.bytes().all(good) && !key.ends_with("::") && !value.is_empty() && is_plain(value);
        (known && sound).then(|| (key.to_owned(), value.to_owned()))
    };
    dump.lines().filter_map(setting).collect()
}

fn is_plain(text: &str) -> bool {
    !text.chars().any(|letter| letter.is_control() || matches!(letter, '"' | '\\'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_taken_and_nothing_else() {
        let dump = "APT \"\";\nAcquire::http::Proxy \"http://p:3142\";\nAcquire::HTTPS::proxy::h.org \"DIRECT\";\n\
            Acquire::http::Proxy-Auto-Detect \"/usr/bin/d\";\nAcquire::http::Timeout \"1\";\n\
            Acquire::http::Proxy::bad \"x\";;\";\nAcquire::http::Proxy::worse \"a\"b\";\nAcquire::http::Proxy \"\";\n\
            DPkg::Post-Invoke:: \"rm -rf /\";\nAcquire::http::Proxy::";
        let keys: Vec<String> = proxies(dump).into_iter().map(|(key, _)| key).collect();
        assert_eq!(
            keys,
            ["Acquire::http::Proxy", "Acquire::HTTPS::proxy::h.org", "Acquire::http::Proxy-Auto-Detect"]
        );
    }

    #[test]
    fn a_folder_that_a_configuration_cannot_hold_is_refused() {
        assert!(config(Path::new("/a b/ö"), false, &[]).is_some());
        assert!(config(Path::new("/a\"; APT::X \"1"), false, &[]).is_none());
        assert!(config(Path::new("/a\nb"), false, &[]).is_none());
    }
}

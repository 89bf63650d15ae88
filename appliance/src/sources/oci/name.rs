//! Names of images, pure.

/// Whether an image's name is the one that is wanted: in full, without its registry, or without `:latest`.
pub(super) fn matches(found: &str, wanted: &str) -> bool {
    let is =
        |wanted: &str| found == wanted || found.strip_suffix(wanted).is_some_and(|rest| rest.ends_with('/'));
    !wanted.is_empty() && (is(wanted) || is(&format!("{wanted}:latest")))
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_name_may_lack_registry_and_latest() {
        for wanted in ["web", "web:latest", "library/web", "docker.io/library/web:latest"] {
            assert!(matches("docker.io/library/web:latest", wanted), "{wanted}");
        }
        for wanted in ["eb", "web:1", "", "library", "other"] {
            assert!(!matches("docker.io/library/web:latest", wanted), "{wanted}");
        }
    }
}

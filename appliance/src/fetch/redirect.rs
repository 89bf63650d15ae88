//! The address that a redirect leads to. Pure.

/// Schemes that are followed.
const SCHEMES: [&str; 2] = ["http", "https"];

/// Returns the address that the field `Location` of an answer from `base` names (RFC 9110, section 10.2.2; references
/// by RFC 3986, section 4.2), or none where it is not `http://` or `https://`.
pub(super) fn resolve(base: &str, location: &str) -> Option<String> {
    let location = location.split('#').next().unwrap_or(location);
    let (scheme, rest) = base.split_once("://")?;
    let host = rest.split(['/', '?']).next()?;
    let end = location.find(['/', '?']).unwrap_or(location.len());
    if let Some((named, after)) = location[..end].split_once(':') {
        let named = named.to_ascii_lowercase();
        let absolute = after.is_empty() && location[end..].starts_with("//") && location.len() > end + 2;
        let known = SCHEMES.contains(&named.as_str()) && absolute && !location[end + 2..].starts_with('/');
        return known.then(|| format!("{named}:{}", &location[end..]));
    }
    if location.starts_with("//") {
        return Some(format!("{scheme}:{location}"));
    }
    if location.starts_with('/') {
        return Some(format!("{scheme}://{host}{location}"));
    }
    let path = rest[host.len()..].split('?').next().unwrap_or_default();
    let folder = path.rfind('/').map_or("/", |slash| &path[..=slash]);
    Some(format!("{scheme}://{host}{folder}{location}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_resolved_and_other_schemes_refused() {
        let base = "https://h:1/a/b?c=d";
        let cases = [
            ("http://o/x", Some("http://o/x")),
            ("HTTPS://o/x#y", Some("https://o/x")),
            ("//o/x", Some("https://o/x")),
            ("/x:y?z", Some("https://h:1/x:y?z")),
            ("x", Some("https://h:1/a/x")),
            ("", Some("https://h:1/a/")),
            ("file:///etc/passwd", None),
            ("file:/etc/passwd", None),
            ("data:,x", None),
            ("javascript:x", None),
            ("http:x", None),
            ("http:///x", None),
            ("http://", None),
            (":", None),
        ];
        for (location, expected) in cases {
            assert_eq!(resolve(base, location).as_deref(), expected, "{location}");
        }
        assert_eq!(resolve("http://h", "x").unwrap(), "http://h/x");
        assert_eq!(resolve("h", "x"), None);
    }
}

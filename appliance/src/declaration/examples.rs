//! Complete declarations, printed by the command and built by tests.

use super::Declaration;

/// Names and texts of the examples.
pub const EXAMPLES: [(&str, &str); 7] = [
    ("nginx", include_str!("../../examples/nginx.toml")),
    ("postgresql", include_str!("../../examples/postgresql.toml")),
    ("nethack", include_str!("../../examples/nethack.toml")),
    ("redis", include_str!("../../examples/redis.toml")),
    ("site", include_str!("../../examples/site.toml")),
    ("binary", include_str!("../../examples/binary.toml")),
    ("oci", include_str!("../../examples/oci.toml")),
];

impl Declaration {
    /// Returns the text of the example `name`.
    #[must_use]
    pub fn example(name: &str) -> Option<&'static str> {
        EXAMPLES.iter().find_map(|(known, text)| (*known == name).then_some(*text))
    }
}

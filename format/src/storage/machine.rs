//! The machine that runs a process, so that a writer's lock can be attributed to it.

/// A machine and its current boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// The id of the installed system.
    pub id: String,
    /// The id of the current boot, shared by all containers of a kernel.
    pub boot: String,
}

impl Machine {
    /// Creates a machine from the texts of its id files; `None` unless both are valid ids.
    pub(crate) fn from_texts(id: &str, boot: &str) -> Option<Self> {
        let (id, boot) = (id.trim(), boot.trim());
        let is_id = |text: &str| {
            (16..=64).contains(&text.len())
                && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
        };
        (is_id(id) && is_id(boot)).then(|| Self { id: id.into(), boot: boot.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_ids_is_not_known() {
        let id = "0123456789abcdef0123456789abcdef";
        assert!(Machine::from_texts(id, &format!("{id}\n")).is_some());
        for bad in ["", "uninitialized", "0", "../../etc/passwd0000000", &"a".repeat(65)] {
            assert_eq!(Machine::from_texts(bad, id), None, "{bad}");
            assert_eq!(Machine::from_texts(id, bad), None, "{bad}");
        }
    }
}

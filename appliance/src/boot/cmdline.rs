//! The kernel's command line.

use std::fmt;

use super::paths::{INITRD, KERNEL};
use crate::gpt::Guid;

/// Bytes that reach the kernel at most. It takes 2047 and a zero (`COMMAND_LINE_SIZE` of x86); syslinux passes one less.
const KERNEL_BYTES: usize = 2046;

/// Words in front of which the builder or a boot loader puts its own; of two, the kernel takes the last.
const OWN: [&str; 3] = ["root=", "initrd=", "BOOT_IMAGE="];

/// A checked command line: `root=PARTUUID=` and the caller's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandLine(String);

/// A text that cannot be a command line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandLineError {
    /// A character is not printable ASCII. A line end would begin another key of the loaders' files.
    #[error("the command line, byte {offset}: {found:?}, expected printable ASCII")]
    InvalidCharacter {
        /// The place in the caller's text.
        offset: usize,
        /// The character.
        found: char,
    },
    /// The builder and the boot loaders set this word themselves.
    #[error("the command line: {word:?}, expected no word of {}", OWN.join(", "))]
    OwnWord {
        /// The word, cut after 64 bytes.
        word: String,
    },
    /// The kernel would cut the line.
    #[error("a command line of {length} bytes, expected at most {max}")]
    TooLong {
        /// Bytes of the whole line.
        length: usize,
        /// Bytes at most.
        max: usize,
    },
}

impl CommandLine {
    /// Bytes at most: those that reach the kernel, without the words that the boot loaders add.
    ///
    /// syslinux puts `BOOT_IMAGE=` in front and `initrd=` at the end, systemd-boot (252, 257) `initrd=` in front, each
    /// with a path and a space.
    pub const MAX_BYTES: usize =
        KERNEL_BYTES - ("BOOT_IMAGE=/ initrd=/ ".len() + KERNEL.len() + INITRD.len());

    /// Makes a command line that names the root partition and goes on with the words `more`.
    ///
    /// Spaces at both ends of `more` are left out, those inside stay: they may stand between quotes.
    ///
    /// # Errors
    ///
    /// Fails for a text that is too long, has other characters than printable ASCII, or a word of the builder's.
    pub fn new(root: Guid, more: &str) -> Result<Self, CommandLineError> {
        let is_printable = |letter: char| letter == ' ' || letter.is_ascii_graphic();
        if let Some((offset, found)) = more.char_indices().find(|&(_, letter)| !is_printable(letter)) {
            return Err(CommandLineError::InvalidCharacter { offset, found });
        }
        let own = |word: &&str| OWN.iter().any(|own| word.trim_start_matches('"').starts_with(own));
        if let Some(word) = more.split(' ').find(own) {
            return Err(CommandLineError::OwnWord { word: word.chars().take(64).collect() });
        }
        let text = format!("root=PARTUUID={root} {}", more.trim_matches(' '));
        let text = text.trim_end_matches(' ');
        if text.len() > Self::MAX_BYTES {
            return Err(CommandLineError::TooLong { length: text.len(), max: Self::MAX_BYTES });
        }
        Ok(Self(text.to_owned()))
    }

    /// Returns the text: one line of printable ASCII without a line end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CommandLine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: Guid = Guid([7; 16]);
    const FIRST: &str = "root=PARTUUID=07070707-0707-0707-0707-070707070707";

    #[test]
    fn the_root_stands_first_and_inner_spaces_stay() {
        let text = |more| CommandLine::new(ROOT, more).unwrap().to_string();
        assert_eq!(text(""), FIRST);
        assert_eq!(text("   "), FIRST);
        assert_eq!(text(" quiet a=\"x  y\" "), format!("{FIRST} quiet a=\"x  y\""));
        assert_eq!(
            text("rootwait noinitrd systemd.root=x"),
            format!("{FIRST} rootwait noinitrd systemd.root=x")
        );
    }

    #[test]
    fn a_line_end_cannot_begin_another_key() {
        for (more, offset, found) in
            [("a\nlinux /x", 1, '\n'), ("\r", 0, '\r'), ("a\tb", 1, '\t'), ("é", 0, 'é'), ("a\0", 1, '\0')]
        {
            let fault = CommandLineError::InvalidCharacter { offset, found };
            assert_eq!(CommandLine::new(ROOT, more), Err(fault));
        }
    }

    #[test]
    fn a_second_root_is_refused() {
        for more in ["root=/dev/vda", "quiet root=x", "initrd=/x", "BOOT_IMAGE=x", "\"root=x y\""] {
            let fault = CommandLine::new(ROOT, more);
            assert!(matches!(fault, Err(CommandLineError::OwnWord { .. })), "{more}");
        }
    }

    #[test]
    fn a_line_that_the_kernel_would_cut_is_refused() {
        let room = CommandLine::MAX_BYTES - FIRST.len() - 1;
        assert_eq!(CommandLine::new(ROOT, &"a".repeat(room)).unwrap().as_str().len(), CommandLine::MAX_BYTES);
        let fault = CommandLine::new(ROOT, &"a".repeat(room + 1));
        let (length, max) = (CommandLine::MAX_BYTES + 1, CommandLine::MAX_BYTES);
        assert_eq!(fault, Err(CommandLineError::TooLong { length, max }));
    }
}

//! The first line of a script.

/// Longest first line that Linux reads: `BINPRM_BUF_SIZE`.
const MAX_LINE: usize = 256;

/// The programs that a `#!` line names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shebang<'s> {
    /// The interpreter, a path.
    pub(super) interpreter: &'s [u8],
    /// The program that `env` looks for in `PATH`.
    pub(super) by_env: Option<&'s [u8]>,
}

/// Whether bytes begin as a script does.
pub(super) fn is_script(bytes: &[u8]) -> bool {
    bytes.starts_with(b"#!")
}

/// Reads the first line of a script. `None` where it names nothing.
pub(super) fn shebang(bytes: &[u8]) -> Option<Shebang<'_>> {
    let line = bytes.strip_prefix(b"#!")?;
    let line = &line[..line.len().min(MAX_LINE - 2)];
    let line = line.split(|byte| *byte == b'\n' || *byte == 0).next()?;
    let mut words = line.split(|byte| matches!(byte, b' ' | b'\t' | b'\r')).filter(|word| !word.is_empty());
    let interpreter = words.next()?;
    let is_env = interpreter.ends_with(b"/env");
    // Options of env and settings of variables come before the program.
    let skipped = |word: &&[u8]| word.starts_with(b"-") || word.contains(&b'=');
    let by_env = if is_env { words.find(|word| !skipped(word)) } else { None };
    Some(Shebang { interpreter, by_env })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_line_names_the_interpreter_and_the_program_of_env() {
        let read = |line: &'static str| shebang(line.as_bytes()).map(|s| (s.interpreter, s.by_env));
        assert_eq!(read("#!/bin/sh\nx"), Some((&b"/bin/sh"[..], None)));
        assert_eq!(read("#! /usr/bin/perl -w"), Some((&b"/usr/bin/perl"[..], None)));
        assert_eq!(read("#!/usr/bin/env python3\n"), Some((&b"/usr/bin/env"[..], Some(&b"python3"[..]))));
        assert_eq!(
            read("#!/usr/bin/env -S A=b node --x\n"),
            Some((&b"/usr/bin/env"[..], Some(&b"node"[..])))
        );
        assert_eq!(read("#!"), None);
        assert_eq!(read("#!  \t \n/bin/sh"), None);
        assert_eq!(read("#\n"), None);
    }
}

//! Bytes to lines.

/// Longest line in bytes; a longer one becomes several.
const LONGEST: usize = 4096;

/// Splits bytes that come in pieces into lines.
#[derive(Debug, Default)]
pub struct Lines(Vec<u8>);

impl Lines {
    /// Takes a piece and gives each line that is complete to `line`, without its end.
    pub fn push(&mut self, mut piece: &[u8], mut line: impl FnMut(&[u8])) {
        while !piece.is_empty() {
            let room = LONGEST - self.0.len();
            let window = &piece[..piece.len().min(room)];
            if let Some(end) = window.iter().position(|byte| *byte == b'\n') {
                self.0.extend(&piece[..end]);
                piece = &piece[end + 1..];
            } else {
                self.0.extend(window);
                piece = &piece[window.len()..];
                if self.0.len() < LONGEST {
                    return;
                }
            }
            line(&self.0);
            self.0.clear();
        }
    }

    /// Gives the last line, which has no end.
    pub fn finish(&mut self, line: impl FnOnce(&[u8])) {
        if !self.0.is_empty() {
            line(&self.0);
            self.0.clear();
        }
    }
}

/// Takes the bytes out of a line that could move the cursor, change the terminal, or begin another line.
///
/// Sequences of ANSI (`ESC [` to a letter) go as a whole, so that colours leave no rests.
pub fn clean(line: &[u8]) -> Vec<u8> {
    let mut clean = Vec::with_capacity(line.len());
    let mut rest = line;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        match byte {
            0x1b => {
                if let Some(sequence) = rest.strip_prefix(b"[") {
                    let end = sequence.iter().position(|byte| (0x40..=0x7e).contains(byte));
                    rest = end.map_or(&[][..], |end| &sequence[end + 1..]);
                }
            }
            b'\t' | 0x20..=0x7e | 0x80.. => clean.push(byte),
            _ => {}
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::Rng;

    fn lines(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut lines = Vec::new();
        let mut splitter = Lines::default();
        for piece in pieces {
            splitter.push(piece, |line| lines.push(line.to_vec()));
        }
        splitter.finish(|line| lines.push(line.to_vec()));
        lines
    }

    #[test]
    fn lines_come_whole_however_their_bytes_came() {
        assert_eq!(lines(&[b"a", b"b\n\nc\nd", b"e"]), [&b"ab"[..], b"", b"c", b"de"]);
        let mut rng = Rng(4);
        for _ in 0..300 {
            let text: Vec<u8> = (0..rng.below(300)).map(|_| b"ab\n"[rng.below(3) as usize]).collect();
            let mut expected: Vec<Vec<u8>> = text.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
            if expected.last().is_some_and(Vec::is_empty) {
                expected.pop();
            }
            let pieces: Vec<&[u8]> = text.chunks(1 + rng.below(9) as usize).collect();
            assert_eq!(lines(&pieces), expected);
        }
    }

    #[test]
    fn a_line_without_an_end_is_cut() {
        let long = vec![b'x'; 3 * LONGEST + 5];
        let lengths: Vec<usize> = lines(&[&long]).iter().map(Vec::len).collect();
        assert_eq!(lengths, [LONGEST, LONGEST, LONGEST, 5]);
    }

    #[test]
    fn a_line_cannot_move_the_cursor() {
        assert_eq!(clean(b"\x1b[1;32mgreen\x1b[0m\tok"), b"green\tok");
        assert_eq!(clean(b"50%\rmelv: exit 0\x08\x00\x7f"), b"50%melv: exit 0");
        assert_eq!(clean(b"\x1b[31"), b"");
        assert_eq!(clean(b"\x1bcgr\xc3\xbc\xc3\x9fe"), "cgrüße".as_bytes());
    }
}

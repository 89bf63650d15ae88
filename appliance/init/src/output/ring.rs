//! The log of one service.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::PathBuf,
};

/// Bytes of each of the two files.
const SEGMENT: usize = 128 * 1024;

/// The newest lines of a service, in `NAME` and, before them, `NAME.1`: together 128 to 256 KiB once it wrote so
/// much. Two plain files can be read with any tool, and no line is ever cut by a wrap.
#[derive(Debug)]
pub struct Ring {
    path: PathBuf,
    file: File,
    length: usize,
}

impl Ring {
    /// Makes an empty log.
    pub fn create(path: PathBuf) -> io::Result<Self> {
        let file = File::create(&path)?;
        Ok(Self { path, file, length: 0 })
    }

    /// Appends lines with their ends, much shorter than a file.
    pub fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.length + lines.len() > SEGMENT {
            let mut old = self.path.clone().into_os_string();
            old.push(".1");
            fs::rename(&self.path, old)?;
            self.file = File::create(&self.path)?;
            self.length = 0;
        }
        self.length += lines.len();
        self.file.write_all(lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_leaves_the_newest_lines_and_a_bounded_size() {
        let folder = std::env::temp_dir().join(format!("melv-init-ring-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("web");
        let mut ring = Ring::create(path.clone()).unwrap();
        for number in 0..100_000 {
            ring.append(format!("line {number}\n").as_bytes()).unwrap();
        }
        let text = fs::read_to_string(folder.join("web.1")).unwrap() + &fs::read_to_string(&path).unwrap();
        assert!(text.len() <= 2 * SEGMENT && text.len() >= SEGMENT, "{} bytes", text.len());
        let numbers: Vec<usize> = text.lines().map(|line| line[5..].parse().unwrap()).collect();
        assert_eq!(numbers.last(), Some(&99_999));
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1));
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
        fs::remove_dir_all(folder).unwrap();
    }
}

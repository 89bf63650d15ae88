//! The kernel's command line.

/// Words of the command line that the init knows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cmdline {
    /// GUID of the root partition, as `root=PARTUUID=` tells it.
    pub root: Option<[u8; 16]>,
}

impl Cmdline {
    /// Reads a command line. The last of equal words counts, as for the kernel.
    pub fn parse(text: &str) -> Self {
        let mut words = text.split_ascii_whitespace().rev();
        Self { root: words.find_map(|word| word.strip_prefix("root=PARTUUID=")).and_then(guid) }
    }
}

/// Reads a GUID as text and returns it in the order of bytes on the disk: three little-endian numbers, then bytes.
fn guid(text: &str) -> Option<[u8; 16]> {
    const ORDER: [usize; 16] = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
    let groups: Vec<usize> = text.split('-').map(str::len).collect();
    if groups != [8, 4, 4, 4, 12] {
        return None;
    }
    let mut digits = text.chars().filter(|digit| *digit != '-').map(|digit| digit.to_digit(16));
    let mut guid = [0; 16];
    for place in ORDER {
        let (high, low) = (digits.next()??, digits.next()??);
        guid[place] = (high << 4 | low) as u8;
    }
    Some(guid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_root_counts() {
        let line = "console=ttyS0 root=/dev/vda root=PARTUUID=0F0f0f0f-0102-4000-8000-000000000003 quiet\n";
        let root = Some([15, 15, 15, 15, 2, 1, 0, 0x40, 0x80, 0, 0, 0, 0, 0, 0, 3]);
        assert_eq!(Cmdline::parse(line), Cmdline { root });
    }

    #[test]
    fn a_guid_of_another_form_is_none() {
        for text in
            ["", "0f0f0f0f", "0f0f0f0f-0102-4000-8000-00000000000g", "0f0f0f0f-0102-4000-8000-0000000000ß"]
        {
            assert_eq!(guid(text), None, "{text}");
        }
        assert_eq!(Cmdline::parse("root=/dev/vda1").root, None);
    }
}

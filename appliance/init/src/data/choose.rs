//! The choice of a disk for each name.

use std::fmt;

/// Content of a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Nothing.
    Blank,
    /// A data disk with this name.
    Ours(String),
    /// A disk whose formatting for this name was interrupted.
    Claimed(String),
    /// Something else, which is left alone.
    Foreign,
}

/// A disk of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Name of the device.
    pub device: String,
    /// Content.
    pub content: Content,
    /// Serial number that the hypervisor gave it.
    pub serial: String,
}

/// A disk chosen: its index among the candidates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// It holds the data already.
    Open(usize),
    /// It is blank, or was being formatted for this name.
    Format(usize),
}

/// A reason that no disk can be chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Two disks have the label.
    Two(String, String),
    /// The disk with the serial holds something else.
    Foreign(String),
    /// No disk has the label or the serial, and none is blank.
    None,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Two(a, b) => write!(f, "disks {a} and {b} both have its label"),
            Self::Foreign(disk) => {
                write!(f, "disk {disk} has its serial number, but is neither blank nor a data disk")
            }
            Self::None => f.write_str("no disk has its label, and none is blank"),
        }
    }
}

/// Chooses a disk for each of `names`, in their order: by label, by serial, by claim, else the first blank one.
pub fn choose(names: &[&str], disks: &[Candidate]) -> Vec<Result<Choice, Refusal>> {
    let mut choices: Vec<Option<Result<Choice, Refusal>>> =
        names.iter().map(|name| labelled(name, disks)).collect();
    let named = |disk: &Candidate| names.iter().any(|name| has_serial(disk, name));
    let mut taken: Vec<usize> = choices.iter().filter_map(index).collect();
    for (name, choice) in names.iter().zip(&mut choices).filter(|(_, choice)| choice.is_none()) {
        *choice =
            disks.iter().position(|disk| has_serial(disk, name)).map(|index| match &disks[index].content {
                Content::Blank => Ok(Choice::Format(index)),
                Content::Claimed(other) if other == name => Ok(Choice::Format(index)),
                _ => Err(Refusal::Foreign(disks[index].device.clone())),
            });
        taken.extend(index(choice));
    }
    for (name, choice) in names.iter().zip(&mut choices).filter(|(_, choice)| choice.is_none()) {
        let claimed = disks.iter().position(|disk| disk.content == Content::Claimed((*name).into()));
        *choice = claimed.map(|index| Ok(Choice::Format(index)));
        taken.extend(index(choice));
    }
    for choice in choices.iter_mut().filter(|choice| choice.is_none()) {
        let free = |index: &usize| {
            let disk = &disks[*index];
            disk.content == Content::Blank && !taken.contains(index) && !named(disk)
        };
        *choice = (0..disks.len()).find(free).map(|index| Ok(Choice::Format(index)));
        taken.extend(index(choice));
    }
    choices.into_iter().map(|choice| choice.unwrap_or(Err(Refusal::None))).collect()
}

fn labelled(name: &str, disks: &[Candidate]) -> Option<Result<Choice, Refusal>> {
    let mut ours = disks.iter().enumerate().filter(|(_, disk)| disk.content == Content::Ours(name.into()));
    match (ours.next(), ours.next()) {
        (None, _) => None,
        (Some((index, _)), None) => Some(Ok(Choice::Open(index))),
        (Some((_, a)), Some((_, b))) => Some(Err(Refusal::Two(a.device.clone(), b.device.clone()))),
    }
}

fn has_serial(disk: &Candidate, name: &str) -> bool {
    disk.serial == name || disk.serial.strip_prefix("melv-") == Some(name)
}

fn index(choice: &Option<Result<Choice, Refusal>>) -> Option<usize> {
    match choice {
        Some(Ok(Choice::Open(index) | Choice::Format(index))) => Some(*index),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(device: &str, content: Content, serial: &str) -> Candidate {
        Candidate { device: device.into(), content, serial: serial.into() }
    }

    #[test]
    fn a_label_counts_most() {
        let disks = [
            disk("vda", Content::Foreign, ""),
            disk("vdb", Content::Blank, "melv-db"),
            disk("vdc", Content::Ours("db".into()), "x"),
        ];
        assert_eq!(choose(&["db"], &disks), [Ok(Choice::Open(2))]);
    }

    #[test]
    fn a_serial_counts_more_than_the_order() {
        let disks = [disk("vdb", Content::Blank, "melv-log"), disk("vdc", Content::Blank, "db")];
        assert_eq!(choose(&["db", "log"], &disks), [Ok(Choice::Format(1)), Ok(Choice::Format(0))]);
    }

    #[test]
    fn a_disk_whose_serial_is_of_another_name_is_not_taken() {
        let disks = [disk("vdb", Content::Blank, "log"), disk("vdc", Content::Blank, "")];
        assert_eq!(choose(&["db", "log"], &disks), [Ok(Choice::Format(1)), Ok(Choice::Format(0))]);
    }

    #[test]
    fn blank_disks_are_taken_in_order_and_once() {
        let disks = [
            disk("vda", Content::Foreign, ""),
            disk("vdb", Content::Blank, ""),
            disk("vdc", Content::Blank, ""),
        ];
        let third = Err(Refusal::None);
        assert_eq!(choose(&["a", "b", "c"], &disks), [Ok(Choice::Format(1)), Ok(Choice::Format(2)), third]);
    }

    #[test]
    fn a_foreign_disk_is_never_chosen() {
        let disks = [
            disk("vda", Content::Foreign, "db"),
            disk("vdb", Content::Ours("other".into()), ""),
            disk("vdc", Content::Claimed("other".into()), ""),
        ];
        assert_eq!(choose(&["db"], &disks), [Err(Refusal::Foreign("vda".into()))]);
        assert_eq!(choose(&["log"], &disks), [Err(Refusal::None)]);
    }

    #[test]
    fn an_interrupted_format_is_done_again() {
        let disks = [disk("vdb", Content::Blank, ""), disk("vdc", Content::Claimed("db".into()), "")];
        assert_eq!(choose(&["log", "db"], &disks), [Ok(Choice::Format(0)), Ok(Choice::Format(1))]);
    }

    #[test]
    fn two_disks_with_one_label_are_refused() {
        let disks =
            [disk("vdb", Content::Ours("db".into()), ""), disk("vdc", Content::Ours("db".into()), "")];
        assert_eq!(choose(&["db"], &disks), [Err(Refusal::Two("vdb".into(), "vdc".into()))]);
    }
}

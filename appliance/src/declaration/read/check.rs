//! Rules over more than one table.

use std::collections::BTreeMap;

use super::{
    super::{
        fault::{Fault, Rule},
        reader::Section,
        value::Service,
    },
    Context, Placed,
};

/// File systems of the running machine that no file of an image lies on.
const VOLATILE: [&str; 5] = ["/proc", "/sys", "/dev", "/run", "/tmp"];
/// Folders of the init.
const OWN: [&str; 2] = ["/etc/melv", "/run/melv"];

/// Refuses two things at one path, a thing below a file or link, and files that nobody would see.
pub(super) fn placed(context: &Context<'_>) -> Result<(), Fault> {
    let mut seen: BTreeMap<&str, &Placed> = BTreeMap::new();
    for placed in &context.placed {
        let name = placed.path.as_str();
        if let Some(first) = seen.get(name) {
            let first_line = context.line(&first.spot);
            return Err(placed.spot.fault(Rule::Twice {
                thing: "the path",
                name: name.to_owned(),
                first_line,
            }));
        }
        seen.insert(name, placed);
        if let Some(own) = OWN.iter().find(|own| placed.path.is_within(own)) {
            let expected = "a path outside the folders of melv's init";
            return Err(placed.spot.fault(Rule::Value { expected, found: format!("{name}, within {own}") }));
        }
        let kernel = VOLATILE[..3].iter().any(|folder| placed.path.is_within(folder));
        let volatile = VOLATILE.iter().any(|folder| placed.path.is_within(folder));
        if kernel || volatile && placed.kind != "folder" {
            return Err(placed.spot.fault(Rule::Volatile(name.to_owned())));
        }
    }
    for placed in &context.placed {
        let above = placed.path.ancestors().find_map(|above| seen.get(above));
        if let Some(above) = above
            && matches!(above.kind, "file" | "link")
        {
            return Err(placed.spot.fault(Rule::Below {
                path: placed.path.to_string(),
                above: above.path.to_string(),
                kind: above.kind,
                line: context.line(&above.spot),
            }));
        }
    }
    Ok(())
}

/// Refuses services that wait for one another. Takes ready ones away until none is left, or none can be taken.
pub(super) fn no_circle(tables: &[Section<'_>], services: &[Service]) -> Result<(), Fault> {
    let mut waiting: Vec<(usize, &Service)> = services.iter().enumerate().collect();
    loop {
        let before = waiting.len();
        let names: Vec<&str> = waiting.iter().map(|(_, service)| service.name.as_str()).collect();
        waiting.retain(|(_, service)| service.depends.iter().any(|other| names.contains(&other.as_str())));
        if waiting.len() == before {
            break;
        }
    }
    let Some((index, _)) = waiting.first() else {
        return Ok(());
    };
    let names: Vec<&str> = waiting.iter().map(|(_, service)| service.name.as_str()).collect();
    match tables.get(*index).and_then(|section| section.get("depends")) {
        Some(value) => Err(value.fault(Rule::Circle(names.join(", ")))),
        None => Ok(()),
    }
}

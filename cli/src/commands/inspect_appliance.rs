//! The lines of `melv inspect` about an appliance: the machine that it wants, and the programs on it.

use melv::Image;
use melv_appliance::record::{ApplianceRecord, Firmware, NetworkKind};
use serde_json::Value;

use crate::failure::Failure;
use crate::machine::record_of;
use crate::units::human;

/// The maximum number of packages without `--all`.
const PACKAGES_MAX: usize = 8;

/// Returns the record of an image's machine, if it is an appliance.
pub fn record(image: &Image) -> Result<Option<ApplianceRecord>, Failure> {
    record_of(image)
}

/// Returns the record as JSON.
pub fn json(record: &ApplianceRecord) -> Value {
    serde_json::to_value(record).unwrap_or(Value::Null)
}

/// Returns the lines about an appliance.
pub fn lines(record: &ApplianceRecord, all: bool) -> Vec<(&'static str, String)> {
    let firmware = record.firmware.iter().map(|firmware| match firmware {
        Firmware::Uefi => "UEFI",
        Firmware::Bios => "BIOS",
    });
    let network = match record.network {
        NetworkKind::None => "no network",
        NetworkKind::Dhcp => "DHCP",
        NetworkKind::Static => "a fixed address",
    };
    let processors = if record.cpus == 1 { "processor" } else { "processors" };
    let firmware = firmware.collect::<Vec<_>>().join(" or ");
    let memory = human(record.memory_bytes);
    let mut lines =
        vec![("machine", format!("{memory}, {} {processors}, {firmware}, {network}", record.cpus))];
    if !record.ports.is_empty() {
        lines.push(("ports", record.ports.join(" ")));
    }
    let disks =
        record.data.iter().map(|disk| format!("{} {} at {}", disk.name, human(disk.size_bytes), disk.mount));
    lines.extend(labelled("disks", disks));
    lines.extend(labelled(
        "services",
        record.services.iter().map(|service| format!("{} ({})", service.name, service.ready)),
    ));
    if !record.secrets.is_empty() {
        lines.push(("secrets", record.secrets.join(" ")));
    }
    lines.push(("kernel", record.kernel.clone()));
    lines.push(("suite", record.suite.clone()));
    let mut packages: Vec<String> =
        record.packages.iter().map(|package| format!("{} {}", package.name, package.version)).collect();
    if !all && packages.len() > PACKAGES_MAX {
        let more = packages.len() - PACKAGES_MAX;
        packages.truncate(PACKAGES_MAX);
        packages.push(format!("and {more} more (--all lists them)"));
    }
    if record.more_packages > 0 {
        packages.push(format!("{} packages; the lock lists them", record.more_packages));
    }
    lines.extend(labelled("packages", packages.into_iter()));
    lines
}

/// Labels the first of some lines.
fn labelled(
    label: &'static str,
    texts: impl Iterator<Item = String>,
) -> impl Iterator<Item = (&'static str, String)> {
    std::iter::once(label).chain(std::iter::repeat("")).zip(texts)
}

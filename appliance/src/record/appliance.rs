//! The machine that an appliance wants, and the programs in it.

use serde::{Deserialize, Serialize};

use super::{APPLIANCE_KEY, RecordError};
use crate::declaration::{Declaration, NetworkMode, Protocol, Ready};

/// Version of the record.
const VERSION: u32 = 1;
/// Most of each kind of thing.
const MAX_ITEMS: usize = 1024;

/// The machine that an appliance wants, and the programs in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApplianceRecord {
    version: u32,
    /// Memory in bytes, whole MiB.
    pub memory_bytes: u64,
    /// Processors, 1 to 255.
    pub cpus: u16,
    /// Ports that it listens on, as `80/tcp`.
    pub ports: Vec<String>,
    /// Data disks, blank at first, in their order.
    pub data: Vec<DataDiskRecord>,
    /// Firmwares that start its disk.
    pub firmware: Vec<Firmware>,
    /// Its network.
    pub network: NetworkKind,
    /// Services in the order of their start.
    pub services: Vec<ServiceRecord>,
    /// Names of secrets that have to be given at each start.
    pub secrets: Vec<String>,
    /// The command that says whether it does its job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<Vec<String>>,
    /// Release of its kernel.
    pub kernel: String,
    /// Release of Debian.
    pub suite: String,
    /// Packages that files are of, by name.
    pub packages: Vec<PackageRecord>,
    /// Packages that did not fit into the record; the lock has them all.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more_packages: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// A data disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataDiskRecord {
    /// Name.
    pub name: String,
    /// Size in bytes.
    pub size_bytes: u64,
    /// Folder where it is mounted.
    pub mount: String,
}

/// Firmware of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Firmware {
    /// UEFI.
    Uefi,
    /// A BIOS.
    Bios,
}

/// Kind of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkKind {
    /// None.
    None,
    /// An address by DHCP.
    Dhcp,
    /// A fixed address.
    Static,
}

/// A service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceRecord {
    /// Name.
    pub name: String,
    /// Sign that it does its job: `started`, `tcp :PORT`, `http :PORT/PATH`, `exec`.
    pub ready: String,
    /// Whether it has the terminal.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub console: bool,
    /// Whether its end ends the machine.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub exit: bool,
}

/// A package that files are of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageRecord {
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
}

impl ApplianceRecord {
    /// Takes the machine of a declaration.
    #[must_use]
    pub fn of(declaration: &Declaration, kernel: &str, packages: Vec<PackageRecord>) -> Self {
        let machine = &declaration.machine;
        let firmware = [(machine.uefi, Firmware::Uefi), (machine.bios, Firmware::Bios)];
        let data = declaration.data.iter().map(|disk| DataDiskRecord {
            name: disk.name.clone(),
            size_bytes: disk.size.bytes(),
            mount: disk.mount.as_str().into(),
        });
        let services = declaration.services.iter().map(|service| ServiceRecord {
            name: service.name.clone(),
            ready: ready(&service.ready),
            console: service.console,
            exit: service.exit,
        });
        let given = declaration.secrets.iter().filter(|secret| secret.generated.is_none());
        Self {
            version: VERSION,
            memory_bytes: machine.memory.bytes(),
            cpus: machine.cpus,
            ports: machine.ports.iter().map(ToString::to_string).collect(),
            data: data.collect(),
            firmware: firmware.into_iter().filter_map(|(has, firmware)| has.then_some(firmware)).collect(),
            network: match declaration.network.mode {
                NetworkMode::None => NetworkKind::None,
                NetworkMode::Dhcp => NetworkKind::Dhcp,
                NetworkMode::Static { .. } => NetworkKind::Static,
            },
            services: services.collect(),
            secrets: given.map(|secret| secret.name.clone()).collect(),
            check: declaration.check.clone(),
            kernel: kernel.into(),
            suite: declaration.suite.name().into(),
            packages,
            more_packages: 0,
        }
    }

    /// Writes the record in at most `limit` bytes. Packages that do not fit are counted alone.
    ///
    /// # Errors
    ///
    /// A record that does not fit without packages.
    pub fn to_json(&self, limit: usize) -> Result<String, RecordError> {
        let json = |record: &Self| {
            serde_json::to_string(record).map_err(|source| RecordError::Json { key: APPLIANCE_KEY, source })
        };
        let whole = json(self)?;
        if whole.len() <= limit {
            return Ok(whole);
        }
        let mut cut = Self { packages: Vec::new(), ..self.clone() };
        cut.more_packages = u32::try_from(self.packages.len()).unwrap_or(u32::MAX);
        let text = json(&cut)?;
        if text.len() <= limit { Ok(text) } else { Err(RecordError::TooLong { found: text.len(), limit }) }
    }

    /// Reads a record.
    ///
    /// # Errors
    ///
    /// No record; one of another version; values out of their ranges.
    pub fn from_json(text: &str) -> Result<Self, RecordError> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let json = |source| RecordError::Json { key: APPLIANCE_KEY, source };
        let Versioned { version } = serde_json::from_str(text).map_err(json)?;
        if version != VERSION {
            return Err(RecordError::Version { key: APPLIANCE_KEY, found: version });
        }
        let record: Self = serde_json::from_str(text).map_err(json)?;
        record.check_ranges()?;
        Ok(record)
    }

    fn check_ranges(&self) -> Result<(), RecordError> {
        let fault = |field, found: String, expected| {
            Err(RecordError::Value { key: APPLIANCE_KEY, field, found, expected })
        };
        if !(1 << 20..=1 << 44).contains(&self.memory_bytes) || !self.memory_bytes.is_multiple_of(1 << 20) {
            return fault("memory_bytes", self.memory_bytes.to_string(), "whole MiB, 1 MiB to 16 TiB");
        }
        if !(1..=255).contains(&self.cpus) {
            return fault("cpus", self.cpus.to_string(), "1 to 255");
        }
        for port in &self.ports {
            if parse_port(port).is_none() {
                return fault("ports", port.clone(), "a port as 80/tcp");
            }
        }
        for disk in &self.data {
            let is_size =
                disk.size_bytes > 0 && disk.size_bytes <= 1 << 62 && disk.size_bytes.is_multiple_of(512);
            if !is_size {
                return fault(
                    "data.size_bytes",
                    disk.size_bytes.to_string(),
                    "sectors of 512 bytes, up to 4 EiB",
                );
            }
            if disk.name.is_empty() || disk.name.len() > 64 || disk.name.chars().any(char::is_control) {
                return fault("data.name", disk.name.clone(), "1 to 64 bytes without control characters");
            }
        }
        let counts =
            [self.ports.len(), self.data.len(), self.services.len(), self.secrets.len(), self.firmware.len()];
        if let Some(count) = counts.into_iter().find(|count| *count > MAX_ITEMS) {
            return fault("items of a list", count.to_string(), "at most 1024");
        }
        Ok(())
    }
}

/// Reads a port as `80/tcp`.
fn parse_port(text: &str) -> Option<(u16, Protocol)> {
    let (number, protocol) = text.split_once('/')?;
    let number = number.parse().ok().filter(|number| *number > 0)?;
    match protocol {
        "tcp" => Some((number, Protocol::Tcp)),
        "udp" => Some((number, Protocol::Udp)),
        _ => None,
    }
}

fn ready(ready: &Ready) -> String {
    match ready {
        Ready::Started => "started".into(),
        Ready::Tcp(port) => format!("tcp :{port}"),
        Ready::Http { port, path } => format!("http :{port}{path}"),
        Ready::Exec(_) => "exec".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::declaration::EXAMPLES;

    fn record(name: &str) -> ApplianceRecord {
        let text = Declaration::example(name).expect("an example");
        let declaration = Declaration::parse(text.as_bytes()).expect("a declaration");
        let package = PackageRecord { name: "libc6".into(), version: "2.36-9".into() };
        ApplianceRecord::of(&declaration, "6.1.0-1-cloud-amd64", vec![package])
    }

    #[test]
    fn a_record_is_read_as_written_and_has_one_form() {
        for (name, _) in EXAMPLES {
            let record = record(name);
            let text = record.to_json(1 << 16).expect("fits");
            assert_eq!(ApplianceRecord::from_json(&text).expect(name), record);
        }
        let nginx = r#"{"version":1,"memory_bytes":134217728,"cpus":1,"ports":["80/tcp"],"data":[],"firmware":["uefi","bios"],"network":"dhcp","services":[{"name":"nginx","ready":"http :80/"}],"secrets":[],"kernel":"6.1.0-1-cloud-amd64","suite":"bookworm","packages":[{"name":"libc6","version":"2.36-9"}]}"#;
        assert_eq!(record("nginx").to_json(1 << 16).expect("fits"), nginx);
    }

    #[test]
    fn packages_that_do_not_fit_are_counted() {
        let text = record("nginx").to_json(280).expect("fits without packages");
        let read = ApplianceRecord::from_json(&text).expect("a record");
        assert_eq!((read.packages.len(), read.more_packages), (0, 1));
        assert!(matches!(record("nginx").to_json(10), Err(RecordError::TooLong { limit: 10, .. })));
    }

    #[test]
    fn a_record_of_another_version_or_out_of_range_is_refused() {
        let good = record("redis").to_json(1 << 16).expect("fits");
        let changed = [
            ("\"version\":1", "\"version\":2"),
            ("\"cpus\":1", "\"cpus\":0"),
            ("\"cpus\":1", "\"cpus\":256"),
            ("\"cpus\":1", "\"cpus\":-1"),
            ("\"memory_bytes\":268435456", "\"memory_bytes\":268435457"),
            ("6379/tcp", "0/tcp"),
            ("6379/tcp", "6379/sctp"),
            ("\"size_bytes\":2147483648", "\"size_bytes\":0"),
            ("\"size_bytes\":2147483648", "\"size_bytes\":513"),
            ("\"version\":1,", ""),
        ];
        for (from, to) in changed {
            assert!(good.contains(from), "{from} in {good}");
            assert!(ApplianceRecord::from_json(&good.replace(from, to)).is_err(), "{to}");
        }
        assert!(ApplianceRecord::from_json(&good.replace("\"cpus\"", "\"later\":[1],\"cpus\"")).is_ok());
    }
}

//! The bill of materials as CycloneDX 1.5: <https://cyclonedx.org/docs/1.5/json/>.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::lock::{Lock, Package, PackageName};
use crate::sha256::Sha256;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    bom_format: &'static str,
    spec_version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    serial_number: Option<String>,
    version: u32,
    metadata: Metadata,
    components: Vec<Component>,
}

#[derive(Serialize)]
struct Metadata {
    timestamp: String,
    tools: Tools,
    component: Component,
}

#[derive(Serialize)]
struct Tools {
    components: Vec<Component>,
}

#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
struct Component {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(rename = "bom-ref", skip_serializing_if = "Option::is_none")]
    reference: Option<String>,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hashes: Vec<Hash>,
    #[serde(skip_serializing_if = "Option::is_none")]
    purl: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    properties: Vec<Property>,
}

#[derive(Serialize)]
struct Hash {
    alg: &'static str,
    content: String,
}

#[derive(Serialize)]
struct Property {
    name: &'static str,
    value: String,
}

/// Returns the bill of materials. `included` names the packages whose files went in; none means all of the lock's
/// packages. The kernel, the boot loader's packages, and files and OCI images of the machine that built are always
/// listed.
#[must_use]
pub fn cyclonedx(lock: &Lock, included: Option<&BTreeSet<PackageName>>) -> String {
    let mut document = Document {
        bom_format: "CycloneDX",
        spec_version: "1.5",
        serial_number: None,
        version: 1,
        metadata: metadata(lock),
        components: components(lock, included),
    };
    let serial = serial(&text(&document));
    document.serial_number = Some(serial);
    text(&document) + "\n"
}

fn text(document: &Document) -> String {
    serde_json::to_string_pretty(document).expect("keys are texts and values are texts and numbers")
}

fn metadata(lock: &Lock) -> Metadata {
    let tool = Component {
        kind: "application",
        name: "melv".to_owned(),
        version: Some(lock.recipe.to_string()),
        ..Component::default()
    };
    let appliance =
        Component { kind: "operating-system", name: "appliance".to_owned(), ..Component::default() };
    Metadata {
        timestamp: lock.epoch.to_string(),
        tools: Tools { components: vec![tool] },
        component: appliance,
    }
}

fn components(lock: &Lock, included: Option<&BTreeSet<PackageName>>) -> Vec<Component> {
    let is_included = |package: &Package| included.is_none_or(|included| included.contains(&package.name));
    let of_files =
        lock.packages.iter().filter(|package| is_included(package)).map(|package| ("files", package));
    let of_boot = lock.boot.iter().map(|package| ("boot", package));
    let of_kernel = lock.kernel.iter().flat_map(|kernel| &kernel.packages).map(|package| ("kernel", package));
    // A package may have several roles; a reference must be there once.
    let mut packages: BTreeMap<String, (&Package, BTreeSet<&'static str>)> = BTreeMap::new();
    for (role, package) in of_files.chain(of_boot).chain(of_kernel) {
        let reference = format!("{}#{}", purl(lock, package), package.sha256);
        packages.entry(reference).or_insert_with(|| (package, BTreeSet::new())).1.insert(role);
    }
    let mut components: Vec<Component> = packages
        .into_iter()
        .map(|(reference, (package, roles))| of_package(lock, reference, package, &roles))
        .collect();
    components.extend(lock.kernel.iter().map(|kernel| {
        let name = format!("kernel-{}", kernel.kind.name());
        file(name, "operating-system", &kernel.sha256)
    }));
    components.extend(lock.files.iter().map(|local| file(local.path.to_string(), "file", &local.sha256)));
    components
        .extend(lock.images.iter().map(|image| file(image.path.to_string(), "container", &image.config)));
    components
}

fn of_package(
    lock: &Lock,
    reference: String,
    package: &Package,
    roles: &BTreeSet<&'static str>,
) -> Component {
    let mut properties = vec![
        Property { name: "melv:source", value: package.source.to_string() },
        Property { name: "melv:source-version", value: package.source_version.to_string() },
    ];
    properties.extend(roles.iter().map(|role| Property { name: "melv:role", value: (*role).to_owned() }));
    Component {
        kind: "library",
        reference: Some(reference),
        name: package.name.to_string(),
        version: Some(package.version.to_string()),
        hashes: vec![hash(&package.sha256)],
        purl: Some(purl(lock, package)),
        properties,
    }
}

fn file(name: String, kind: &'static str, sha256: &Sha256) -> Component {
    Component {
        kind,
        reference: Some(format!("sha256:{sha256}#{name}")),
        name,
        hashes: vec![hash(sha256)],
        ..Component::default()
    }
}

fn hash(sha256: &Sha256) -> Hash {
    Hash { alg: "SHA-256", content: sha256.to_string() }
}

/// Returns the package URL: package-url's type `deb`, with the qualifiers `arch` and `distro`, in their order.
fn purl(lock: &Lock, package: &Package) -> String {
    let (name, version) = (encode(package.name.as_str()), encode(package.version.as_str()));
    let (machine, suite) = (package.architecture.name(), encode(lock.suite.as_str()));
    format!("pkg:deb/debian/{name}@{version}?arch={machine}&distro={suite}")
}

/// Encodes all but the unreserved letters and the colon, as the specification of package URLs asks for.
fn encode(text: &str) -> String {
    let sign = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'~' | b':' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(sign).collect()
}

/// Returns a UUID of version 8 (RFC 9562, section 5.8) from the SHA-256 of a text.
fn serial(text: &str) -> String {
    let mut bytes = *Sha256::of(text.as_bytes()).as_bytes();
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("urn:uuid:{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

//! The configuration of an image: document to value, pure.
//!
//! Layout: OCI Image Specification 1.1, `config.md`; `Healthcheck` as Docker's image specification 1.2 has it.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, de::IgnoredAny};

use super::error::OciError;

/// Facts that the maker of an image told of running it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ImageConfig {
    /// Program and first arguments.
    pub entrypoint: Vec<String>,
    /// Arguments, or program and arguments where there is no entry point.
    pub cmd: Vec<String>,
    /// Environment: name and value, in order.
    pub env: Vec<(String, String)>,
    /// User and group, by name or number: `USER`, `USER:GROUP`, or empty.
    pub user: String,
    /// Working folder, or empty.
    pub working_dir: String,
    /// Ports.
    pub exposed_ports: Vec<Port>,
    /// Folders with data.
    pub volumes: Vec<String>,
    /// Signal that asks for the end, as `SIGTERM` or `15`.
    pub stop_signal: Option<String>,
    /// Health check.
    pub health_check: Option<HealthCheck>,
}

/// A port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port {
    /// Number, from 1.
    pub number: u16,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
}

/// A command that tells whether the program works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// The command.
    pub test: HealthTest,
    /// Time between two checks.
    pub interval: Option<Duration>,
    /// Time after which a check has failed.
    pub timeout: Option<Duration>,
}

/// Form of a check's command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HealthTest {
    /// No check, although an image below has one.
    None,
    /// Program and arguments.
    Command(Vec<String>),
    /// Text for the shell.
    Shell(String),
}

/// The document.
#[derive(Debug, Deserialize)]
pub(super) struct Document {
    #[serde(default)]
    pub(super) architecture: String,
    #[serde(default)]
    pub(super) os: String,
    pub(super) rootfs: RootFs,
    config: Option<Config>,
}

/// Digests of the layers, unpacked.
#[derive(Debug, Deserialize)]
pub(super) struct RootFs {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) diff_ids: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    user: Option<String>,
    exposed_ports: Option<BTreeMap<String, IgnoredAny>>,
    env: Option<Vec<String>>,
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    volumes: Option<BTreeMap<String, IgnoredAny>>,
    working_dir: Option<String>,
    stop_signal: Option<String>,
    healthcheck: Option<Health>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Health {
    test: Option<Vec<String>>,
    interval: Option<i64>,
    timeout: Option<i64>,
}

/// Returns the facts of a document.
pub(super) fn of(document: Document) -> Result<ImageConfig, OciError> {
    let Some(config) = document.config else { return Ok(ImageConfig::default()) };
    let ports = config.exposed_ports.unwrap_or_default();
    Ok(ImageConfig {
        entrypoint: texts("Entrypoint", config.entrypoint)?,
        cmd: texts("Cmd", config.cmd)?,
        env: texts("Env", config.env)?.into_iter().map(variable).collect::<Result<_, _>>()?,
        user: text("User", config.user.unwrap_or_default())?,
        working_dir: text("WorkingDir", config.working_dir.unwrap_or_default())?,
        exposed_ports: ports.into_keys().map(port).collect::<Result<_, _>>()?,
        volumes: config.volumes.unwrap_or_default().into_keys().map(volume).collect::<Result<_, _>>()?,
        stop_signal: config.stop_signal.filter(|signal| !signal.is_empty()).map(signal).transpose()?,
        health_check: config.healthcheck.map(health).transpose()?.flatten(),
    })
}

/// Refuses a NUL, which no argument of a program can have.
fn text(field: &'static str, value: String) -> Result<String, OciError> {
    if value.contains('\0') { Err(OciError::Config { field, value }) } else { Ok(value) }
}

fn texts(field: &'static str, values: Option<Vec<String>>) -> Result<Vec<String>, OciError> {
    values.unwrap_or_default().into_iter().map(|value| text(field, value)).collect()
}

fn variable(value: String) -> Result<(String, String), OciError> {
    match value.split_once('=') {
        Some((name, found)) if !name.is_empty() => Ok((name.to_owned(), found.to_owned())),
        _ => Err(OciError::Config { field: "Env", value }),
    }
}

fn port(value: String) -> Result<Port, OciError> {
    let (number, protocol) = value.split_once('/').unwrap_or((&value, "tcp"));
    let known =
        ["tcp", "udp", "sctp"].contains(&protocol) && number.bytes().all(|byte| byte.is_ascii_digit());
    match number.parse() {
        Ok(number) if known && number > 0 => Ok(Port { number, protocol: protocol.to_owned() }),
        _ => Err(OciError::Config { field: "ExposedPorts", value }),
    }
}

fn volume(value: String) -> Result<String, OciError> {
    let climbs = value.split('/').any(|name| name == "..");
    if value.starts_with('/') && !climbs && !value.contains('\0') {
        Ok(value)
    } else {
        Err(OciError::Config { field: "Volumes", value })
    }
}

fn signal(value: String) -> Result<String, OciError> {
    if value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-".contains(&byte)) {
        Ok(value)
    } else {
        Err(OciError::Config { field: "StopSignal", value })
    }
}

/// Returns a check. Without a test it is inherited from an image below, whose values are in this one already.
fn health(health: Health) -> Result<Option<HealthCheck>, OciError> {
    let time = |field, nanoseconds: Option<i64>| match nanoseconds {
        None | Some(0) => Ok(None),
        Some(count) => match u64::try_from(count) {
            Ok(count) => Ok(Some(Duration::from_nanos(count))),
            Err(_) => Err(OciError::Config { field, value: count.to_string() }),
        },
    };
    let (interval, timeout) =
        (time("Healthcheck.Interval", health.interval)?, time("Healthcheck.Timeout", health.timeout)?);
    let test = texts("Healthcheck.Test", health.test)?;
    let test = match test.split_first() {
        None => return Ok(None),
        Some((kind, [])) if kind == "NONE" => HealthTest::None,
        Some((kind, command)) if kind == "CMD" && !command.is_empty() => {
            HealthTest::Command(command.to_vec())
        }
        Some((kind, [command])) if kind == "CMD-SHELL" => HealthTest::Shell(command.clone()),
        Some((kind, _)) => return Err(OciError::Config { field: "Healthcheck.Test", value: kind.clone() }),
    };
    Ok(Some(HealthCheck { test, interval, timeout }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(config: &str) -> Result<ImageConfig, OciError> {
        let text = format!(r#"{{"rootfs":{{"type":"layers"}},"config":{config}}}"#);
        of(serde_json::from_str(&text).unwrap())
    }

    #[test]
    fn a_configuration_becomes_a_value() {
        let config = parsed(
            r#"{"User":"app:1","ExposedPorts":{"80":{},"53/udp":{}},"Env":["A=b=c","E="],"Entrypoint":["/x"],
            "Cmd":null,"Volumes":{"/data":{}},"WorkingDir":"/w","StopSignal":"SIGRTMIN+3",
            "Healthcheck":{"Test":["CMD-SHELL","curl x"],"Interval":5000000000,"Timeout":0},"Labels":{"a":"b"}}"#,
        )
        .unwrap();
        let port = |number, protocol: &str| Port { number, protocol: protocol.to_owned() };
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let expected = ImageConfig {
            entrypoint: vec!["/x".to_owned()],
            cmd: vec![],
            env: vec![pair("A", "b=c"), pair("E", "")],
            user: "app:1".to_owned(),
            working_dir: "/w".to_owned(),
            exposed_ports: vec![port(53, "udp"), port(80, "tcp")],
            volumes: vec!["/data".to_owned()],
            stop_signal: Some("SIGRTMIN+3".to_owned()),
            health_check: Some(HealthCheck {
                test: HealthTest::Shell("curl x".to_owned()),
                interval: Some(Duration::from_secs(5)),
                timeout: None,
            }),
        };
        assert_eq!(config, expected);
        assert_eq!(parsed("null").unwrap(), ImageConfig::default());
    }

    #[test]
    fn values_that_cannot_be_are_refused_with_their_field() {
        for (config, expected) in [
            (r#"{"ExposedPorts":{"0/tcp":{}}}"#, "ExposedPorts"),
            (r#"{"ExposedPorts":{"65536":{}}}"#, "ExposedPorts"),
            (r#"{"ExposedPorts":{"+80":{}}}"#, "ExposedPorts"),
            (r#"{"ExposedPorts":{"80/x":{}}}"#, "ExposedPorts"),
            (r#"{"Env":["A"]}"#, "Env"),
            (r#"{"Env":["=x"]}"#, "Env"),
            (r#"{"Cmd":["a\u0000b"]}"#, "Cmd"),
            (r#"{"Volumes":{"data":{}}}"#, "Volumes"),
            (r#"{"Volumes":{"/a/../..":{}}}"#, "Volumes"),
            (r#"{"StopSignal":"x y"}"#, "StopSignal"),
            (r#"{"Healthcheck":{"Test":["RUN"]}}"#, "Healthcheck.Test"),
            (r#"{"Healthcheck":{"Test":["CMD"]}}"#, "Healthcheck.Test"),
            (r#"{"Healthcheck":{"Test":["NONE"],"Interval":-1}}"#, "Healthcheck.Interval"),
        ] {
            let Err(OciError::Config { field, .. }) = parsed(config) else { panic!("{config}") };
            assert_eq!(field, expected);
        }
    }
}

//! Services, setup commands and the check.

use std::time::Duration;

use super::{
    super::{
        fault::{Fault, Rule, Spot, nearest, quoted},
        names::{self, MAX_NAME, Signal},
        paths::AbsolutePath,
        reader::{Section, Value},
        units::{decimal, duration, port_number},
        users::Owner,
        value::{Capabilities, Limit, Program, Ready, Restart, Service, Setup},
    },
    Context, check as rules,
};

const SETUP_KEYS: &[&str] =
    &["name", "command", "user", "env", "workdir", "capabilities", "limits", "creates"];
const SERVICE_KEYS: &[&str] = &[
    "name",
    "command",
    "user",
    "env",
    "workdir",
    "capabilities",
    "limits",
    "depends",
    "restart",
    "stop",
    "ready",
    "console",
    "exit",
];
/// Services, and setup commands, at most.
const MAX_PROGRAMS: usize = 64;
/// Longest word of a command in bytes: `MAX_ARG_STRLEN` of Linux without its NUL.
const MAX_WORD: usize = 131_071;

/// Reads a command: an absolute program and its arguments.
fn command(value: &Value<'_>) -> Result<Vec<String>, Fault> {
    let words = value.list()?;
    let Some(program) = words.first() else {
        return Err(value
            .fault(Rule::Value { expected: "a program and its arguments", found: "an empty list".into() }));
    };
    program.parse(AbsolutePath::parse)?;
    let word = |text: &str| {
        let good = text.len() <= MAX_WORD && !text.contains('\0');
        let fault = || Rule::Value { expected: "a word without NUL, below 128 KiB", found: quoted(text) };
        good.then(|| text.to_owned()).ok_or_else(fault)
    };
    words.iter().map(|value| value.parse(word)).collect()
}

fn program(context: &Context<'_>, section: &Section<'_>) -> Result<Program, Fault> {
    let environment = section.optional("env", environment)?;
    Ok(Program {
        command: command(&section.require("command")?)?,
        user: section.optional("user", |value| context.users.owner(value))?.unwrap_or(Owner::ROOT),
        environment: environment.unwrap_or_default(),
        work_folder: section.optional("workdir", |value| value.parse(AbsolutePath::parse))?,
        capabilities: section.optional("capabilities", capabilities)?.unwrap_or(Capabilities::Usual),
        limits: section.optional("limits", limits)?.unwrap_or_default(),
    })
}

fn environment(value: &Value<'_>) -> Result<Vec<(String, String)>, Fault> {
    let read = |(spot, name, value): &(Spot, &str, Value<'_>)| {
        let name = names::variable(name).map_err(|rule| spot.fault(rule))?;
        let text = value.text_or_integer()?;
        if text.contains('\0') || text.len() > MAX_WORD {
            return Err(value
                .fault(Rule::Value { expected: "a value without NUL, below 128 KiB", found: quoted(text) }));
        }
        Ok((name, text.to_owned()))
    };
    value.pairs()?.iter().map(read).collect()
}

fn capabilities(value: &Value<'_>) -> Result<Capabilities, Fault> {
    let entries = value.list()?;
    if let [only] = entries.as_slice()
        && only.text()? == "all"
    {
        return Ok(Capabilities::All);
    }
    let mut names: Vec<&'static str> = Vec::new();
    for entry in entries {
        let name = entry.parse(names::capability)?;
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(Capabilities::These(names))
}

fn limits(value: &Value<'_>) -> Result<Vec<Limit>, Fault> {
    let read = |(spot, name, value): &(Spot, &str, Value<'_>)| {
        let resource = names::limit(name).map_err(|rule| spot.fault(rule))?;
        let text = value.text_or_integer()?;
        let (soft, hard) = text.split_once(':').unwrap_or((text, text));
        let number = |text: &str| match text {
            "unlimited" => Some(None),
            _ => decimal(text).filter(|number| *number < u64::MAX).map(Some),
        };
        let in_order =
            |soft: Option<u64>, hard: Option<u64>| soft.unwrap_or(u64::MAX) <= hard.unwrap_or(u64::MAX);
        match (number(soft), number(hard)) {
            (Some(soft), Some(hard)) if in_order(soft, hard) => Ok(Limit { resource, soft, hard }),
            _ => {
                let expected = "a limit as 65536, \"unlimited\" or \"1024:65536\" (in force, and at most)";
                Err(value.fault(Rule::Value { expected, found: quoted(text) }))
            }
        }
    };
    value.pairs()?.iter().map(read).collect()
}

pub(super) fn setups(context: &Context<'_>, document: &Section<'_>) -> Result<Vec<Setup>, Fault> {
    let tables = document.tables("setup", SETUP_KEYS)?;
    at_most(document, "setup", tables.len())?;
    let setup = |section: &Section<'_>| {
        let program = program(context, section)?;
        let told = section.optional("name", |value| value.parse(|text| names::name(text, MAX_NAME)))?;
        let file = program.command.first().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
        let name = told.or_else(|| names::name(file, MAX_NAME).ok()).unwrap_or_else(|| "setup".to_owned());
        let creates = section.optional("creates", |value| value.parse(AbsolutePath::parse))?;
        Ok(Setup { name, program, creates })
    };
    tables.iter().map(setup).collect()
}

pub(super) fn services(
    context: &Context<'_>,
    document: &Section<'_>,
    image: bool,
) -> Result<Vec<Service>, Fault> {
    let tables = document.tables("service", SERVICE_KEYS)?;
    at_most(document, "service", tables.len())?;
    // An image of another origin may bring its own.
    if tables.is_empty() && !image {
        return Err(document.spot.fault(Rule::Missing("service")));
    }
    let mut seen: Vec<(String, Spot)> = Vec::new();
    let mut services = Vec::new();
    for section in &tables {
        let value = section.require("name")?;
        let name = value.parse(|text| names::name(text, MAX_NAME))?;
        context.unique("the service", &mut seen, &name, &value.spot)?;
        services.push(service(context, section, name)?);
    }
    for (section, index) in tables.iter().zip(0..) {
        known_dependencies(section, &services, index)?;
    }
    sole(context, &tables, "console")?;
    sole(context, &tables, "exit")?;
    rules::no_circle(&tables, &services)?;
    Ok(services)
}

fn service(context: &Context<'_>, section: &Section<'_>, name: String) -> Result<Service, Fault> {
    let (ready, ready_within) =
        section.optional("ready", ready)?.unwrap_or((Ready::Started, Duration::from_secs(60)));
    let (stop_signal, stop_timeout) =
        section.optional("stop", stop)?.unwrap_or((Signal::TERM, Duration::from_secs(10)));
    let exit = section.boolean("exit", false)?;
    let told = section.optional("restart", |value| value.parse(restart))?;
    if let (true, Some(Restart::OnFailure | Restart::Always), Some(value)) =
        (exit, told, section.get("restart"))
    {
        return Err(value.fault(Rule::Value {
            expected: "\"never\", since `exit` makes its end the machine's",
            found: quoted(value.text()?),
        }));
    }
    let depends = section.optional("depends", |value| value.each(|entry| entry.text().map(str::to_owned)))?;
    Ok(Service {
        name,
        program: program(context, section)?,
        depends: depends.unwrap_or_default(),
        restart: told.unwrap_or(if exit { Restart::Never } else { Restart::OnFailure }),
        stop_signal,
        stop_timeout,
        ready,
        ready_within,
        console: section.boolean("console", false)?,
        exit,
    })
}

fn restart(text: &str) -> Result<Restart, Rule> {
    match text {
        "never" => Ok(Restart::Never),
        "on-failure" => Ok(Restart::OnFailure),
        "always" => Ok(Restart::Always),
        _ => Err(Rule::Value { expected: "\"never\", \"on-failure\" or \"always\"", found: quoted(text) }),
    }
}

fn stop(value: &Value<'_>) -> Result<(Signal, Duration), Fault> {
    let section = value.table(&["signal", "timeout"])?;
    let signal = section.optional("signal", |value| value.parse(Signal::parse))?.unwrap_or(Signal::TERM);
    let timeout = section.optional("timeout", |value| value.parse(duration))?;
    Ok((signal, timeout.unwrap_or(Duration::from_secs(10))))
}

fn ready(value: &Value<'_>) -> Result<(Ready, Duration), Fault> {
    let section = value.table(&["http", "tcp", "exec", "within"])?;
    section.exclusive("http", "tcp")?;
    section.exclusive("http", "exec")?;
    section.exclusive("tcp", "exec")?;
    let http = section.optional("http", |value| value.parse(http))?;
    let tcp = section.optional("tcp", |value| value.parse(tcp))?;
    let exec = section.optional("exec", command)?.map(Ready::Exec);
    let within = section.optional("within", |value| value.parse(duration))?;
    let sign = http.or(tcp).or(exec).unwrap_or(Ready::Started);
    Ok((sign, within.unwrap_or(Duration::from_secs(60))))
}

fn http(text: &str) -> Result<Ready, Rule> {
    let read = || {
        let rest = text.strip_prefix(':')?;
        let (port, path) = rest.split_at(rest.find('/')?);
        // The path goes into a request as it is.
        let good = path.len() <= 4095 && path.bytes().all(|byte| byte.is_ascii_graphic());
        let port = port_number(port).filter(|_| good)?;
        Some(Ready::Http { port, path: path.to_owned() })
    };
    read().ok_or_else(|| Rule::Value { expected: "a port and a path as \":80/\"", found: quoted(text) })
}

fn tcp(text: &str) -> Result<Ready, Rule> {
    let port = text.strip_prefix(':').and_then(port_number);
    port.map(Ready::Tcp).ok_or_else(|| Rule::Value { expected: "a port as \":5432\"", found: quoted(text) })
}

/// Refuses a second service with `key = true`.
fn sole(context: &Context<'_>, tables: &[Section<'_>], key: &'static str) -> Result<(), Fault> {
    let mut first: Option<Spot> = None;
    for section in tables {
        let Some(value) = section.get(key) else { continue };
        if !value.boolean()? {
            continue;
        }
        if let Some(first) = &first {
            let first_line = context.line(first);
            return Err(value.fault(Rule::Twice {
                thing: "the service with",
                name: format!("`{key}`"),
                first_line,
            }));
        }
        first = Some(value.spot);
    }
    Ok(())
}

fn known_dependencies(section: &Section<'_>, services: &[Service], index: usize) -> Result<(), Fault> {
    let Some(list) = section.get("depends") else {
        return Ok(());
    };
    for entry in list.list()? {
        let text = entry.text()?;
        let others =
            || services.iter().zip(0..).filter(|(_, at)| *at != index).map(|(other, _)| other.name.as_str());
        if !others().any(|name| name == text) {
            let nearest = nearest(text, others()).map(str::to_owned);
            return Err(entry.fault(Rule::Undeclared {
                thing: "other service",
                name: quoted(text),
                nearest,
            }));
        }
    }
    Ok(())
}

fn at_most(document: &Section<'_>, key: &'static str, found: usize) -> Result<(), Fault> {
    match document.get(key) {
        Some(value) if found > MAX_PROGRAMS => Err(value.fault(Rule::TooMany { found, limit: MAX_PROGRAMS })),
        _ => Ok(()),
    }
}

pub(super) fn check(document: &Section<'_>) -> Result<Option<Vec<String>>, Fault> {
    let Some(table) = document.get("check") else {
        return Ok(None);
    };
    command(&table.table(&["command"])?.require("command")?).map(Some)
}

//! The log, in the form its readers expect: plain lines for people, `<N>` lines for a service manager, and
//! syslog messages for the system's log.
//!
//! A journal and a syslog read the severity from a prefix, so the text leaves it out. A message is a single
//! line there: no file name or client input in it can start another one.

use std::fmt;
use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicU8, Ordering};

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::{Format, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::color::is_colored;
use crate::globals::Globals;
use crate::heard::Heard;

/// The severities of syslog (RFC 5424, section 6.2.1), also used by journals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Urgency {
    /// A failure.
    Error = 3,
    /// A peculiarity.
    Warning = 4,
    /// General information.
    Info = 6,
    /// Details for debugging.
    Debug = 7,
}

/// The syslog facility of system services, in its shifted form.
const DAEMON: u8 = 3 << 3;

/// The form of the messages: one of the constants below.
static FORM: AtomicU8 = AtomicU8::new(PLAIN);
const PLAIN: u8 = 0;
const MANAGED: u8 = 1;
const SYSLOG: u8 = 2;

/// Sends the library's log to standard error, at the level that the options ask for. A service manager may
/// read the standard error of a service; that of any other command belongs to its caller.
pub fn start(globals: &Globals, is_service: bool) {
    if is_service && !globals.json && is_managed() {
        FORM.store(MANAGED, Ordering::Relaxed);
    }
    let level = match (globals.quiet, globals.verbose) {
        (true, _) => Level::ERROR,
        (false, 0) => Level::WARN,
        (false, 1) => Level::INFO,
        (false, _) => Level::DEBUG,
    };
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        // Do not panic when the log has no reader any more.
        .log_internal_errors(false)
        .with_ansi(is_colored(globals.color))
        .event_format(Lines)
        .with_filter(LevelFilter::from_level(level));
    let heard = globals.json.then(|| Heard.with_filter(LevelFilter::WARN));
    tracing_subscriber::registry().with(lines).with(heard).init();
}

/// Switches to syslog messages, one a write, once standard error is the system's log.
pub fn is_syslog_now() {
    FORM.store(SYSLOG, Ordering::Relaxed);
}

/// Whether standard error goes to a service manager's log.
fn is_managed() -> bool {
    let stream = std::env::var("JOURNAL_STREAM").ok();
    let is_journal = stream.is_some_and(|stream| {
        rustix::fs::fstat(std::io::stderr())
            .is_ok_and(|stat| stream == format!("{}:{}", stat.st_dev, stat.st_ino))
    });
    let is_unit = std::env::var_os("INVOCATION_ID").is_some_and(|id| !id.is_empty());
    is_journal || is_unit && !std::io::stderr().is_terminal()
}

/// Writes lines to standard error. Ignores failures: there is no other place to report them.
pub fn write(urgency: Urgency, text: &str) {
    let form = FORM.load(Ordering::Relaxed);
    if form == PLAIN {
        let _ = writeln!(std::io::stderr(), "{text}");
        return;
    }
    for line in text.lines() {
        // A syslog message already starts with the name of the program.
        let line = line.strip_prefix("melv: ").filter(|_| form == SYSLOG).unwrap_or(line);
        let _ = std::io::stderr().write_all(framed(form, urgency, line).as_bytes());
    }
}

/// Prints a line on standard error. Ignores a closed one: there is nobody left to tell.
pub fn note(line: &str) {
    write(Urgency::Info, line);
}

/// Formats a message for the log.
fn framed(form: u8, urgency: Urgency, text: &str) -> String {
    let text = one_line(text);
    match form {
        SYSLOG => format!("<{}>melv[{}]: {text}", DAEMON | urgency as u8, std::process::id()),
        _ => format!("<{}>{text}\n", urgency as u8),
    }
}

/// Returns the text with all control characters except tabs escaped.
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for char in text.trim_end().chars() {
        match char {
            '\t' => line.push(char),
            char if char.is_control() => line.extend(char.escape_default()),
            char => line.push(char),
        }
    }
    line
}

/// The formatter of the library's messages.
struct Lines;

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let format = Format::default().without_time().with_target(false);
        let form = FORM.load(Ordering::Relaxed);
        if form == PLAIN {
            return format.format_event(context, writer, event);
        }
        let urgency = match *event.metadata().level() {
            Level::ERROR => Urgency::Error,
            Level::WARN => Urgency::Warning,
            Level::INFO => Urgency::Info,
            _ => Urgency::Debug,
        };
        let mut text = String::new();
        format.with_level(false).format_event(context, Writer::new(&mut text), event)?;
        writer.write_str(&framed(form, urgency, &text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_that_says_how_urgent_it_is() {
        assert_eq!(framed(MANAGED, Urgency::Error, "a read failed"), "<3>a read failed\n");
        assert_eq!(framed(MANAGED, Urgency::Warning, "odd\n"), "<4>odd\n");
        let syslog = framed(SYSLOG, Urgency::Error, "a read failed\n");
        assert_eq!(syslog, format!("<27>melv[{}]: a read failed", std::process::id()));
        assert!(framed(SYSLOG, Urgency::Info, "x").starts_with("<30>melv["));
        assert!(framed(SYSLOG, Urgency::Debug, "x").starts_with("<31>melv["));
    }

    #[test]
    fn nothing_in_a_message_can_begin_another() {
        let name = "disk\n<0>kernel: panic\r\x1b[31m\0";
        assert_eq!(framed(MANAGED, Urgency::Error, name), "<3>disk\\n<0>kernel: panic\\r\\u{1b}[31m\\u{0}\n");
        assert!(!framed(SYSLOG, Urgency::Error, name).contains(['\n', '\r', '\x1b', '\0']));
    }
}

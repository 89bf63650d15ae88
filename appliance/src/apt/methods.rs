//! The messages of apt's methods, which fetch and verify its lists. Pure.
//!
//! Apt says with one exit code whether a name server, a signature or a suite was at fault, and the rest in words. Its
//! methods speak a protocol with numbers and fields ("APT method interface", in the package libapt-pkg-doc), which
//! `Debug::pkgAcquire::Worker` prints: ` <- METHOD:400%20URI%20Failure%0aFailReason:%20HttpError404%0aURI:%20...`.

use std::collections::BTreeMap;

use super::uris::decode;

/// Numbers of messages: a file has come, it has not, it is asked for.
const DONE: u32 = 201;
const FAILURE: u32 = 400;
const ACQUIRE: u32 = 600;

/// A failure of a method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// Cause.
    pub cause: Cause,
    /// Address.
    pub uri: String,
    /// The reason in words.
    pub message: String,
}

/// Cause of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cause {
    /// A signature was not accepted, or a file has another digest.
    Signature,
    /// HTTP's status.
    Status(u16),
    /// A server did not answer.
    Unreachable,
}

/// A message: method, number and fields.
struct Message<'a> {
    method: &'a str,
    number: u32,
    text: String,
}

impl<'a> Message<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let rest = line.strip_prefix(" <- ").or_else(|| line.strip_prefix(" -> "))?;
        let (method, message) = rest.split_once(':')?;
        let text = decode(message)?;
        let number = text.split(' ').next()?.parse().ok()?;
        Some(Self { method, number, text })
    }

    fn field(&self, name: &str) -> &str {
        let mut fields = self.text.lines().filter_map(|line| line.split_once(": "));
        fields.find(|(key, _)| *key == name).map_or("", |(_, value)| value.trim())
    }
}

/// Finds all failures in the output of apt.
pub(crate) fn failures(output: &str) -> Vec<Failure> {
    let mut expected = BTreeMap::new();
    let mut failures = Vec::new();
    for message in output.lines().filter_map(Message::parse) {
        let uri = message.field("URI").to_owned();
        match message.number {
            FAILURE => failures.push(failure(&message)),
            ACQUIRE => drop(expected.insert(uri, message.field("Expected-SHA256").to_owned())),
            DONE => {
                // Apt itself compares, and tells its finding in prose alone.
                let found = message.field("SHA256-Hash");
                let expected = expected.get(&uri).map_or("", String::as_str);
                if !found.is_empty() && !expected.is_empty() && found != expected {
                    let message = format!("its SHA-256 is {found}, expected {expected}");
                    failures.push(Failure { cause: Cause::Signature, uri, message });
                }
            }
            _ => {}
        }
    }
    failures
}

fn failure(message: &Message<'_>) -> Failure {
    let reason = message.field("FailReason");
    let status = reason.strip_prefix("HttpError").and_then(|digits| digits.parse().ok());
    let cause = match (message.method, status) {
        ("gpgv" | "sqv", _) => Cause::Signature,
        // Servers that are overloaded: later, they answer.
        (_, Some(500..)) => Cause::Unreachable,
        (_, Some(status)) => Cause::Status(status),
        // The signed list tells the size, so that this file is another one.
        (_, None) if reason == "MaximumSizeExceeded" => Cause::Signature,
        ("http" | "https" | "tor" | "connect", None) => Cause::Unreachable,
        // Methods that unpack a list that has come.
        (_, None) => Cause::Signature,
    };
    Failure { cause, uri: message.field("URI").to_owned(), message: message.field("Message").to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_apt_2_6_are_told_apart() {
        let output = "Get:1 x\n \
            <- http:102%20Status%0aURI:%20http://h/x\n \
            <- http:400%20URI%20Failure%0aTransient-Failure:%20true%0aFailReason:%20ResolveFailure%0aMessage:%20Could%20not%20resolve%20'h'%0aURI:%20http://h/InRelease\n \
            <- http:400%20URI%20Failure%0aFailReason:%20HttpError404%0aMessage:%20404%20%20Not%20Found%0aURI:%20http://h/Release\n \
            <- gpgv:400%20URI%20Failure%0aMessage:%20NO_PUBKEY%206ED0%20%0aURI:%20gpgv:/x/partial/h_InRelease\n \
            <- http:400%\n <- \n <- http\n";
        let causes: Vec<Cause> = failures(output).iter().map(|failure| failure.cause).collect();
        assert_eq!(causes, [Cause::Unreachable, Cause::Status(404), Cause::Signature]);
        assert_eq!(failures(output)[0].message, "Could not resolve 'h'");
        assert_eq!(failures(output)[2].uri, "gpgv:/x/partial/h_InRelease");
    }

    #[test]
    fn a_list_with_another_digest_is_found_by_both_messages() {
        let output = " -> http:600%20URI%20Acquire%0aURI:%20http://h/a%0aExpected-SHA256:%20aa\n \
            <- http:201%20URI%20Done%0aURI:%20http://h/a%0aSHA256-Hash:%20bb\n \
            -> http:600%20URI%20Acquire%0aURI:%20http://h/b%0aExpected-SHA256:%20cc\n \
            <- http:201%20URI%20Done%0aURI:%20http://h/b%0aSHA256-Hash:%20cc\n \
            <- http:201%20URI%20Done%0aURI:%20http://h/c%0aSHA256-Hash:%20dd\n";
        let found = failures(output);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].cause, found[0].uri.as_str()), (Cause::Signature, "http://h/a"));
    }
}

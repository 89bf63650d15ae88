//! One address over HTTP.

use std::io::{self, Read, Write};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustls::crypto::aws_lc_rs;
use ureq::http::Response;
use ureq::http::header::LOCATION;
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};
use ureq::{Agent, Body, Timeout};

use super::error::Reason;
use super::redirect;
use crate::sha256::{Hasher, Sha256};

/// Bytes that are read at a time.
const STEP_BYTES: usize = 1 << 16;

/// Redirects from one address.
const MAX_REDIRECTS: usize = 5;

/// Time limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Times {
    pub connect: Duration,
    pub idle: Duration,
    pub total: Duration,
}

/// A client of HTTP. It takes proxies from the environment, and the certificates that this machine trusts.
#[derive(Debug)]
pub(super) struct Client {
    times: Times,
    agent: OnceLock<Agent>,
}

/// A failure of one address: its own, or one that ends everything.
pub(super) enum Fault {
    Address(Reason),
    Write(io::Error),
    Stopped,
}

impl From<Reason> for Fault {
    fn from(reason: Reason) -> Self {
        Self::Address(reason)
    }
}

impl Client {
    pub(super) fn new(times: Times) -> Self {
        Self { times, agent: OnceLock::new() }
    }

    /// Writes the file with this digest and size to `output`, or fails. `on_bytes` gets the number of each step's
    /// bytes, and says whether to go on.
    pub(super) fn download(
        &self,
        url: &str,
        sha256: &Sha256,
        size: u64,
        output: &mut impl Write,
        on_bytes: &mut dyn FnMut(u64) -> bool,
    ) -> Result<(), Fault> {
        let response = self.ask(url)?;
        match response.status().as_u16() {
            200 => {}
            404 | 410 => return Err(Reason::Gone.into()),
            status => return Err(Reason::Status(status).into()),
        }
        let body = response.into_body();
        match body.content_length() {
            Some(length) if length > size => return Err(Reason::Long { expected: size }.into()),
            Some(length) if length < size => {
                return Err(Reason::Short { found: length, expected: size }.into());
            }
            _ => {}
        }
        copy(body.into_reader(), sha256, size, output, on_bytes)
    }
}

impl Client {
    /// Asks for an address, and for those that it leads to. The client's library would follow redirects itself, but
    /// takes the address of another scheme for a path on the same server.
    fn ask(&self, url: &str) -> Result<Response<Body>, Reason> {
        let agent = self.agent.get_or_init(|| agent(&self.times));
        let mut url = url.to_owned();
        for _ in 0..=MAX_REDIRECTS {
            let response = agent.get(&url).call().map_err(reason)?;
            let location = response.headers().get(LOCATION);
            match (response.status().as_u16(), location) {
                (301 | 302 | 303 | 307 | 308, Some(location)) => {
                    let location = location.to_str().ok();
                    url = location
                        .and_then(|location| redirect::resolve(&url, location))
                        .ok_or(Reason::Scheme)?;
                }
                _ => return Ok(response),
            }
        }
        Err(Reason::Redirects)
    }
}

fn copy(
    mut input: impl Read,
    sha256: &Sha256,
    size: u64,
    output: &mut impl Write,
    on_bytes: &mut dyn FnMut(u64) -> bool,
) -> Result<(), Fault> {
    let mut hasher = Hasher::default();
    let mut buffer = vec![0; STEP_BYTES];
    let mut done: u64 = 0;
    loop {
        let count = match input.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // A connection that ends early: the number of bytes says more than its error.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(reason(ureq::Error::from(error)).into()),
        };
        done = done.saturating_add(count as u64);
        if done > size {
            return Err(Reason::Long { expected: size }.into());
        }
        hasher.update(&buffer[..count]);
        output.write_all(&buffer[..count]).map_err(Fault::Write)?;
        if !on_bytes(count as u64) {
            return Err(Fault::Stopped);
        }
    }
    let (found, count) = hasher.finish();
    if count < size {
        return Err(Reason::Short { found: count, expected: size }.into());
    }
    if found != *sha256 {
        return Err(Reason::Changed { found, expected: *sha256 }.into());
    }
    Ok(())
}

fn agent(times: &Times) -> Agent {
    // Certificates that cannot be read are left out: a server that needs them is refused later, by name.
    let certificates = rustls_native_certs::load_native_certs().certs;
    let roots = certificates.iter().map(|der| Certificate::from_der(der.as_ref()).to_owned());
    let tls = TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(Arc::new(aws_lc_rs::default_provider()))
        .root_certs(RootCerts::from(roots))
        .build();
    Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_resolve(Some(times.connect))
        .timeout_connect(Some(times.connect))
        .timeout_recv_response(Some(times.idle))
        .timeout_per_read(Some(times.idle))
        .timeout_global(Some(times.total))
        .user_agent(concat!("melv/", env!("CARGO_PKG_VERSION")))
        .tls_config(tls)
        .build()
        .into()
}

fn reason(error: ureq::Error) -> Reason {
    match error {
        ureq::Error::Timeout(Timeout::Global | Timeout::PerCall) => Reason::Time("all"),
        ureq::Error::Timeout(Timeout::Connect | Timeout::Resolve) => Reason::Time("connecting"),
        ureq::Error::Timeout(_) => Reason::Time("waiting for the next bytes"),
        error => Reason::Http(Box::new(error)),
    }
}

//! The network of the machine.

use std::{
    net::{IpAddr, Ipv4Addr},
    os::fd::BorrowedFd,
    time::Duration,
};

use super::{
    dhcp_link::{Change, DhcpLink},
    link::{self, Link},
    resolver,
    time::Time,
};
use crate::{
    config::{self, Config, StaticNetwork, TimeServers},
    dhcp::{Lease, Route},
    report::Report,
};

/// Time that services wait for an address. After it they start without one.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pause between two looks for an interface or its cable.
const PAUSE: Duration = Duration::from_millis(10);
const LONG_PAUSE: Duration = Duration::from_secs(1);

/// A file of the network that the loop waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkFile {
    /// Messages of DHCP.
    Dhcp,
    /// Messages of a time server.
    Time,
}

/// The network of the machine.
#[derive(Debug)]
pub struct Network {
    wanted: config::Network,
    servers: TimeServers,
    host_name: String,
    link: Option<Link>,
    dhcp: Option<DhcpLink>,
    time: Option<Time>,
    settled: bool,
    /// Time of the next look for an interface or its cable; none once both are there.
    look: Option<Duration>,
    patience_ends: Duration,
    reports: Vec<Report>,
}

impl Network {
    /// Turns the loopback on and begins with the interface.
    pub fn start(config: &Config, now: Duration) -> Self {
        let mut network = Self {
            wanted: config.network.clone(),
            servers: config.time.clone(),
            host_name: config.hostname.clone(),
            link: None,
            dhcp: None,
            time: None,
            settled: config.network == config::Network::None,
            look: (config.network != config::Network::None).then_some(now),
            patience_ends: now + PATIENCE,
            reports: Vec::new(),
        };
        if let Err(error) = link::loopback() {
            network.reports.push(Report::Note(format!("loopback: {error}")));
        }
        // Messages to servers go out while disks are opened. A fixed address takes no time, and its name servers go
        // into a file of the root, which is not there yet.
        if network.wanted == config::Network::Dhcp {
            network.step(now);
        }
        network
    }

    /// Whether services need not wait for it.
    pub fn is_settled(&self) -> bool {
        self.settled
    }

    /// Returns the files to wait for.
    pub fn files(&self) -> impl Iterator<Item = (NetworkFile, BorrowedFd<'_>)> {
        let dhcp = self.dhcp.as_ref().and_then(DhcpLink::file).map(|file| (NetworkFile::Dhcp, file));
        let time = self.time.as_ref().and_then(Time::file).map(|file| (NetworkFile::Time, file));
        dhcp.into_iter().chain(time)
    }

    /// Returns the time of the next act.
    pub fn deadline(&self) -> Option<Duration> {
        let patience = (!self.settled).then_some(self.patience_ends);
        let dhcp = self.dhcp.as_ref().and_then(DhcpLink::deadline);
        let time = self.time.as_ref().and_then(Time::deadline);
        [self.look, patience, dhcp, time].into_iter().flatten().min()
    }

    /// Takes the lines to tell.
    pub fn reports(&mut self) -> Vec<Report> {
        std::mem::take(&mut self.reports)
    }

    /// Reads a file that is ready.
    pub fn read(&mut self, file: NetworkFile, now: Duration) {
        match (file, &mut self.dhcp, &mut self.time, &self.link) {
            (NetworkFile::Dhcp, Some(dhcp), _, Some(link)) => {
                let changes = dhcp.read(link, now);
                self.change(changes, now);
            }
            (NetworkFile::Time, _, Some(time), _) => {
                // Only jumps are worth a line: the clock drifts a little all the time.
                if let Some(behind) = time.read(now).filter(|behind| behind.abs() >= 500_000) {
                    self.reports.push(Report::Note(format!("clock set by {} ms", behind / 1000)));
                }
            }
            _ => {}
        }
    }

    /// Does what is due.
    pub fn step(&mut self, now: Duration) {
        if self.look.is_some_and(|time| time <= now) {
            self.find(now);
        }
        if !self.settled && now >= self.patience_ends {
            self.settled = true;
            let text = if self.link.is_some() { "no address yet" } else { "no network interface yet" };
            self.reports.push(Report::Note(text.into()));
        }
        if let (Some(dhcp), Some(link)) = (&mut self.dhcp, &self.link) {
            let changes = dhcp.step(link, now);
            self.change(changes, now);
        }
        if let Some(time) = &mut self.time {
            time.step(now);
        }
    }

    /// Gives the address back before the machine ends.
    pub fn end(&mut self, now: Duration) {
        if let (Some(dhcp), Some(link)) = (&mut self.dhcp, &self.link) {
            dhcp.release(link, now);
        }
    }

    /// Looks for the interface and its cable, and begins once both are there.
    fn find(&mut self, now: Duration) {
        let pause = if now < self.patience_ends { PAUSE } else { LONG_PAUSE };
        self.look = Some(now + pause);
        if self.link.is_none() {
            self.link = link::first();
            if let Some(error) = self.link.as_ref().and_then(|link| link.up().err()) {
                self.reports.push(Report::Note(format!("network interface: {error}")));
            }
        }
        let Some(link) = self.link.clone() else { return };
        match &self.wanted {
            config::Network::None => self.look = None,
            config::Network::Static(fixed) => {
                self.look = None;
                self.fix(&link, &fixed.clone(), now);
            }
            config::Network::Dhcp if link.has_carrier() => {
                self.look = None;
                let mut dhcp = DhcpLink::new(&link, &self.host_name, seed(&link, now));
                let changes = dhcp.start(&link, now);
                self.dhcp = Some(dhcp);
                self.change(changes, now);
            }
            config::Network::Dhcp => {}
        }
    }

    fn fix(&mut self, link: &Link, fixed: &StaticNetwork, now: Duration) {
        let default = |gateway| Route { network: Ipv4Addr::UNSPECIFIED, prefix: 0, gateway: Some(gateway) };
        let routes: Vec<Route> = fixed.gateway.into_iter().map(default).collect();
        self.apply(link, fixed.address, fixed.prefix, &routes, None, now);
        self.resolve(&fixed.dns, None);
        self.set_time(&[], link, now);
    }

    fn change(&mut self, changes: Vec<Change>, now: Duration) {
        let Some(link) = self.link.clone() else { return };
        for change in changes {
            match change {
                Change::Configure(lease) => self.lease(&link, &lease, now),
                Change::Clear => {
                    self.reports.push(Report::Note("the lease of the address has ended".into()));
                    let _ = link.clear();
                }
            }
        }
    }

    fn lease(&mut self, link: &Link, lease: &Lease, now: Duration) {
        self.apply(link, lease.address, lease.prefix, &lease.routes, lease.mtu, now);
        let servers: Vec<IpAddr> = lease.dns.iter().copied().map(IpAddr::V4).collect();
        self.resolve(&servers, lease.domain.as_deref());
        self.set_time(&lease.ntp, link, now);
    }

    fn apply(
        &mut self,
        link: &Link,
        ip: Ipv4Addr,
        prefix: u8,
        routes: &[Route],
        mtu: Option<u16>,
        now: Duration,
    ) {
        self.reports.push(match link.configure(ip, prefix, routes, mtu) {
            Ok(()) => Report::Network(format!("{ip}/{prefix}"), now),
            Err(error) => Report::Note(format!("address {ip}/{prefix}: {error}")),
        });
        self.settled = true;
    }

    fn resolve(&mut self, servers: &[IpAddr], domain: Option<&str>) {
        if let Err(error) = resolver::write(servers, domain) {
            self.reports.push(Report::Note(format!("resolv.conf: {error}")));
        }
    }

    fn set_time(&mut self, leased: &[Ipv4Addr], link: &Link, now: Duration) {
        let servers = match &self.servers {
            TimeServers::None => return,
            TimeServers::Lease => leased.to_vec(),
            TimeServers::Addresses(addresses) => addresses.clone(),
        };
        self.time = Some(Time::new(servers, seed(link, now), now));
    }
}

/// Returns a number that differs between machines and starts. It keeps no secret.
fn seed(link: &Link, now: Duration) -> u64 {
    let [a, b, c, d, e, f] = link.hardware;
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::from_be_bytes([0, 0, a, b, c, d, e, f]).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        ^ clock.as_nanos() as u64
        ^ (now.as_nanos() as u64) << 20
}

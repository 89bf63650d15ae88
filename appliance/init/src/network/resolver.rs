//! `/run/resolv.conf`.

use std::{fs, io, net::IpAddr};

/// Writes the file whole, so that no program reads half of it.
pub fn write(servers: &[IpAddr], domain: Option<&str>) -> io::Result<()> {
    fs::write("/run/resolv.conf.new", text(servers, domain))?;
    fs::rename("/run/resolv.conf.new", "/run/resolv.conf")
}

fn text(servers: &[IpAddr], domain: Option<&str>) -> String {
    let search = domain.map(|domain| format!("search {domain}\n"));
    let servers = servers.iter().map(|server| format!("nameserver {server}\n"));
    search.into_iter().chain(servers).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_and_each_server_have_a_line() {
        let servers = ["10.0.2.3".parse().unwrap(), "2001:db8::53".parse().unwrap()];
        assert_eq!(
            text(&servers, Some("example.org")),
            "search example.org\nnameserver 10.0.2.3\nnameserver 2001:db8::53\n"
        );
        assert_eq!(text(&[], None), "");
    }
}

//! Interfaces.

use std::{
    fs, io,
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use crate::{dhcp::Route, sys::Interface};

/// An Ethernet interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Name.
    pub name: String,
    /// Number of the kernel.
    pub index: u32,
    /// Hardware address.
    pub hardware: [u8; 6],
}

/// Turns the loopback interface on.
pub fn loopback() -> io::Result<()> {
    let interface = Interface::open("lo")?;
    interface.address(Ipv4Addr::LOCALHOST)?;
    interface.mask(Ipv4Addr::new(255, 0, 0, 0))?;
    interface.up()
}

/// Returns the Ethernet interface with the least number, if one is there.
pub fn first() -> Option<Link> {
    let names = fs::read_dir("/sys/class/net").ok()?.flatten();
    names.filter_map(|entry| read(entry.file_name().to_str()?)).min_by_key(|link| link.index)
}

fn read(name: &str) -> Option<Link> {
    const ETHERNET: u32 = 1;
    let number = |file: &str| fs::read_to_string(folder(name).join(file)).ok()?.trim().parse::<u32>().ok();
    if number("type")? != ETHERNET {
        return None;
    }
    let text = fs::read_to_string(folder(name).join("address")).ok()?;
    Some(Link { name: name.into(), index: number("ifindex")?, hardware: hardware(text.trim())? })
}

/// Reads a hardware address: six bytes as hex with colons.
fn hardware(text: &str) -> Option<[u8; 6]> {
    let bytes: Option<Vec<u8>> = text.split(':').map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
    bytes?.try_into().ok()
}

fn folder(name: &str) -> PathBuf {
    Path::new("/sys/class/net").join(name)
}

impl Link {
    /// Turns the interface on.
    pub fn up(&self) -> io::Result<()> {
        Interface::open(&self.name)?.up()
    }

    /// Whether its cable is plugged. A message sent before is lost, and seconds with it.
    pub fn has_carrier(&self) -> bool {
        fs::read_to_string(folder(&self.name).join("carrier")).is_ok_and(|text| text.trim() == "1")
    }

    /// Gives it an address and routes.
    pub fn configure(
        &self,
        address: Ipv4Addr,
        prefix: u8,
        routes: &[Route],
        mtu: Option<u16>,
    ) -> io::Result<()> {
        let interface = Interface::open(&self.name)?;
        if let Some(mtu) = mtu {
            // An interface that cannot have it works with its own.
            let _ = interface.mtu(mtu);
        }
        // A new address takes routes of the old one away.
        interface.address(Ipv4Addr::UNSPECIFIED)?;
        interface.address(address)?;
        interface.mask(mask(prefix))?;
        for route in routes {
            if let Some(gateway) = route.gateway
                && gateway.to_bits() & mask(prefix).to_bits() != address.to_bits() & mask(prefix).to_bits()
            {
                // A router outside the network, as clouds with networks of one address have it.
                let _ = interface.route(gateway, mask(32), None);
            }
            // A route that is there already is no fault of the lease.
            let _ = interface.route(route.network, mask(route.prefix), route.gateway);
        }
        Ok(())
    }

    /// Takes the address away.
    pub fn clear(&self) -> io::Result<()> {
        Interface::open(&self.name)?.address(Ipv4Addr::UNSPECIFIED)
    }
}

/// Returns the mask of a network with `prefix` bits.
fn mask(prefix: u8) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::MAX.checked_shl(32_u32.saturating_sub(prefix.into())).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_have_as_many_bits_as_the_prefix() {
        let masks = [0, 1, 24, 32].map(mask);
        let octets = [[0, 0, 0, 0], [128, 0, 0, 0], [255, 255, 255, 0], [255, 255, 255, 255]];
        assert_eq!(masks, octets.map(Ipv4Addr::from));
    }

    #[test]
    fn a_hardware_address_has_six_bytes() {
        assert_eq!(hardware("52:54:00:12:34:5f"), Some([0x52, 0x54, 0, 0x12, 0x34, 0x5f]));
        assert_eq!(hardware("52:54:00:12:34"), None);
        assert_eq!(hardware(""), None);
    }
}

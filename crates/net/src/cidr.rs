//! An IPv4 address block: parsing, membership and the addresses hosts may have in it.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// `10.244.0.0/16`. Host bits are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cidr {
    base: u32,
    prefix: u8,
}

impl Cidr {
    /// The network address.
    pub fn network(self) -> Ipv4Addr {
        Ipv4Addr::from(self.base)
    }

    /// Length of the prefix, bits.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// The first address a host may have; ours on the bridge.
    pub fn gateway(self) -> Ipv4Addr {
        Ipv4Addr::from(self.base | 1)
    }

    /// Address number `index`; `None` for the network, broadcast and everything outside.
    pub fn host(self, index: u32) -> Option<Ipv4Addr> {
        (index > 0 && index <= self.last_host()).then(|| Ipv4Addr::from(self.base + index))
    }

    /// Number of an address within the block.
    pub fn index_of(self, address: Ipv4Addr) -> Option<u32> {
        self.contains(address)
            .then(|| u32::from(address) - self.base)
    }

    /// Number of the last address a host may have.
    pub fn last_host(self) -> u32 {
        (!self.mask()).saturating_sub(1)
    }

    /// Whether an address lies in the block.
    pub fn contains(self, address: Ipv4Addr) -> bool {
        u32::from(address) & self.mask() == self.base
    }

    fn mask(self) -> u32 {
        // The prefix is 8..=30, so the shift is in range.
        u32::MAX << (32 - self.prefix)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network(), self.prefix)
    }
}

/// Text that is no usable block.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an IPv4 block with a prefix of 8 to 30 bits, such as 10.244.0.0/16")]
pub struct InvalidCidr(pub String);

impl FromStr for Cidr {
    type Err = InvalidCidr;

    fn from_str(text: &str) -> Result<Self, InvalidCidr> {
        let wrong = || InvalidCidr(text.to_string());
        let (address, prefix) = text.split_once('/').ok_or_else(wrong)?;
        let address: Ipv4Addr = address.parse().map_err(|_| wrong())?;
        let prefix: u8 = prefix.parse().map_err(|_| wrong())?;
        if !(8..=30).contains(&prefix) {
            return Err(wrong());
        }
        let block = Self {
            base: u32::from(address),
            prefix,
        };
        Ok(Self {
            base: block.base & block.mask(),
            prefix,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn blocks_know_their_hosts() {
        let block: Cidr = "10.244.3.7/24".parse().expect("block");
        assert_eq!(block.to_string(), "10.244.3.0/24");
        assert_eq!(block.gateway(), Ipv4Addr::new(10, 244, 3, 1));
        assert_eq!(block.host(0), None);
        assert_eq!(block.host(254), Some(Ipv4Addr::new(10, 244, 3, 254)));
        assert_eq!(block.host(255), None);
        assert_eq!(block.index_of(Ipv4Addr::new(10, 244, 4, 1)), None);
        for wrong in [
            "10.0.0.0",
            "10.0.0.0/7",
            "10.0.0.0/31",
            "10.0.0/8",
            "/8",
            "x/16",
            "::/8",
        ] {
            assert!(wrong.parse::<Cidr>().is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_round_trips(text in ".{0,30}", base in any::<u32>(), prefix in 8u8..31) {
            let _ = text.parse::<Cidr>();
            let block: Cidr = format!("{}/{prefix}", Ipv4Addr::from(base)).parse().expect("block");
            prop_assert_eq!(block.to_string().parse::<Cidr>().expect("block"), block);
            prop_assert!(block.contains(Ipv4Addr::from(base)));
        }
    }
}

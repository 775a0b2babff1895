//! Who may send: whoever the door lets in, and pods.

use crate::door::{Denied, Door};
use ::http::HeaderMap;
use std::net::IpAddr;
use towpath_kit::listen::Peer;
use towpath_kit::traits::Principal;

/// A block of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// Its first address.
    pub address: IpAddr,
    /// How many leading bits its addresses share.
    pub prefix: u8,
}

impl Network {
    /// Reads `10.42.0.0/16`.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        let prefix: u8 = prefix.parse().ok()?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        (prefix <= bits).then_some(Self { address, prefix })
    }

    /// Whether an address is one of the block.
    pub fn contains(&self, other: IpAddr) -> bool {
        let same = |own: u128, other: u128, bits: u32| {
            let shift = bits - u32::from(self.prefix);
            own.checked_shr(shift).unwrap_or(0) == other.checked_shr(shift).unwrap_or(0)
        };
        match (self.address, other.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                same(own.to_bits().into(), other.to_bits().into(), 32)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => same(own.to_bits(), other.to_bits(), 128),
            _ => false,
        }
    }
}

/// The doors' lock.
#[derive(Clone)]
pub struct Access {
    /// Lets in those with a credential.
    pub door: Door,
    /// Addresses that may send without a credential: the pods', whose SDKs carry none.
    pub anonymous_senders: Option<Network>,
    /// Addresses among them that are no pods: the gateway's, by which programs of the machine come.
    pub never_anonymous: Vec<IpAddr>,
}

impl Access {
    /// Who sends; anonymous only from a pod.
    ///
    /// # Errors
    /// The sender is not known or may not send.
    pub async fn sender(
        &self,
        headers: &HeaderMap,
        peer: Option<Peer>,
    ) -> Result<Principal, Denied> {
        let pod = peer.zip(self.anonymous_senders);
        let inside = |(peer, pods): (Peer, Network)| {
            pods.contains(peer.0) && !self.never_anonymous.contains(&peer.0.to_canonical())
        };
        if pod.is_some_and(inside) && !headers.contains_key("authorization") {
            return Ok(Principal::anonymous());
        }
        self.door.check(headers, "create").await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_hold_their_addresses_only() {
        let pods = Network::parse("10.42.0.0/16").expect("block");
        assert!(pods.contains("10.42.255.1".parse().expect("address")));
        assert!(pods.contains("::ffff:10.42.0.9".parse().expect("address")));
        assert!(!pods.contains("10.43.0.1".parse().expect("address")));
        assert!(!pods.contains("::1".parse().expect("address")));
        let all = Network::parse("0.0.0.0/0").expect("block");
        assert!(all.contains("8.8.8.8".parse().expect("address")));
        assert_eq!(Network::parse("10.0.0.0/33"), None);
    }
}

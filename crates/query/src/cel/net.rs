//! Addresses of the network and ranges of them.

use super::eval::{Result_, Run, fault, no_overload};
use super::strings::quoted;
use super::value::Value;
use std::fmt;
use std::net::IpAddr;

/// An address, of version 4 or 6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ip(pub(crate) IpAddr);

impl fmt::Display for Ip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Ip {
    pub(crate) fn octets(self) -> u32 {
        if self.0.is_ipv4() { 4 } else { 16 }
    }

    fn number(self) -> u128 {
        match self.0 {
            IpAddr::V4(ip) => u128::from(ip.to_bits()) << 96,
            IpAddr::V6(ip) => ip.to_bits(),
        }
    }
}

/// A range of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    pub(crate) ip: Ip,
    pub(crate) bits: u32,
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ip, self.bits)
    }
}

impl Cidr {
    fn contains(self, ip: Ip) -> bool {
        self.ip.0.is_ipv4() == ip.0.is_ipv4()
            && (self.bits == 0 || (self.ip.number() ^ ip.number()) >> (128 - self.bits) == 0)
    }

    fn masked(self) -> Cidr {
        let mask = u128::MAX.checked_shl(128 - self.bits).unwrap_or(0);
        let number = self.ip.number() & mask;
        let ip = match self.ip.0 {
            IpAddr::V4(_) => IpAddr::V4(((number >> 96) as u32).into()),
            IpAddr::V6(_) => IpAddr::V6(number.into()),
        };
        Cidr {
            ip: Ip(ip),
            bits: self.bits,
        }
    }
}

fn ip(text: &str) -> Result<Ip, String> {
    if let Some((address, _)) = text.split_once('%')
        && address.parse::<std::net::Ipv6Addr>().is_ok()
    {
        return Err(format!(
            "IP address {} with zone value is not allowed",
            quoted(text)
        ));
    }
    match text.parse::<IpAddr>() {
        Ok(IpAddr::V6(found)) if found.to_ipv4_mapped().is_some() => Err(format!(
            "IPv4-mapped IPv6 address {} is not allowed",
            quoted(text)
        )),
        Ok(found) => Ok(Ip(found)),
        Err(_) => Err(format!(
            "IP Address {} parse error during conversion from string: ParseAddr({}): unable to parse IP",
            quoted(text),
            quoted(text)
        )),
    }
}

fn cidr(text: &str) -> Result<Cidr, String> {
    let wrong = |why: &str| {
        format!(
            "network address parse error during conversion from string: netip.ParsePrefix({}): {why}",
            quoted(text)
        )
    };
    let Some((address, bits)) = text.rsplit_once('/') else {
        return Err(wrong("no '/'"));
    };
    let address: IpAddr = match address.parse() {
        Ok(found) => found,
        Err(_) => {
            return Err(wrong(&format!(
                "ParseAddr({}): unable to parse IP",
                quoted(address)
            )));
        }
    };
    let plain = !bits.is_empty()
        && bits.len() <= 3
        && bits.bytes().all(|c| c.is_ascii_digit())
        && (bits == "0" || !bits.starts_with('0'));
    let number: u32 = match bits.parse() {
        Ok(number) if plain => number,
        _ => {
            return Err(wrong(&format!("bad bits after slash: {}", quoted(bits))));
        }
    };
    if number > if address.is_ipv4() { 32 } else { 128 } {
        return Err(wrong("prefix length out of range"));
    }
    if matches!(address, IpAddr::V6(found) if found.to_ipv4_mapped().is_some()) {
        return Err(format!(
            "IPv4-mapped IPv6 address {} is not allowed",
            quoted(text)
        ));
    }
    Ok(Cidr {
        ip: Ip(address),
        bits: number,
    })
}

fn cidr_value(text: &str) -> Result<Cidr, super::eval::Error> {
    cidr(text).or_else(|why| {
        fault(format!(
            "network address parse error during conversion from string: {why}"
        ))
    })
}

pub(crate) fn call(_: &mut Run<'_>, function: &str, args: &[Value]) -> Option<Result_> {
    Some(match (function, args) {
        ("ip", [Value::String(text)]) => ip(text).map(Value::Ip).or_else(fault),
        ("isIP", [Value::String(text)]) => Ok(Value::Bool(ip(text).is_ok())),
        ("ip.isCanonical", [Value::String(text)]) => match ip(text) {
            Ok(found) => Ok(Value::Bool(found.to_string() == **text)),
            Err(why) => fault(why),
        },
        ("cidr", [Value::String(text)]) => cidr_value(text).map(Value::Cidr),
        ("isCIDR", [Value::String(text)]) => Ok(Value::Bool(cidr(text).is_ok())),
        ("ip", [Value::Cidr(range)]) => Ok(Value::Ip(range.ip)),
        ("prefixLength", [Value::Cidr(range)]) => Ok(Value::Int(i64::from(range.bits))),
        ("masked", [Value::Cidr(range)]) => Ok(Value::Cidr(range.masked())),
        ("containsIP", [Value::Cidr(range), Value::Ip(found)]) => {
            Ok(Value::Bool(range.contains(*found)))
        }
        ("containsIP", [Value::Cidr(range), Value::String(text)]) => match ip(text) {
            Ok(found) => Ok(Value::Bool(range.contains(found))),
            // Upstream takes the failed conversion for a value of a wrong type.
            Err(_) => no_overload(),
        },
        ("containsCIDR", [Value::Cidr(range), Value::Cidr(other)]) => {
            Ok(Value::Bool(within(range, other)))
        }
        ("containsCIDR", [Value::Cidr(range), Value::String(text)]) => match cidr_value(text) {
            Ok(other) => Ok(Value::Bool(within(range, &other))),
            Err(_) => no_overload(),
        },
        (name, [Value::Ip(found)]) => return about(name, *found),
        _ => return None,
    })
}

fn within(range: &Cidr, other: &Cidr) -> bool {
    range.bits <= other.bits && range.contains(other.ip)
}

fn about(name: &str, ip: Ip) -> Option<Result_> {
    let link_local = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.segments()[0] & 0xffc0 == 0xfe80,
    };
    let holds = match name {
        "family" => return Some(Ok(Value::Int(if ip.0.is_ipv4() { 4 } else { 6 }))),
        "isUnspecified" => ip.0.is_unspecified(),
        "isLoopback" => ip.0.is_loopback(),
        "isLinkLocalMulticast" => match ip.0 {
            IpAddr::V4(ip) => ip.octets()[..3] == [224, 0, 0],
            IpAddr::V6(ip) => ip.segments()[0] & 0xff0f == 0xff02,
        },
        "isLinkLocalUnicast" => link_local(ip.0),
        "isGlobalUnicast" => {
            !(ip.0.is_unspecified()
                || ip.0.is_loopback()
                || ip.0.is_multicast()
                || link_local(ip.0)
                || matches!(ip.0, IpAddr::V4(ip) if ip.is_broadcast()))
        }
        _ => return None,
    };
    Some(Ok(Value::Bool(holds)))
}

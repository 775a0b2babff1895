//! Rules of addresses and networks.

use crate::field::FieldError;
use crate::names;
use crate::validate::check::{Check, list, text};
use serde_json::{Value, json};
use std::net::IpAddr;

pub(super) const BAD_IP: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";

pub(in crate::validate) fn service_cidr(new: &Value, old: Option<&Value>, check: &mut Check) {
    let path = "spec.cidrs";
    let cidrs = list(&new["spec"]["cidrs"]);
    if cidrs.is_empty() {
        check.add(FieldError::required(path, "at least one CIDR required"));
    } else if cidrs.len() > 2 {
        let why = "may only hold up to 2 values";
        check.invalid(path, new["spec"]["cidrs"].clone(), why);
    } else if let [a, b] = cidrs {
        let six = |cidr: &Value| text(cidr).contains(':');
        if six(a) == six(b) {
            let why = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";
            check.invalid(path, new["spec"]["cidrs"].clone(), why);
        }
    }
    for (index, cidr) in cidrs.iter().map(text).enumerate() {
        let at = format!("{path}[{index}]");
        let before = check.errors.len();
        self::cidr(&at, cidr, check);
        if check.errors.len() == before && !is_network(cidr) {
            check.invalid(&at, cidr, "must not have bits set beyond the prefix length");
        }
    }
    if let Some(old) = old {
        let (now, before) = (&new["spec"]["cidrs"], &old["spec"]["cidrs"]);
        let grown =
            list(before).len() == 1 && list(now).len() == 2 && list(now)[0] == list(before)[0];
        if !grown {
            check.immutable(path, now, before);
        }
    }
}

/// Whether a range is written as its first address.
fn is_network(cidr: &str) -> bool {
    let Some((ip, bits)) = cidr.split_once('/') else {
        return false;
    };
    let bits = bits.parse::<u32>().unwrap_or(0);
    match ip.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => u32::from(ip) & u32::MAX.checked_shr(bits).unwrap_or(0) == 0,
        Ok(IpAddr::V6(ip)) => u128::from(ip) & u128::MAX.checked_shr(bits).unwrap_or(0) == 0,
        Err(_) => false,
    }
}

pub(in crate::validate) fn ip_address(new: &Value, old: Option<&Value>, check: &mut Check) {
    let parent = &new["spec"]["parentRef"];
    if parent.is_null() {
        check.add(FieldError::required("spec.parentRef", ""));
    } else {
        for key in ["resource", "name"] {
            let at = format!("spec.parentRef.{key}");
            if check.required(&at, &parent[key], "") {
                check.names(
                    &at,
                    text(&parent[key]),
                    names::path_segment(text(&parent[key])),
                );
            }
        }
    }
    if let Some(old) = old
        && *parent != old["spec"]["parentRef"]
    {
        let shown = json!({
            "Group": text(&parent["group"]),
            "Resource": text(&parent["resource"]),
            "Namespace": text(&parent["namespace"]),
            "Name": text(&parent["name"]),
        });
        check.invalid("spec.parentRef", shown, crate::validate::check::IMMUTABLE);
    }
}

pub(super) fn is_within(inner: &str, outer: &str) -> bool {
    let read = |cidr: &str| -> Option<(u128, u32, bool)> {
        let (ip, bits) = cidr.split_once('/')?;
        let bits = bits.parse().ok()?;
        Some(match ip.parse::<IpAddr>().ok()? {
            IpAddr::V4(ip) => (u128::from(u32::from(ip)) << 96, bits, false),
            IpAddr::V6(ip) => (u128::from(ip), bits, true),
        })
    };
    let (Some((a, inner_bits, a_six)), Some((b, outer_bits, b_six))) = (read(inner), read(outer))
    else {
        return false;
    };
    let mask = u128::MAX.checked_shl(128 - outer_bits).unwrap_or(0);
    a_six == b_six && inner_bits > outer_bits && a & mask == b & mask
}

pub(in crate::validate) fn cidr(path: &str, value: &str, check: &mut Check) {
    let fits = value.split_once('/').is_some_and(|(ip, bits)| {
        let most = match ip.parse::<IpAddr>() {
            Ok(IpAddr::V4(_)) => 32,
            Ok(IpAddr::V6(_)) => 128,
            Err(_) => return false,
        };
        bits.parse::<u8>().is_ok_and(|bits| bits <= most)
    });
    if !fits {
        check.invalid(
            path,
            value,
            "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
        );
    }
}

pub(super) fn endpoint_ip(path: &str, ip: &str, check: &mut Check) {
    match ip.parse::<IpAddr>() {
        Err(_) => check.invalid(path, ip, BAD_IP),
        Ok(address) if address.is_unspecified() => {
            check.invalid(path, ip, format!("may not be unspecified ({ip})"));
        }
        Ok(address) if address.is_loopback() => {
            check.invalid(
                path,
                ip,
                "may not be in the loopback range (127.0.0.0/8, ::1/128)",
            );
        }
        Ok(IpAddr::V4(address)) if address.is_link_local() => {
            let why = "may not be in the link-local range (169.254.0.0/16, fe80::/10)";
            check.invalid(path, ip, why);
        }
        Ok(IpAddr::V4(address)) if address.octets()[..3] == [224, 0, 0] => {
            let why = "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)";
            check.invalid(path, ip, why);
        }
        Ok(IpAddr::V6(address)) if address.segments()[0] & 0xffc0 == 0xfe80 => {
            let why = "may not be in the link-local range (169.254.0.0/16, fe80::/10)";
            check.invalid(path, ip, why);
        }
        Ok(_) => {}
    }
}

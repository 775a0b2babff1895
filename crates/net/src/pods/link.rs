//! Netlink requests of the pod network. Each is idempotent: what is already so counts as done.

use crate::error::Error;
use futures::TryStreamExt;
use rtnetlink::packet_route::link::{InfoData, InfoVeth, LinkAttribute};
use rtnetlink::{
    Handle, LinkBridge, LinkBridgePort, LinkMessageBuilder, LinkUnspec, LinkVeth,
    RouteMessageBuilder, new_connection,
};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsRawFd, BorrowedFd};

/// A connection in the caller's network namespace. Its task ends when the handle is dropped.
pub(crate) fn connect() -> Result<Handle, Error> {
    let (connection, handle, _) = new_connection().map_err(Error::Netlink)?;
    towpath_daemon::spawn("netlink", connection);
    Ok(handle)
}

fn errno(error: &rtnetlink::Error) -> i32 {
    match error {
        rtnetlink::Error::NetlinkError(message) => -message.raw_code(),
        _ => 0,
    }
}

fn unless_exists(
    result: Result<(), rtnetlink::Error>,
    what: impl FnOnce() -> String,
) -> Result<(), Error> {
    match result {
        Err(error) if errno(&error) == libc::EEXIST => Ok(()),
        other => other.map_err(|error| Error::Link(what(), error)),
    }
}

/// Number of a link; `None` where there is none of that name.
pub(crate) async fn index(handle: &Handle, name: &str) -> Result<Option<u32>, Error> {
    match handle
        .link()
        .get()
        .match_name(name)
        .execute()
        .try_next()
        .await
    {
        Ok(found) => Ok(found.map(|link| link.header.index)),
        Err(error) if errno(&error) == libc::ENODEV => Ok(None),
        Err(error) => Err(Error::Link(format!("look up link {name}"), error)),
    }
}

async fn required(handle: &Handle, name: &str) -> Result<u32, Error> {
    index(handle, name)
        .await?
        .ok_or_else(|| Error::NoLink(name.into()))
}

/// Names of all links with a prefix, and their numbers.
pub(crate) async fn with_prefix(
    handle: &Handle,
    prefix: &str,
) -> Result<Vec<(String, u32)>, Error> {
    let mut links = handle.link().get().execute();
    let mut found = Vec::new();
    while let Some(link) = links
        .try_next()
        .await
        .map_err(|error| Error::Link("list links".into(), error))?
    {
        let name = link
            .attributes
            .iter()
            .find_map(|attribute| match attribute {
                LinkAttribute::IfName(name) => Some(name.clone()),
                _ => None,
            });
        if let Some(name) = name.filter(|name| name.starts_with(prefix)) {
            found.push((name, link.header.index));
        }
    }
    Ok(found)
}

/// Makes the bridge, up, with its address; its own fixed hardware address keeps the pods'
/// neighbour entries right while ports come and go.
pub(crate) async fn bridge(
    handle: &Handle,
    name: &str,
    address: Ipv4Addr,
    prefix: u8,
    mtu: u32,
) -> Result<u32, Error> {
    let message = LinkBridge::new(name)
        .address(hardware(address).to_vec())
        .mtu(mtu)
        .build();
    unless_exists(handle.link().add(message).execute().await, || {
        format!("make bridge {name}")
    })?;
    let index = required(handle, name).await?;
    let up = LinkUnspec::new_with_index(index).up().build();
    handle
        .link()
        .set(up)
        .execute()
        .await
        .map_err(|error| Error::Link(format!("set bridge {name} up"), error))?;
    let added = handle
        .address()
        .add(index, IpAddr::V4(address), prefix)
        .execute()
        .await;
    unless_exists(added, || format!("give {address}/{prefix} to {name}"))?;
    Ok(index)
}

/// Routes a block to a link, with the address that the host itself uses towards it.
pub(crate) async fn route(
    handle: &Handle,
    block: crate::Cidr,
    link: u32,
    source: Ipv4Addr,
) -> Result<(), Error> {
    let message = RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(block.network(), block.prefix())
        .output_interface(link)
        .pref_source(source)
        .scope(rtnetlink::packet_route::route::RouteScope::Link)
        .build();
    let added = handle.route().add(message).execute().await;
    unless_exists(added, || format!("route {block} to link {link}"))
}

/// Makes a veth pair: `host` as a port of `bridge`, `eth0` inside `namespace`. An end of that
/// name that is left over from a lost namespace is replaced.
pub(crate) async fn veth(
    handle: &Handle,
    host: &str,
    bridge: u32,
    namespace: BorrowedFd<'_>,
    address: Ipv4Addr,
    mtu: u32,
) -> Result<(), Error> {
    let peer = || {
        LinkUnspec::new_with_name("eth0")
            .address(hardware(address).to_vec())
            .mtu(mtu)
            .setns_by_fd(namespace.as_raw_fd())
            .build()
    };
    let message = || {
        LinkMessageBuilder::<LinkVeth>::new(host, "eth0")
            .set_info_data(InfoData::Veth(InfoVeth::Peer(peer())))
            .controller(bridge)
            .mtu(mtu)
            .up()
            .build()
    };
    let failed = |error| Error::Link(format!("make veth pair {host}"), error);
    match handle.link().add(message()).execute().await {
        Err(error) if errno(&error) == libc::EEXIST => {
            remove(handle, host).await?;
            handle
                .link()
                .add(message())
                .execute()
                .await
                .map_err(failed)?;
        }
        other => other.map_err(failed)?,
    }
    // With bridge netfilter a pod that reaches itself through a service needs its frames back
    // on the port they came from.
    let port = LinkBridgePort::new(required(handle, host).await?)
        .hairpin(true)
        .build();
    handle
        .link()
        .set_port(port)
        .execute()
        .await
        .map_err(|error| Error::Link(format!("set hairpin on {host}"), error))
}

/// Sets up loopback, address and routes inside the namespace the caller is in. The address is
/// alone in its block: all traffic, also between pods, goes through the host's routing, where
/// service addresses are translated whether or not bridges are filtered.
pub(crate) async fn inside(
    handle: &Handle,
    address: Ipv4Addr,
    gateway: Ipv4Addr,
) -> Result<(), Error> {
    let up = |index| LinkUnspec::new_with_index(index).up().build();
    let failed = |what: &str, error| Error::Link(what.to_string(), error);
    let lo = required(handle, "lo").await?;
    handle
        .link()
        .set(up(lo))
        .execute()
        .await
        .map_err(|e| failed("set lo up", e))?;
    let eth0 = required(handle, "eth0").await?;
    handle
        .link()
        .set(up(eth0))
        .execute()
        .await
        .map_err(|e| failed("set eth0 up", e))?;
    let added = handle
        .address()
        .add(eth0, IpAddr::V4(address), 32)
        .execute()
        .await;
    unless_exists(added, || format!("give {address} to eth0"))?;
    let to_gateway = RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(gateway, 32)
        .output_interface(eth0)
        .scope(rtnetlink::packet_route::route::RouteScope::Link)
        .build();
    unless_exists(handle.route().add(to_gateway).execute().await, || {
        format!("route {gateway} to eth0")
    })?;
    let default = RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(Ipv4Addr::UNSPECIFIED, 0)
        .gateway(gateway)
        .output_interface(eth0)
        .build();
    unless_exists(handle.route().add(default).execute().await, || {
        format!("make {gateway} the default gateway")
    })
}

/// Whether `eth0` with the address is in the namespace the caller is in.
pub(crate) async fn is_complete(handle: &Handle, address: Ipv4Addr) -> Result<bool, Error> {
    let Some(eth0) = index(handle, "eth0").await? else {
        return Ok(false);
    };
    let mut addresses = handle
        .address()
        .get()
        .set_link_index_filter(eth0)
        .set_address_filter(address.into())
        .execute();
    let found = addresses
        .try_next()
        .await
        .map_err(|error| Error::Link("list addresses of eth0".into(), error))?;
    Ok(found.is_some())
}

/// Removes a link; one that is not there counts as removed.
pub(crate) async fn remove(handle: &Handle, name: &str) -> Result<(), Error> {
    let Some(index) = index(handle, name).await? else {
        return Ok(());
    };
    match handle.link().del(index).execute().await {
        Err(error) if errno(&error) == libc::ENODEV => Ok(()),
        other => other.map_err(|error| Error::Link(format!("remove link {name}"), error)),
    }
}

// Locally administered, and derived from the address: a sandbox that gets the address of an
// earlier one also gets its hardware address, so no neighbour entry is ever stale.
fn hardware(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [0x0a, 0x58, a, b, c, d]
}

//! Rules of services, endpoints, ingresses, network policies and addresses.

mod address;
mod endpoints;
mod ingress;
mod policy;
mod service;

pub(super) use address::{cidr, ip_address, service_cidr};
pub(super) use endpoints::{endpoint_slice, endpoints};
pub(super) use ingress::{ingress, ingress_class, ingress_status};
pub(super) use policy::network_policy;
pub(super) use service::service;

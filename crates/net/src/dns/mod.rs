//! DNS for pods: cluster names out of the model, everything else from the host's resolvers.

mod forward;
mod meters;
mod server;
mod zone;

pub(crate) use server::serve;

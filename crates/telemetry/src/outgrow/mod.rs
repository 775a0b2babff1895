//! Outgrowing this server, one signal at a time: others read what is here ([`serve`]), what comes
//! in is copied to where it is to live ([`mirror`]), and what was before is asked where it lies
//! ([`through`]).

mod call;
pub mod mirror;
mod queue;
pub mod serve;
pub mod settings;
pub mod through;
pub(crate) mod wire;

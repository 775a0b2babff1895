//! One file per command: `Args` (its doc comments are the help) and `run`.

pub mod apply;
pub mod approve;
pub mod build;
pub mod completion;
pub mod doctor;
pub mod down;
pub mod journey;
pub mod kubeconfig;
pub mod logs;
pub mod print;
pub mod promote;
pub mod push;
pub mod reference;
pub mod render;
pub mod repo;
pub mod rollback;
pub mod rules;
pub mod run;
pub mod scan;
pub mod secrets;
pub mod server;
pub mod status;
pub mod token;
pub mod unhold;
pub mod up;
pub mod version;

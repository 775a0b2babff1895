//! What an Alertmanager's configuration makes of alerts: who is told what, and when.
//!
//! [`Config`] is read from upstream's file as it is. [`Dispatcher`] holds the state and decides:
//! it is told of alerts, silences, the time and how messages went, and says what to send and when
//! to wake it. It knows no network and no clock.

mod alert;
mod config;
mod dispatch;
mod extras;
mod inhibit;
mod interval;
mod log;
mod matcher;
mod message;
mod payload;
mod receivers;
mod route;
mod silence;
mod view;

pub use alert::{Alert, fingerprint};
pub use config::Config;
pub use dispatch::{
    Bucket, Cause, Counts, Dispatcher, Event, GroupView, Muted, Outcome, Send, Snapshot, Throttle,
    What,
};
pub use inhibit::InhibitRule;
pub use interval::TimeInterval;
pub use log::Entry;
pub use matcher::{parse_matchers, write_matchers};
pub use message::{Message, Messages};
pub use payload::{
    Access, Answer, Auth, Fault, Mail, Mask, Next, Payload, Rendered, Request, Talk, Way, render,
};
pub use receivers::{Integration, Receiver};
pub use route::Route;
pub use silence::{DURING, Silence, SilenceError, SilenceState, UNTIL};

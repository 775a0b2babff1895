//! From samples to messages: rule files, alerts, and what an Alertmanager's configuration makes of
//! them. Decisions only: what is sent, kept and asked is done by who hands in the traits.

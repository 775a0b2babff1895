//! Signals of everything that runs here: collected, kept, asked, and turned into alerts that name
//! the change behind them. Languages live in `query`, durable samples in `signals`, decisions about
//! alerts in `alerting`; here is what meets the network and the cluster.

pub mod alertmanager;
pub mod cases;
pub mod collect;
pub mod discovery;
pub mod door;
pub mod exporters;
pub mod family;
pub mod ledger;
pub mod loki;
pub mod operator;
pub mod otlp;
pub mod outgrow;
pub mod own;
pub mod podlogs;
pub mod prometheus;
pub mod receive;
pub mod rules;
pub mod scrape;
pub mod tempo;
pub mod wire;

//! Settings of telemetry: what is kept, for how long, and in how much memory and disk.

use super::Error;
use super::object_storage::ObjectStorage;
use serde::{Deserialize, Serialize};
use towpath_telemetry::outgrow::settings::{Mirror, ReadThrough};

/// Metrics of everything that runs here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Telemetry {
    /// Whether there are any.
    pub enabled: bool,
    /// How long samples are kept, e.g. `30d`.
    pub retention: String,
    /// How long what stands for the samples of every five minutes is kept; where absent as long as
    /// the samples.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention_5m: Option<String>,
    /// How long what stands for the samples of every hour is kept; likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention_1h: Option<String>,
    /// What is kept for another time; the first that fits counts.
    pub keep: Vec<Keep>,
    /// What the samples kept may take on disk, as a quantity; where absent no limit but the time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<String>,
    /// What series and samples of the last hours may take in memory, as a quantity; where absent
    /// an eighth of the machine's memory, at most 1Gi.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
    /// Between two scrapes, e.g. `15s`.
    pub scrape_interval: String,
    /// How long log lines are kept, e.g. `14d`.
    pub log_retention: String,
    /// What log lines may take on disk, as a quantity.
    pub log_disk: String,
    /// How long traces are kept, e.g. `7d`.
    pub trace_retention: String,
    /// What traces may take on disk, as a quantity.
    pub trace_disk: String,
    /// Port of OpenTelemetry over gRPC, on the server's address and on that of the pods' gateway;
    /// 0 for none.
    pub otlp_grpc_port: u16,
    /// Port of OpenTelemetry over HTTP, likewise.
    pub otlp_http_port: u16,
    /// Whether pods may send telemetry without a credential.
    pub otlp_from_pods: bool,
    /// How long changes are kept, e.g. `90d`.
    pub change_retention: String,
    /// How long nothing must fire before a case is closed, e.g. `5m`.
    pub case_quiet: String,
    /// Where new data is copied to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mirror: Vec<Mirror>,
    /// Where data is asked that is older than what is here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub read_through: Vec<ReadThrough>,
    /// Where segments are kept beside the local disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object_storage: Option<ObjectStorage>,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self {
            enabled: true,
            retention: "30d".into(),
            retention_5m: None,
            retention_1h: None,
            keep: Vec::new(),
            disk: None,
            memory: None,
            scrape_interval: "15s".into(),
            log_retention: "14d".into(),
            log_disk: "20Gi".into(),
            trace_retention: "7d".into(),
            trace_disk: "10Gi".into(),
            otlp_grpc_port: 4317,
            otlp_http_port: 4318,
            otlp_from_pods: true,
            change_retention: "90d".into(),
            case_quiet: "5m".into(),
            mirror: Vec::new(),
            read_through: Vec::new(),
            object_storage: None,
        }
    }
}

/// Some series or streams that are kept for a time of their own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Keep {
    /// `metrics`, `logs` or `traces`.
    pub signal: String,
    /// Which: a selector such as `{job="x"}`, of streams `{namespace="x"}`, of traces
    /// `{service="x"}` or another attribute of the resource.
    pub select: String,
    /// How long, e.g. `7d`.
    pub time: String,
}

impl Keep {
    /// Which.
    pub fn matchers(&self) -> Vec<towpath_query::promql::Matcher> {
        towpath_query::promql::parse_selector(&self.select).unwrap_or_default()
    }

    /// How long.
    pub fn time(&self) -> std::time::Duration {
        std::time::Duration::from_millis(self.time_ms().try_into().unwrap_or(u64::MAX))
    }

    /// How long, in milliseconds.
    pub fn time_ms(&self) -> i64 {
        duration(&self.time).unwrap_or(i64::MAX)
    }

    fn check(&self) -> Result<(), Error> {
        if !["metrics", "logs", "traces"].contains(&self.signal.as_str()) {
            let reason = "metrics, logs or traces";
            return refuse("telemetry.keep.signal", &self.signal, reason);
        }
        if self.matchers().is_empty() {
            let reason = "a selector, e.g. {job=\"x\"}";
            return refuse("telemetry.keep.select", &self.select, reason);
        }
        match duration(&self.time).is_some_and(|ms| ms >= 86_400_000) {
            true => Ok(()),
            false => refuse("telemetry.keep.time", &self.time, "a time of at least 1d"),
        }
    }
}

pub(super) fn duration(text: &str) -> Option<i64> {
    towpath_query::promql::parse_duration(text).ok()
}

pub(super) fn bytes(quantity: &str) -> Option<u64> {
    let quantity = towpath_api::quantity::Quantity::parse(quantity).ok()?;
    u64::try_from(quantity.units()).ok()
}

// What cannot be read counts as what is usual.
fn time(text: &str, usual_ms: u64) -> std::time::Duration {
    let ms = duration(text).and_then(|ms| ms.try_into().ok());
    std::time::Duration::from_millis(ms.unwrap_or(usual_ms))
}

impl Telemetry {
    /// Whether all of it makes sense.
    pub(super) fn check(&self) -> Result<(), Error> {
        check(self)
    }

    /// How long copies of samples downsampled to five minutes and to an hour are kept.
    pub fn retention_copies_ms(&self) -> [i64; 2] {
        let kept = |own: &Option<String>| own.as_deref().and_then(duration);
        [&self.retention_5m, &self.retention_1h].map(|own| kept(own).unwrap_or(self.retention_ms()))
    }

    /// What of a signal is kept for another time.
    pub fn kept<'a>(&'a self, signal: &'a str) -> impl Iterator<Item = &'a Keep> {
        self.keep.iter().filter(move |keep| keep.signal == signal)
    }

    /// How long samples are kept.
    pub fn retention_ms(&self) -> i64 {
        towpath_query::promql::parse_duration(&self.retention).unwrap_or(30 * 86_400_000)
    }

    /// How long changes are kept.
    pub fn change_retention(&self) -> std::time::Duration {
        time(&self.change_retention, 90 * 86_400_000)
    }

    /// How long nothing must fire before a case is closed.
    pub fn case_quiet(&self) -> std::time::Duration {
        time(&self.case_quiet, 300_000)
    }

    /// Between two scrapes.
    pub fn scrape_interval_ms(&self) -> u64 {
        let interval = towpath_query::promql::parse_duration(&self.scrape_interval);
        interval
            .ok()
            .and_then(|ms| ms.try_into().ok())
            .unwrap_or(15_000)
    }

    /// What goes for memory.
    pub fn memory_bytes(&self) -> u64 {
        let usual = (super::machine_bytes() / 8).min(1 << 30);
        self.memory.as_deref().and_then(bytes).unwrap_or(usual)
    }

    /// How long log lines are kept.
    pub fn log_retention(&self) -> std::time::Duration {
        let ms = duration(&self.log_retention).and_then(|ms| ms.try_into().ok());
        std::time::Duration::from_millis(ms.unwrap_or(14 * 86_400_000))
    }

    /// What goes for log lines on the disk.
    pub fn log_disk_bytes(&self) -> u64 {
        bytes(&self.log_disk).unwrap_or(20 << 30)
    }

    /// How long traces are kept.
    pub fn trace_retention(&self) -> std::time::Duration {
        let ms = towpath_query::promql::parse_duration(&self.trace_retention);
        let ms = ms.ok().and_then(|ms| ms.try_into().ok());
        std::time::Duration::from_millis(ms.unwrap_or(7 * 86_400_000))
    }

    /// What goes for traces on the disk.
    pub fn trace_disk_bytes(&self) -> u64 {
        bytes(&self.trace_disk).unwrap_or(10 << 30)
    }

    /// What goes for the disk; 0 for no limit.
    pub fn disk_bytes(&self) -> u64 {
        self.disk.as_deref().and_then(bytes).unwrap_or(0)
    }
}

pub(super) fn refuse(name: &str, value: &str, reason: &str) -> Result<(), Error> {
    Err(Error::Value {
        name: name.into(),
        value: value.into(),
        reason: reason.into(),
    })
}

fn check(settings: &Telemetry) -> Result<(), Error> {
    for (name, value, least, reason) in [
        (
            "telemetry.retention",
            &settings.retention,
            7_200_000,
            "a time of at least 2h, e.g. 30d",
        ),
        (
            "telemetry.scrape-interval",
            &settings.scrape_interval,
            1000,
            "a time of at least 1s, e.g. 15s",
        ),
        (
            "telemetry.log-retention",
            &settings.log_retention,
            86_400_000,
            "a time of at least 1d, e.g. 14d",
        ),
        (
            "telemetry.trace-retention",
            &settings.trace_retention,
            3_600_000,
            "a time of at least 1h, e.g. 7d",
        ),
        (
            "telemetry.change-retention",
            &settings.change_retention,
            86_400_000,
            "a time of at least 1d, e.g. 90d",
        ),
        (
            "telemetry.case-quiet",
            &settings.case_quiet,
            1000,
            "a time of at least 1s, e.g. 5m",
        ),
    ] {
        if duration(value).is_none_or(|ms| ms < least) {
            return refuse(name, value, reason);
        }
    }
    for (name, value) in [
        ("telemetry.retention-5m", &settings.retention_5m),
        ("telemetry.retention-1h", &settings.retention_1h),
    ] {
        let Some(value) = value else { continue };
        if duration(value).is_none_or(|ms| ms < settings.retention_ms()) {
            return refuse(name, value, "a time not below telemetry.retention, e.g. 1y");
        }
    }
    settings.keep.iter().try_for_each(Keep::check)?;
    let trace_disk = Some(settings.trace_disk.clone());
    let log_disk = Some(settings.log_disk.clone());
    for (name, value) in [
        ("telemetry.memory", &settings.memory),
        ("telemetry.disk", &settings.disk),
        ("telemetry.log-disk", &log_disk),
        ("telemetry.trace-disk", &trace_disk),
    ] {
        let Some(value) = value else { continue };
        if bytes(value).is_none_or(|bytes| bytes < 16 << 20) {
            return refuse(name, value, "a quantity of at least 16Mi");
        }
    }
    if let Some(storage) = &settings.object_storage {
        storage.check()?;
    }
    let mirrors = settings.mirror.iter().map(|own| ("mirror", own.check()));
    let others = settings.read_through.iter();
    let others = others.map(|own| ("read-through", own.check()));
    for (list, checked) in mirrors.chain(others) {
        if let Err(wrong) = checked {
            let name = format!("telemetry.{list}.{}", wrong.name);
            return refuse(&name, &wrong.value, &wrong.reason);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_selectors_are_checked() {
        let read = |text: &str| {
            let settings: Telemetry = toml::from_str(text).expect("settings");
            settings.check().map(|()| settings)
        };
        let settings = read(
            "retention = \"30d\"\nretention-1h = \"1y\"\n\
             [[keep]]\nsignal = \"logs\"\nselect = '{app=\"x\"}'\ntime = \"7d\"\n",
        );
        let settings = settings.expect("fine");
        let day = 86_400_000;
        assert_eq!(settings.retention_copies_ms(), [30 * day, 365 * day]);
        assert_eq!(settings.kept("logs").count(), 1);
        assert_eq!(settings.kept("metrics").count(), 0);
        for wrong in [
            "retention-5m = \"1d\"",
            "log-retention = \"1h\"",
            "log-disk = \"1Mi\"",
            "[[keep]]\nsignal = \"profiles\"\nselect = '{a=\"x\"}'\ntime = \"7d\"",
            "[[keep]]\nsignal = \"traces\"\nselect = 'a='\ntime = \"7d\"",
            "[[keep]]\nsignal = \"traces\"\nselect = '{a=\"x\"}'\ntime = \"7h\"",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}

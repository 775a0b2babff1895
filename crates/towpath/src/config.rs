//! Settings: defaults, then `towpath.toml`, then `TOWPATH_*`, then flags. Zero configuration
//! works; two instances side by side need different directories, ports and networks.

use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

mod object_storage;
mod telemetry;

pub use object_storage::ObjectStorage;
pub use telemetry::{Keep, Telemetry};

/// Everything the server can be told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// All durable state. Relocatable while the server is down.
    pub data_dir: PathBuf,
    /// Web UI, git, registry and Towpath's own API.
    pub http: SocketAddr,
    /// Kubernetes API (TLS).
    pub api: SocketAddr,
    /// HTTP ingress.
    pub ingress: SocketAddr,
    /// Tells instances on one machine apart: interface, table and cgroup names. At most 8
    /// lower-case letters and digits.
    pub instance: String,
    /// Addresses of pods.
    pub pod_cidr: String,
    /// Addresses of services.
    pub service_cidr: String,
    /// Name of this machine's Node object.
    pub node_name: String,
    /// Environment of `runs-on` labels: label to image.
    pub runners: std::collections::BTreeMap<String, String>,
    /// What each job of a run may use.
    pub jobs: JobLimits,
    /// Metrics: how they are collected and kept.
    pub telemetry: Telemetry,
    /// `text` or `json`.
    pub log_format: String,
    /// Directives such as `info,towpath_store=debug`.
    pub log: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: "/var/lib/towpath".into(),
            http: SocketAddr::from(([127, 0, 0, 1], 8080)),
            api: SocketAddr::from(([127, 0, 0, 1], 6443)),
            ingress: SocketAddr::from(([127, 0, 0, 1], 8081)),
            instance: "tp".into(),
            pod_cidr: "10.42.0.0/16".into(),
            service_cidr: "10.43.0.0/16".into(),
            node_name: "towpath".into(),
            runners: [(
                "ubuntu-latest".to_string(),
                "host.towpath.dev/rootfs".to_string(),
            )]
            .into(),
            jobs: JobLimits::default(),
            telemetry: Telemetry::default(),
            log_format: "text".into(),
            log: "info".into(),
        }
    }
}

/// Limits of one job; quantities as Kubernetes writes them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct JobLimits {
    /// Processors.
    pub cpu: String,
    /// Memory; where absent 4Gi, or three quarters of the machine's where that is less.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
    /// Workspace and temporary files together.
    pub disk: String,
    /// Processes and threads.
    pub processes: u64,
}

impl Default for JobLimits {
    fn default() -> Self {
        Self {
            cpu: "2".into(),
            memory: None,
            disk: "20Gi".into(),
            processes: 4096,
        }
    }
}

impl JobLimits {
    /// What goes for memory, on a machine with this much of it.
    pub fn memory_on(&self, machine_bytes: u64) -> String {
        let usual = (4 << 30).min(machine_bytes / 4 * 3) >> 20;
        self.memory.clone().unwrap_or_else(|| format!("{usual}Mi"))
    }
}

/// Memory of this machine in bytes.
pub fn machine_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = text.lines().find_map(|line| {
        let rest = line.strip_prefix("MemTotal:")?;
        rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    });
    total.map_or(u64::MAX, |kib| kib * 1024)
}

/// Why settings were refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("read {path}")]
    Read {
        /// File.
        path: PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// The file is not what it should be; the message names line and column.
    #[error("{path}: {message}")]
    Parse {
        /// File.
        path: PathBuf,
        /// What and where.
        message: String,
    },
    /// A value is impossible.
    #[error("{name}={value:?}: {reason}")]
    Value {
        /// Setting.
        name: String,
        /// What was given.
        value: String,
        /// Why not.
        reason: String,
    },
}

/// Flags that override settings, shared by every command that needs a server.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Overrides {
    /// Settings file [default: ./towpath.toml or /etc/towpath/towpath.toml where it exists]
    #[arg(long, global = true, env = "TOWPATH_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Directory of all durable state [default: /var/lib/towpath]
    #[arg(long, global = true, env = "TOWPATH_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Address of the web UI, git and the registry [default: 127.0.0.1:8080]
    #[arg(long, global = true, env = "TOWPATH_HTTP", value_name = "ADDR")]
    pub http: Option<SocketAddr>,
    /// Address of the Kubernetes API [default: 127.0.0.1:6443]
    #[arg(long, global = true, env = "TOWPATH_API", value_name = "ADDR")]
    pub api: Option<SocketAddr>,
    /// Address of the HTTP ingress [default: 127.0.0.1:8081]
    #[arg(long, global = true, env = "TOWPATH_INGRESS", value_name = "ADDR")]
    pub ingress: Option<SocketAddr>,
    /// Short name that tells instances on one machine apart [default: tp]
    #[arg(long, global = true, env = "TOWPATH_INSTANCE", value_name = "NAME")]
    pub instance: Option<String>,
    /// Addresses of pods [default: 10.42.0.0/16]
    #[arg(long, global = true, env = "TOWPATH_POD_CIDR", value_name = "CIDR")]
    pub pod_cidr: Option<String>,
    /// Addresses of services [default: 10.43.0.0/16]
    #[arg(long, global = true, env = "TOWPATH_SERVICE_CIDR", value_name = "CIDR")]
    pub service_cidr: Option<String>,
    /// Log directives, e.g. info,towpath_store=debug [default: info]
    #[arg(long, global = true, env = "TOWPATH_LOG", value_name = "DIRECTIVES")]
    pub log: Option<String>,
}

impl Overrides {
    /// The settings that result.
    pub fn resolve(&self) -> Result<Config, Error> {
        let mut config = match self.file() {
            Some(path) => read(&path)?,
            None => Config::default(),
        };
        macro_rules! take {
            ($($field:ident),*) => {$( if let Some(value) = self.$field.clone() { config.$field = value; } )*};
        }
        take!(
            data_dir,
            http,
            api,
            ingress,
            instance,
            pod_cidr,
            service_cidr,
            log
        );
        check(&config)?;
        config.data_dir = std::path::absolute(&config.data_dir).unwrap_or(config.data_dir);
        Ok(config)
    }

    fn file(&self) -> Option<PathBuf> {
        let usual = ["towpath.toml", "/etc/towpath/towpath.toml"].map(PathBuf::from);
        self.config
            .clone()
            .or_else(|| usual.into_iter().find(|p| p.is_file()))
    }
}

fn read(path: &Path) -> Result<Config, Error> {
    let bytes = towpath_stdx::bounded::read_file(path, 1 << 20).map_err(|source| Error::Read {
        path: path.into(),
        source,
    })?;
    let text = String::from_utf8_lossy(&bytes);
    toml::from_str(&text).map_err(|error| Error::Parse {
        path: path.into(),
        message: error.to_string().trim().into(),
    })
}

fn check(config: &Config) -> Result<(), Error> {
    let refuse = |name: &str, value: &str, reason: &str| {
        Err(Error::Value {
            name: name.into(),
            value: value.into(),
            reason: reason.into(),
        })
    };
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    if config.instance.is_empty()
        || config.instance.len() > 8
        || !config.instance.bytes().all(plain)
    {
        return refuse(
            "instance",
            &config.instance,
            "1 to 8 lower-case letters and digits",
        );
    }
    for (name, value) in [
        ("pod-cidr", &config.pod_cidr),
        ("service-cidr", &config.service_cidr),
    ] {
        let parts = value
            .split_once('/')
            .map(|(a, l)| (a.parse::<std::net::Ipv4Addr>(), l.parse::<u8>()));
        if !matches!(parts, Some((Ok(_), Ok(8..=24)))) {
            return refuse(
                name,
                value,
                "an IPv4 network with a prefix of 8 to 24, e.g. 10.42.0.0/16",
            );
        }
    }
    config.telemetry.check()?;
    jobs(&config.jobs)
}

fn jobs(limits: &JobLimits) -> Result<(), Error> {
    let processes = limits.processes.to_string();
    // What a job's pod asks for, and what its runner needs.
    let quantities = [
        ("jobs.cpu", Some(&limits.cpu), "100m"),
        ("jobs.memory", limits.memory.as_ref(), "128Mi"),
        ("jobs.disk", Some(&limits.disk), "64Mi"),
        ("jobs.processes", Some(&processes), "32"),
    ];
    let parse = towpath_api::quantity::Quantity::parse;
    for (name, value, least) in quantities {
        let Some(value) = value else { continue };
        let enough = matches!((parse(value), parse(least)), (Ok(given), Ok(least)) if given.minus(least).sign() >= 0);
        if !enough {
            return Err(Error::Value {
                name: name.into(),
                value: value.clone(),
                reason: format!("a quantity of at least {least}"),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_named_with_its_line() {
        let dir = std::env::temp_dir().join(format!("towpath-config-{}", std::process::id()));
        std::fs::write(&dir, "instance = \"a\"\nhtpp = 1\n").expect("write");
        let overrides = Overrides {
            config: Some(dir.clone()),
            ..Overrides::default()
        };
        let error = overrides.resolve().expect_err("unknown key").to_string();
        std::fs::remove_file(dir).expect("remove");
        assert!(
            error.contains("line 2") && error.contains("htpp"),
            "{error}"
        );
    }

    #[test]
    fn other_servers_are_named_with_their_files_of_secrets() {
        let text = r#"
            [[telemetry.mirror]]
            signal = "metrics"
            url = "https://mimir.example/api/v1/push"
            queue = "2Gi"
            when-full = "refuse"
            access = { bearer-token-file = "/etc/towpath/token", headers = { X-Scope-OrgID = "a" } }
            write-relabel-configs = [
              { source_labels = ["__name__"], regex = "go_.*", action = "drop" },
            ]
            [[telemetry.read-through]]
            signal = "logs"
            url = "http://loki:3100"
            before = "2026-11-22T00:00:00Z"
        "#;
        let config: Config = toml::from_str(text).expect("settings");
        check(&config).expect("fine");
        assert_eq!(config.telemetry.mirror[0].queue_bytes(), 2 << 30);
        let mut wrong = config.clone();
        wrong.telemetry.read_through[0].before = "yesterday".into();
        let error = check(&wrong).expect_err("no time").to_string();
        assert!(error.contains("telemetry.read-through.before"), "{error}");
    }

    #[test]
    fn a_job_leaves_memory_for_the_machine() {
        let mut jobs = JobLimits::default();
        assert_eq!(jobs.memory_on(2 << 30), "1536Mi");
        assert_eq!(jobs.memory_on(64 << 30), "4096Mi");
        jobs.memory = Some("9Gi".into());
        assert_eq!(jobs.memory_on(2 << 30), "9Gi");
        jobs.disk = "much".into();
        assert!(super::jobs(&jobs).is_err_and(|e| e.to_string().contains("jobs.disk")));
    }

    #[test]
    fn flags_win_and_nonsense_is_refused() {
        let overrides = Overrides {
            config: None,
            instance: Some("a1".into()),
            http: Some(SocketAddr::from(([127, 0, 0, 1], 1))),
            ..Overrides::default()
        };
        let config = overrides.resolve().expect("settings");
        assert_eq!((config.instance.as_str(), config.http.port()), ("a1", 1));
        for (cidr, fine) in [
            ("10.0.0.0/16", true),
            ("10.0.0.0/99", false),
            ("ten", false),
        ] {
            let overrides = Overrides {
                pod_cidr: Some(cidr.into()),
                ..Overrides::default()
            };
            assert_eq!(overrides.resolve().is_ok(), fine, "{cidr}");
        }
    }
}

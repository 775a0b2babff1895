//! The Alertmanager: API version 2 under `/alertmanager`, and messages that go out.
//!
//! What is decided is decided by [`towpath_alerting::alertmanager`]; here it meets the clock, the
//! network and the disk. A silence is durable before it is acknowledged; what was told is noted on
//! disk before the next message goes. A server that ends in between tells the same again, with the
//! same idempotency key.

mod api;
mod kept;
mod sender;
mod wire;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use towpath_alerting::alertmanager::{
    Alert, Config, Dispatcher, Messages, Outcome, Send, Silence, SilenceError,
};
use towpath_alerting::rules::Notice;
use towpath_stdx::Clock;

use crate::rules::Told;

/// Messages on their way at a time.
const SENDING: usize = 16;

/// How it behaves.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where silences and what was told are kept.
    pub directory: PathBuf,
    /// The configuration file; without one nobody is told.
    pub config_file: Option<PathBuf>,
    /// Where this server is reached, without a slash at the end.
    pub external_url: String,
    /// Whether messages may go to this machine and to addresses that only it reaches.
    pub allow_local: bool,
    /// The version of this program.
    pub version: String,
}

/// Why it does not start, or does not take a configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("read {0}: {1}")]
    Read(PathBuf, String),
    /// The configuration is refused.
    #[error("{0}: {1}")]
    Config(PathBuf, String),
    /// What was kept cannot be read or written.
    #[error("keep state of alerts in {0}: {1}")]
    Keep(PathBuf, String),
}

/// What counts without a file: alerts are held and shown, and nobody is told.
const NOBODY: &str = "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n";

/// The Alertmanager. Cheap to share.
pub struct Alertmanager {
    settings: Settings,
    clock: Arc<dyn Clock>,
    started_at: i64,
    dispatcher: Mutex<Dispatcher>,
    messages: Mutex<Arc<Messages>>,
    kept: kept::Kept,
    sender: sender::Sender,
    woken: Notify,
    places: Arc<Semaphore>,
    failures: Mutex<std::collections::BTreeMap<String, String>>,
}

/// Reads the configuration and the templates it names.
fn load(settings: &Settings) -> Result<(Config, Messages), Error> {
    let read = |path: &PathBuf| {
        let bytes = towpath_stdx::bounded::read_file(path, 8 << 20)
            .map_err(|error| Error::Read(path.clone(), error.to_string()))?;
        String::from_utf8(bytes).map_err(|_| Error::Read(path.clone(), "not UTF-8".to_owned()))
    };
    let own = PathBuf::from("alertmanager.yml");
    let path = settings.config_file.as_ref().unwrap_or(&own);
    let text = match &settings.config_file {
        Some(path) => read(path)?,
        None => NOBODY.to_owned(),
    };
    let refused = |why: String| Error::Config(path.clone(), why);
    let config = Config::read(&text).map_err(|finding| refused(finding.to_string()))?;
    let folder = path.parent().map(PathBuf::from).unwrap_or_default();
    let mut files = Vec::new();
    for pattern in &config.templates {
        for file in named(&folder.join(pattern)) {
            files.push((file.display().to_string(), read(&file)?));
        }
    }
    let texts = files
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()));
    let messages = Messages::new(texts).map_err(refused)?;
    Ok((config, messages))
}

/// Files of a pattern with `*` in its last part.
fn named(pattern: &std::path::Path) -> Vec<PathBuf> {
    let name = pattern
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let Some((start, end)) = name.split_once('*') else {
        return vec![pattern.to_owned()];
    };
    let folder = pattern.parent().unwrap_or(pattern);
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries
        .filter(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            name.len() >= start.len() + end.len() && name.starts_with(start) && name.ends_with(end)
        })
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found
}

impl Alertmanager {
    /// Takes up what was kept.
    ///
    /// # Errors
    /// The configuration or what was kept cannot be read.
    pub fn open(settings: Settings, clock: Arc<dyn Clock>) -> Result<Arc<Self>, Error> {
        let (config, messages) = load(&settings)?;
        let kept = kept::Kept::open(&settings.directory)?;
        let snapshot = kept.load()?;
        let now = millis(&*clock);
        let dispatcher = Dispatcher::new(Arc::new(config), &settings.external_url, snapshot, now);
        Ok(Arc::new(Self {
            sender: sender::Sender::new(settings.allow_local),
            started_at: now,
            dispatcher: Mutex::new(dispatcher),
            messages: Mutex::new(Arc::new(messages)),
            kept,
            woken: Notify::new(),
            places: Arc::new(Semaphore::new(SENDING)),
            failures: Mutex::default(),
            settings,
            clock,
        }))
    }

    fn now(&self) -> i64 {
        millis(&*self.clock)
    }

    /// Reads the configuration again; on an error the old one counts on.
    ///
    /// # Errors
    /// The configuration is refused.
    pub fn reload(&self) -> Result<(), Error> {
        let (config, messages) = load(&self.settings)?;
        *self.messages.lock() = Arc::new(messages);
        self.dispatcher.lock().reload(Arc::new(config), self.now());
        self.woken.notify_one();
        Ok(())
    }

    /// Takes alerts.
    pub fn take(&self, alerts: Vec<Alert>) -> usize {
        let refused = self.dispatcher.lock().alerts(alerts, self.now());
        if refused > 0 {
            tracing::warn!(refused, "too many alerts are held");
        }
        self.woken.notify_one();
        refused
    }

    /// The last failure of each integration, by its name.
    pub fn failures(&self) -> Vec<(String, String)> {
        let failures = self.failures.lock();
        failures
            .iter()
            .map(|(n, why)| (n.clone(), why.clone()))
            .collect()
    }

    fn silence(&self, silence: Silence) -> Result<String, Refusal> {
        let fresh = wire::fresh_id();
        let made = self.dispatcher.lock().silence(silence, fresh, self.now())?;
        self.keep()?;
        self.woken.notify_one();
        Ok(made)
    }

    fn expire(&self, id: &str) -> Result<(), Refusal> {
        self.dispatcher.lock().expire(id, self.now())?;
        self.keep()?;
        self.woken.notify_one();
        Ok(())
    }

    fn keep(&self) -> Result<(), Error> {
        // The lock of what is kept comes first, so that a newer state is never overwritten.
        self.kept.save(|| self.dispatcher.lock().snapshot())
    }

    /// Sends what is due, until it is cancelled.
    pub async fn run(self: Arc<Self>, cancel: CancellationToken) {
        while !cancel.is_cancelled() {
            let now = self.now();
            let (sends, next) = {
                let mut dispatcher = self.dispatcher.lock();
                let sends = dispatcher.tick(now);
                (sends, dispatcher.next())
            };
            for send in sends {
                let own = Arc::clone(&self);
                let places = Arc::clone(&self.places);
                towpath_daemon::spawn("alert message", async move {
                    let Ok(_place) = places.acquire_owned().await else {
                        return;
                    };
                    own.send(send).await;
                });
            }
            self.keep_apart().await;
            let wait = next.map_or(60_000, |at| (at - self.now()).clamp(20, 60_000));
            tokio::select! {
                () = cancel.cancelled() => {}
                () = self.woken.notified() => {}
                () = tokio::time::sleep(Duration::from_millis(wait.unsigned_abs())) => {}
            }
        }
        self.keep_apart().await;
    }

    /// Keeps the state, off the reactor.
    async fn keep_apart(self: &Arc<Self>) {
        let own = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || own.keep()).await;
        if let Ok(Err(error)) = done {
            tracing::error!(%error, "state of alerts is not kept");
        }
    }

    async fn send(self: &Arc<Self>, send: Send) {
        let config = Arc::clone(self.dispatcher.lock().config());
        let receiver = config.receiver(&send.receiver);
        let Some(integration) = receiver.and_then(|r| r.integrations.get(send.integration)) else {
            self.finish(send.id, &Outcome::Refused).await;
            return;
        };
        let messages = Arc::clone(&self.messages.lock());
        let name = format!("{}/{}", send.receiver, integration.name());
        let result = self.sender.send(integration, &send, &messages).await;
        let outcome = match result {
            Ok(()) => {
                self.failures.lock().remove(&name);
                Outcome::Delivered
            }
            Err(failure) => {
                tracing::warn!(
                    receiver = name,
                    attempt = send.attempt,
                    why = failure.why,
                    "alerts are not told"
                );
                self.failures.lock().insert(name, failure.why);
                failure.outcome
            }
        };
        self.finish(send.id, &outcome).await;
    }

    async fn finish(self: &Arc<Self>, id: u64, outcome: &Outcome) {
        self.dispatcher.lock().done(id, outcome, self.now());
        self.keep_apart().await;
        self.woken.notify_one();
    }
}

/// Why something asked for is not done.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    Silence(#[from] SilenceError),
    #[error(transparent)]
    Keep(#[from] Error),
}

fn millis(clock: &dyn Clock) -> i64 {
    i64::try_from(clock.since_epoch().as_millis()).unwrap_or(i64::MAX)
}

impl Told for Alertmanager {
    fn told(&self, notices: Vec<Notice>) {
        let now = self.now();
        let alerts = notices.into_iter().map(|notice| Alert {
            labels: notice
                .labels
                .iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            annotations: notice.annotations,
            starts_at: notice.starts_at,
            ends_at: notice.ends_at,
            updated_at: now,
            generator_url: notice.generator_url,
            timeout: false,
        });
        self.take(alerts.collect());
    }

    fn urls(&self) -> Vec<String> {
        vec![format!(
            "{}/alertmanager/api/v2/alerts",
            self.settings.external_url
        )]
    }
}

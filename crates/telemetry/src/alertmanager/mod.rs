//! The Alertmanager: API version 2 under `/alertmanager`, and messages that go out.
//!
//! What is decided is decided by [`towpath_alerting::alertmanager`]; here it meets the clock, the
//! network and the disk. A silence is durable before it is acknowledged; what was told is noted on
//! disk before the next message goes. A server that ends in between tells the same again, with the
//! same idempotency key.

mod api;
mod history;
mod kept;
mod meters;
mod sender;
mod silenced;
mod status;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use towpath_alerting::alertmanager::{
    Alert, Config, Dispatcher, Event, Messages, Outcome, Send, Silence, SilenceError, SilenceState,
};
use towpath_alerting::rules::Notice;
use towpath_kit::traits::Principal;
use towpath_signals::logs::LogStore;
use towpath_stdx::Clock;

use crate::cases::{Circumstances, Hearing};
use crate::ledger::{Change, Ledger};
use crate::rules::{Settled, Told};
pub use history::JOB as HISTORY_JOB;
pub use meters::AlertmanagerTarget;

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

/// What we know of receivers beyond upstream: a file beside the configuration.
const RECEIVERS_FILE: &str = "receivers.yml";

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
    records: Mutex<BTreeMap<String, status::Record>>,
    history: OnceLock<history::History>,
    changes: OnceLock<Ledger>,
    cases: OnceLock<Hearing>,
    meters: meters::Meters,
    /// Whether the configuration was read the last time, and when it was.
    loaded: Mutex<(bool, i64)>,
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
    let mut config = config;
    let more = folder.join(RECEIVERS_FILE);
    if settings.config_file.is_some() && more.exists() {
        let text = read(&more)?;
        config
            .extend(&text)
            .map_err(|finding| Error::Config(more, finding.to_string()))?;
    }
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
            records: Mutex::default(),
            history: OnceLock::new(),
            changes: OnceLock::new(),
            cases: OnceLock::new(),
            meters: meters::Meters::default(),
            loaded: Mutex::new((true, now)),
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
        let read = load(&self.settings);
        self.loaded.lock().0 = read.is_ok();
        let (config, messages) = read?;
        self.loaded.lock().1 = self.now();
        *self.messages.lock() = Arc::new(messages);
        self.dispatcher.lock().reload(Arc::new(config), self.now());
        self.woken.notify_one();
        Ok(())
    }

    /// Takes alerts.
    pub fn take(&self, alerts: Vec<Alert>) -> usize {
        let now = self.now();
        for alert in &alerts {
            self.meters.received(!alert.resolved_at(now));
        }
        let refused = self.dispatcher.lock().alerts(alerts, now);
        if refused > 0 {
            tracing::warn!(refused, "too many alerts are held");
        }
        self.woken.notify_one();
        refused
    }

    /// Keeps what happens in a store of lines from now on; only the first one counts.
    pub fn keep_history(&self, store: Arc<LogStore>) {
        let _ = self.history.set(history::History::new(store));
    }

    /// Notes silences in a ledger from now on; only the first one counts.
    pub fn note_changes(&self, ledger: Ledger) {
        let _ = self.changes.set(ledger);
    }

    /// Tells cases of alerts from now on, first of those that are held; only the first one counts.
    pub fn tell_cases(&self, cases: Hearing) {
        if self.cases.set(cases).is_ok() {
            self.tell_held();
        }
    }

    /// Tells cases of what is held. Rules and others tell again what fires; what was told once,
    /// for long, is known only here.
    fn tell_held(&self) {
        let Some(cases) = self.cases.get() else {
            return;
        };
        let now = self.now();
        let dispatcher = self.dispatcher.lock();
        let held = dispatcher.all().filter(|alert| !alert.resolved_at(now));
        for alert in held {
            let silenced = dispatcher.silenced(&alert.labels, now);
            let how = Circumstances {
                silenced,
                held: true,
            };
            cases.alert(alert, how);
        }
    }

    /// Tells cases what is held once a silence has ended by itself.
    pub(crate) fn silences_ended(&self, silencing: &mut BTreeSet<String>) {
        let now = self.now();
        let active: BTreeSet<String> = {
            let dispatcher = self.dispatcher.lock();
            let all = dispatcher.silences();
            let active = all.filter(|silence| silence.state(now) == SilenceState::Active);
            active.map(|silence| silence.id.clone()).collect()
        };
        if silencing.difference(&active).next().is_some() {
            self.tell_held();
        }
        *silencing = active;
    }

    /// Takes alerts that others tell; how many are not taken.
    pub(crate) fn posted(&self, alerts: Vec<Alert>) -> usize {
        if let Some(cases) = self.cases.get() {
            let now = self.now();
            let dispatcher = self.dispatcher.lock();
            for alert in &alerts {
                let silenced = dispatcher.silenced(&alert.labels, now);
                let how = Circumstances {
                    silenced,
                    held: false,
                };
                cases.alert(alert, how);
            }
        }
        self.take(alerts)
    }

    fn note(&self, (events, lost): (Vec<Event>, u64)) {
        if lost > 0 {
            tracing::warn!(lost, "history of alerts is not kept");
        }
        if let Some(history) = self.history.get() {
            history.events(&events);
        }
    }

    fn silence(&self, silence: Silence, by: &Principal) -> Result<String, Refusal> {
        let (fresh, now) = (wire::fresh_id(), self.now());
        let made = self.dispatcher.lock().silence(silence, fresh, now)?;
        self.keep()?;
        self.changed(&made, |silence| silenced::made(silence, by, now));
        self.woken.notify_one();
        Ok(made)
    }

    pub(crate) fn expire(&self, id: &str, by: &Principal) -> Result<(), Refusal> {
        let now = self.now();
        self.dispatcher.lock().expire(id, now)?;
        self.keep()?;
        self.changed(id, |silence| silenced::ended(silence, by, now));
        self.tell_held();
        self.woken.notify_one();
        Ok(())
    }

    /// Silences alerts of one name for an hour.
    #[cfg(test)]
    pub(crate) fn quiet(&self, name: &str, now: i64, by: &Principal) -> Result<String, Refusal> {
        let silence = Silence {
            id: String::new(),
            matchers: vec![("alertname".into(), "=".into(), name.into())],
            starts_at: now,
            ends_at: now + 3_600_000,
            updated_at: now,
            created_by: by.name.clone(),
            comment: "known".into(),
            annotations: Default::default(),
            matched: false,
        };
        self.silence(silence, by)
    }

    fn changed(&self, id: &str, change: impl FnOnce(&Silence) -> Change) {
        let Some(ledger) = self.changes.get() else {
            return;
        };
        let dispatcher = self.dispatcher.lock();
        if let Some(silence) = dispatcher.silences().find(|silence| silence.id == id) {
            ledger.note(change(silence));
        }
    }

    fn keep(&self) -> Result<(), Error> {
        // The lock of what is kept comes first, so that a newer state is never overwritten.
        self.kept.save(|| self.dispatcher.lock().snapshot())
    }

    /// Sends what is due, until it is cancelled.
    pub async fn run(self: Arc<Self>, cancel: CancellationToken) {
        let mut silencing = BTreeSet::new();
        while !cancel.is_cancelled() {
            let now = self.now();
            let (sends, next, events) = {
                let mut dispatcher = self.dispatcher.lock();
                let sends = dispatcher.tick(now);
                (sends, dispatcher.next(), dispatcher.events())
            };
            // Before the state that says that they happened.
            self.note(events);
            self.silences_ended(&mut silencing);
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
        let sent = self.attempt(integration, &send.message, send.attempt, false);
        let (attempt, _) = sent.await;
        let outcome = attempt.outcome();
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
pub(crate) enum Refusal {
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
        let labels = |notice: &Notice| {
            let pairs = notice.labels.iter();
            pairs
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect()
        };
        if let Some(cases) = self.cases.get() {
            let dispatcher = self.dispatcher.lock();
            for notice in &notices {
                let silenced = dispatcher.silenced(&labels(notice), now);
                let how = Circumstances {
                    silenced,
                    held: false,
                };
                cases.rule(notice, how);
            }
        }
        let alerts = notices.into_iter().map(|notice| Alert {
            labels: labels(&notice),
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
    fn waits(&self) -> bool {
        self.cases.get().is_some_and(Hearing::waits)
    }

    fn settled(&self, rules: Vec<Settled>) -> bool {
        self.cases.get().is_none_or(|cases| cases.settled(rules))
    }
}

//! Logs of pods on this node: read from the files that containers' output goes to, put into the
//! store of lines under the pod's names.
//!
//! The kernel says that something was written; then all files are looked through for what is new.
//! How far each file was read is kept once its lines are durable. What was read twice, because
//! the process ended in between, is told by the time of the newest line in the store and left out.

mod file;
mod positions;
mod watch;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use tokio_util::sync::CancellationToken;
use towpath_kit::cache::Cache;
use towpath_kit::kinds::labels as own;
use towpath_query::logql::{self, Direction, LogQuery};
use towpath_query::promql::{Labels, Matcher};
use towpath_signals::logs::{Line, LogStore, Stream};

use crate::loki::level;
use file::{Place, Source};
use positions::Positions;
use watch::Watch;

/// Changes are gathered for so long before files are looked through.
const GATHER: Duration = Duration::from_millis(200);
/// How often files of pods that are not known yet, or that the store did not take, are tried again.
const AGAIN: Duration = Duration::from_secs(2);
/// The most bytes that are read from one file before the others have their turn.
const TURN_BYTES: usize = 1 << 20;

/// A pod as its lines are labelled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodNames {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// What it belongs to.
    pub app: String,
    /// The release and the commit behind it, where they are known.
    pub origin: Vec<(String, String)>,
}

/// Knows pods by their UIDs.
pub trait Pods: Send + Sync {
    /// The pod, while it is there.
    fn pod(&self, uid: &str) -> Option<PodNames>;
}

impl Pods for Cache<Pod> {
    fn pod(&self, uid: &str) -> Option<PodNames> {
        let found = self.filter(|pod| pod.metadata.uid.as_deref() == Some(uid));
        found.first().map(|pod| names(pod))
    }
}

/// Labels that name what a pod belongs to, the most telling first.
const APPS: [&str; 3] = ["app.kubernetes.io/name", "app", "k8s-app"];

fn names(pod: &Pod) -> PodNames {
    let none = BTreeMap::new();
    let labels = pod.metadata.labels.as_ref().unwrap_or(&none);
    let label = |name: &str| labels.get(name).filter(|value| !value.is_empty()).cloned();
    let name = pod.metadata.name.clone().unwrap_or_default();
    let app = APPS.iter().find_map(|name| label(name));
    let origin = [("release", own::RELEASE), ("commit", own::COMMIT)];
    PodNames {
        namespace: pod.metadata.namespace.clone().unwrap_or_default(),
        app: app.unwrap_or_else(|| name.clone()),
        name,
        origin: origin
            .into_iter()
            .filter_map(|(short, long)| Some((short.to_owned(), label(long)?)))
            .collect(),
    }
}

/// Where logs are and where they go.
pub struct Collector {
    /// Directory of logs: `<uid>/<container>/<attempt>.log`, older parts with a number behind.
    pub logs: PathBuf,
    /// File that keeps how far logs were read.
    pub positions: PathBuf,
    /// The node's name.
    pub node: String,
    /// Knows pods.
    pub pods: Arc<dyn Pods>,
    /// Takes lines.
    pub store: Arc<LogStore>,
}

/// One log: of one instance of a container.
type Name = (String, String, u32);

impl Collector {
    /// Collects until it is told to end.
    pub async fn run(self, cancel: CancellationToken) {
        let handle = tokio::runtime::Handle::current();
        let work = move || {
            let mut work = Work::new(self);
            while !cancel.is_cancelled() {
                let durable = |store: &LogStore| handle.block_on(store.sync()).is_ok();
                let again = work.round(&durable);
                work.wait(if again { Duration::ZERO } else { AGAIN });
            }
        };
        if let Err(error) = tokio::task::spawn_blocking(work).await {
            tracing::error!(%error, "collecting logs of pods failed");
        }
    }
}

struct Work {
    collector: Collector,
    watch: Option<Watch>,
    positions: Positions,
    /// The pods of logs that were seen, kept while their logs are there: pods go before their logs.
    known: HashMap<String, PodNames>,
    /// Times up to which lines are in the store, of logs that were read before this start.
    stored: HashMap<Name, i64>,
}

impl Work {
    fn new(collector: Collector) -> Self {
        let watch = Watch::new()
            .inspect_err(|error| tracing::warn!(%error, "logs of pods are looked at by the clock"))
            .ok();
        Self {
            positions: Positions::open(&collector.positions),
            collector,
            watch,
            known: HashMap::new(),
            stored: HashMap::new(),
        }
    }

    /// Waits for changes, at the longest for a time.
    fn wait(&mut self, longest: Duration) {
        match &mut self.watch {
            _ if longest.is_zero() => {}
            Some(watch) => {
                if watch.changed(longest) {
                    std::thread::sleep(GATHER);
                }
            }
            None => std::thread::sleep(longest),
        }
    }

    /// Reads what is new; whether there is more.
    fn round(&mut self, durable: &dyn Fn(&LogStore) -> bool) -> bool {
        let logs = self.logs();
        let uids: HashSet<&String> = logs.iter().map(|(name, _)| &name.0).collect();
        self.known.retain(|uid, _| uids.contains(uid));
        self.positions
            .keep(|name| logs.iter().any(|(known, _)| known == name));
        let (mut more, mut changed) = (false, Vec::new());
        for (name, path) in logs {
            match self.read(&name, &path) {
                Ok(None) => {}
                Ok(Some((place, unread))) => {
                    more |= unread;
                    changed.push((name, place));
                }
                Err(error) => {
                    tracing::debug!(log = %path.display(), %error, "a log waits to be collected");
                }
            }
        }
        if changed.is_empty() {
            return false;
        }
        if !durable(&self.collector.store) {
            return false;
        }
        for (name, place) in changed {
            self.stored.remove(&name);
            self.positions.set(name, place);
        }
        if let Err(error) = self.positions.save() {
            tracing::warn!(%error, "how far logs were read cannot be kept");
        }
        more
    }

    /// All logs there are; their directories are watched from now on.
    fn logs(&mut self) -> Vec<(Name, PathBuf)> {
        let mut out = Vec::new();
        let root = self.collector.logs.clone();
        self.watch_dir(&root);
        for (uid, pod_dir) in directories(&root) {
            self.watch_dir(&pod_dir);
            for (container, dir) in directories(&pod_dir) {
                self.watch_dir(&dir);
                for attempt in file::attempts(&dir) {
                    let path = dir.join(format!("{attempt}.log"));
                    out.push(((uid.clone(), container.clone(), attempt), path));
                }
            }
        }
        out.sort();
        out
    }

    fn watch_dir(&mut self, dir: &Path) {
        if let Some(watch) = &mut self.watch {
            watch.add(dir);
        }
    }

    /// Reads one log from where it was left; the answer is where that is now, and whether there
    /// is more.
    fn read(&mut self, name: &Name, path: &Path) -> Result<Option<(Place, bool)>, String> {
        let before = self.positions.get(name);
        let mut source = Source::open(path, before).map_err(|error| error.to_string())?;
        if !source.has_more() {
            return Ok(None);
        }
        let pod = match self.known.get(&name.0) {
            Some(pod) => pod.clone(),
            None => {
                let pod = self
                    .collector
                    .pods
                    .pod(&name.0)
                    .ok_or("the pod is not known")?;
                self.known.insert(name.0.clone(), pod.clone());
                pod
            }
        };
        let labels = self.labels(&pod, &name.1);
        let after = match self.stored.get(name) {
            Some(after) => *after,
            None if self.positions.is_of_this_start(name) => i64::MIN,
            None => {
                let newest = self.newest(&labels).unwrap_or(i64::MIN);
                self.stored.insert(name.clone(), newest);
                newest
            }
        };
        let read = source.read(TURN_BYTES).map_err(|error| error.to_string())?;
        let lines: Vec<Line> = read
            .into_iter()
            .filter(|line| line.at > after)
            .map(|line| self.line(&labels, &pod, line))
            .collect();
        let count = lines.len();
        let pushed = self
            .collector
            .store
            .push(vec![Stream { labels, lines }])
            .map_err(|error| error.to_string())?;
        if pushed.taken < count {
            tracing::debug!(log = %path.display(), ?pushed, "lines were not taken");
        }
        Ok(Some((source.place(), source.has_more())))
    }

    fn labels(&self, pod: &PodNames, container: &str) -> Labels {
        let labels = [
            ("namespace", pod.namespace.as_str()),
            ("pod", &pod.name),
            ("container", container),
            ("node", &self.collector.node),
            ("app", &pod.app),
        ];
        level::with_service(labels.into_iter().collect())
    }

    fn line(&self, labels: &Labels, pod: &PodNames, line: file::Line) -> Line {
        let mut metadata = pod.origin.clone();
        metadata.push(("stream".to_owned(), line.stream.to_owned()));
        let found = level::level(labels, &metadata, &line.text);
        metadata.push((level::LEVEL.to_owned(), found.to_owned()));
        Line {
            at: line.at,
            text: line.text,
            metadata,
        }
    }

    /// The time of the newest line of a stream.
    fn newest(&self, labels: &Labels) -> Option<i64> {
        let query = LogQuery {
            matchers: labels
                .iter()
                .map(|(name, value)| Matcher::equal(name, value))
                .collect(),
            stages: Vec::new(),
        };
        let all = (i64::MIN, i64::MAX);
        let settings = logql::Settings::default();
        let store = self.collector.store.as_ref();
        let answer = logql::logs(&query, all, Direction::Backward, 1, store, &settings);
        answer.ok()?.entries.first().map(|entry| entry.at)
    }
}

/// Directories in a directory, with their names.
fn directories(dir: &Path) -> Vec<(String, PathBuf)> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path())))
        .collect()
}

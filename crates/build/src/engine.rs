//! Builds: the needed stages one after the other, each step from the cache or run.

use crate::copy::{self, Manner, ModeChange};
use crate::dockerfile::expand;
use crate::dockerfile::stages::Base;
use crate::dockerfile::{self, Copy, Findings, Instruction, Op, Place, Plan, stages};
use crate::ignore::Ignore;
use crate::layers::{Layer, Layers, Made, Scratch, words};
use crate::run::{self, Origin};
use crate::settings;
use crate::stage::{State, digest};
use crate::tree::{self, Tree};
use crate::users;
use async_trait::async_trait;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use towpath_container::Runtime;
use towpath_kit::kinds::{Finding, Severity};
use towpath_kit::traits::{
    BuildError, BuildLog, BuildOutput, BuildRequest, Builder, Images, LocalImage, PodNetwork,
};
use towpath_oci::config::{History, Image};
use towpath_oci::layer::{Compression, diff};
use towpath_oci::manifest::{CONFIG, Descriptor, IMAGE, Manifest};
use towpath_oci::{Digest, Reference};
use towpath_stdx::{Clock, SystemClock, SystemRandom, clock, id};

/// Settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// The builder's own directory: unpacked layers, cache, scratch space. On a file system that
    /// can hold an overlay's upper directory.
    pub directory: PathBuf,
    /// Compression of new layers.
    pub compression: Compression,
    /// Memory of a `RUN` where the request names none, bytes.
    pub memory_bytes: u64,
    /// Processes and threads of a `RUN`.
    pub pids: i64,
    /// Time of one `RUN`.
    pub step_limit: Duration,
    /// Disk that one `RUN` may use, bytes.
    pub step_bytes: u64,
    /// Disk that must stay free, bytes.
    pub reserve_bytes: u64,
    /// Builds at the same time; others wait.
    pub parallel: usize,
    /// Largest context taken over HTTP, bytes unpacked.
    pub context_bytes: u64,
    /// Whether missing base images are made of the distribution's packages.
    pub make_bases: bool,
}

impl Config {
    /// Defaults for a directory.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            compression: Compression::Zstd,
            memory_bytes: 2 << 30,
            pids: 4096,
            step_limit: Duration::from_secs(3600),
            step_bytes: 20 << 30,
            reserve_bytes: 512 << 20,
            parallel: 2,
            context_bytes: 4 << 30,
            make_bases: true,
        }
    }
}

/// The builder. Cheap to clone. It is also an [`Images`] that makes base images on first use.
#[derive(Clone)]
pub struct Engine(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) config: Config,
    /// Images that are here; never asks elsewhere.
    pub(crate) local: Arc<dyn Images>,
    /// The same with pull-through.
    pub(crate) remote: Arc<dyn Images>,
    pub(crate) runtime: Runtime,
    pub(crate) network: Option<Arc<dyn PodNetwork>>,
    pub(crate) layers: Layers,
    pub(crate) clock: Arc<dyn Clock>,
    /// One base image is made at a time.
    pub(crate) making: tokio::sync::Mutex<()>,
    permits: tokio::sync::Semaphore,
    /// Secrets of running steps, in memory where the machine has a memory file system.
    secrets: PathBuf,
}

// For images that do not say when they were made, and `scratch`: the start of what zip can hold.
const EPOCH: i64 = 315_532_800;

impl Engine {
    /// Opens the directory and removes what a killed server left, steps included: the runtime
    /// must be the builder's own. `local` answers only for what is here, `remote` may pull.
    pub fn open(
        config: Config,
        local: Arc<dyn Images>,
        remote: Arc<dyn Images>,
        runtime: Runtime,
        network: Option<Arc<dyn PodNetwork>>,
    ) -> Result<Self, BuildError> {
        let fail = |e: std::io::Error| other(format!("open {}: {e}", config.directory.display()));
        std::fs::create_dir_all(&config.directory).map_err(fail)?;
        let layers = Layers::open(&config.directory).map_err(fail)?;
        let name = format!(
            "towpath-build-{}",
            &Digest::of(config.directory.as_os_str().as_encoded_bytes()).hex()[..16]
        );
        let memory = Path::new("/dev/shm");
        let secrets = if memory.is_dir() {
            memory.join(name)
        } else {
            config.directory.join("secrets")
        };
        let _ = std::fs::remove_dir_all(&secrets);
        let engine = Self(Arc::new(Inner {
            permits: tokio::sync::Semaphore::new(config.parallel.max(1)),
            config,
            local,
            remote,
            runtime,
            network,
            layers,
            clock: Arc::new(SystemClock),
            making: tokio::sync::Mutex::new(()),
            secrets,
        }));
        engine.clean();
        Ok(engine)
    }

    // Ends steps of a killed server and removes their files, beside the first builds: names are
    // never used twice.
    fn clean(&self) {
        let inner = self.0.clone();
        let left: Vec<String> = inner.runtime.list();
        if left.is_empty() && inner.layers.empty_trash().is_ok() {
            return;
        }
        towpath_daemon::spawn("build-clean", async move {
            for id in left {
                if let Err(error) = inner.runtime.remove(&id).await {
                    tracing::warn!(id, %error, "step of an earlier build not removed");
                }
            }
            if let Err(error) = inner.layers.empty_trash() {
                tracing::warn!(%error, "left of an earlier build, tried again at the next start");
            }
        });
    }

    /// Text for a step's `/etc/resolv.conf`: the host's own, unless it points at the host's
    /// loopback and steps have a network of their own.
    pub(crate) fn resolver(&self) -> String {
        let bytes = towpath_stdx::bounded::read_file(Path::new("/etc/resolv.conf"), 64 << 10)
            .unwrap_or_default();
        let host = String::from_utf8_lossy(&bytes).into_owned();
        let servers = host
            .lines()
            .filter_map(|line| line.trim().strip_prefix("nameserver"));
        let loopback = servers
            .map(str::trim)
            .all(|server| server.starts_with("127.") || server == "::1");
        match &self.0.network {
            Some(network) if loopback => network.resolv_conf(""),
            _ => host,
        }
    }

    pub(crate) async fn build_with(
        &self,
        request: BuildRequest,
        log: BuildLog<'_>,
    ) -> Result<BuildOutput, BuildError> {
        let id = id::suffix(&SystemRandom, 12);
        let build = Build {
            engine: self,
            id,
            request: &request,
            log,
            steps: AtomicU64::new(0),
            plan: None,
            context: None,
        };
        build.all().await
    }
}

#[async_trait]
impl Builder for Engine {
    async fn build(
        &self,
        request: BuildRequest,
        log: BuildLog<'_>,
    ) -> Result<BuildOutput, BuildError> {
        let permit = self.0.permits.try_acquire();
        let _permit = match permit {
            Ok(permit) => permit,
            Err(_) => {
                log("waiting for another build to end");
                self.0
                    .permits
                    .acquire()
                    .await
                    .map_err(|e| other(e.to_string()))?
            }
        };
        self.build_with(request, log).await
    }
}

/// One build.
pub(crate) struct Build<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) id: String,
    pub(crate) request: &'a BuildRequest,
    pub(crate) log: BuildLog<'a>,
    steps: AtomicU64,
    plan: Option<Arc<Plan>>,
    context: Option<Context>,
}

struct Context {
    path: PathBuf,
    ignore: Arc<Ignore>,
    done: Arc<parking_lot::Mutex<BTreeMap<usize, State>>>,
}

impl Build<'_> {
    pub(crate) fn file(&self) -> &str {
        &self.request.dockerfile
    }

    pub(crate) fn escape(&self) -> char {
        self.plan.as_ref().map_or('\\', |plan| plan.escape)
    }

    pub(crate) fn next_number(&self) -> u64 {
        self.steps.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn memory_bytes(&self) -> u64 {
        if self.request.memory_bytes > 0 {
            self.request.memory_bytes
        } else {
            self.engine.0.config.memory_bytes
        }
    }

    pub(crate) fn secret_path(&self, id: &str, number: usize) -> PathBuf {
        use std::os::unix::fs::DirBuilderExt;
        let dir = &self.engine.0.secrets;
        let _ = std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir);
        dir.join(format!("{}-{number}-{id}", self.id))
    }

    /// Unpacked layers, uppermost first; never empty.
    pub(crate) fn lower(&self, layers: &[Layer]) -> Vec<PathBuf> {
        let store = &self.engine.0.layers;
        let mut lower: Vec<PathBuf> = Vec::new();
        for layer in layers.iter().rev() {
            let path = store.path(&layer.diff_id);
            if !lower.contains(&path) {
                lower.push(path);
            }
        }
        if lower.is_empty() {
            lower.push(store.empty());
        }
        lower
    }

    async fn all(mut self) -> Result<BuildOutput, BuildError> {
        let (plan, ignore) = self.read().await?;
        self.plan = Some(Arc::new(plan));
        self.context = Some(Context {
            path: self.request.context.clone(),
            ignore: Arc::new(ignore),
            done: Arc::default(),
        });
        let plan = self.plan.clone().ok_or_else(|| other("no plan".into()))?;
        let total: usize = plan
            .needed
            .iter()
            .map(|s| plan.stages[*s].instructions.len() + 1)
            .sum();
        let (mut number, mut cached) = (0, 0);
        let mut last = None;
        for index in &plan.needed {
            let state = self
                .stage(&plan, *index, &mut number, total, &mut cached)
                .await?;
            self.context()?.done.lock().insert(*index, state.clone());
            last = Some(state);
        }
        let state = last.ok_or_else(|| other("no stage to build".into()))?;
        let (digest, image_bytes) = self.push(state).await?;
        (self.log)(&format!(
            "image {digest}, {cached} of {total} steps from the cache"
        ));
        Ok(BuildOutput {
            digest,
            image_bytes,
            cached_steps: (cached, total as u32),
        })
    }

    fn context(&self) -> Result<&Context, BuildError> {
        self.context
            .as_ref()
            .ok_or_else(|| other("no context".into()))
    }

    // The Dockerfile and its ignore file; the Dockerfile is readable also where it is ignored.
    async fn read(&self) -> Result<(Plan, Ignore), BuildError> {
        let (context, name) = (
            self.request.context.clone(),
            self.request.dockerfile.clone(),
        );
        let files = tokio::task::spawn_blocking(move || {
            let tree = Tree::open(&context)?;
            let file = tree.read(&name, dockerfile::FILE_BYTES as u64 + 1)?;
            let own = format!("{name}.dockerignore");
            let named = tree.read(&own, 4 << 20).ok().map(|bytes| (own, bytes));
            let ignore = named.or_else(|| {
                tree.read(".dockerignore", 4 << 20)
                    .ok()
                    .map(|b| (".dockerignore".into(), b))
            });
            Ok::<_, std::io::Error>((file, ignore))
        });
        let (file, ignore) = files
            .await
            .map_err(|e| other(e.to_string()))?
            .map_err(|e| {
                input(
                    self.file(),
                    Place::default(),
                    "unreadable",
                    format!("the Dockerfile cannot be read from the context: {e}"),
                )
            })?;
        let mut findings = Findings::new(self.file());
        let Ok(text) = String::from_utf8(file) else {
            return Err(input(
                self.file(),
                Place { line: 1, column: 1 },
                "binary",
                "the file is not UTF-8 text".into(),
            ));
        };
        let parsed = dockerfile::parse(&text, &mut findings);
        let plan = stages::plan(
            parsed,
            self.request.target.as_deref(),
            &self.request.args,
            &mut findings,
        );
        let ignore = match ignore {
            None => Ignore::default(),
            Some((name, bytes)) => {
                Ignore::parse(&String::from_utf8_lossy(&bytes)).unwrap_or_else(|(line, message)| {
                    let mut of_ignore = Findings::new(&name);
                    of_ignore.error(Place { line, column: 1 }, "ignore", message);
                    findings.all.extend(of_ignore.all);
                    Ignore::default()
                })
            }
        };
        for finding in findings
            .all
            .iter()
            .filter(|f| f.severity == Severity::Warning)
        {
            (self.log)(&format!(
                "warning: {}:{}:{}: {}",
                finding.file, finding.line, finding.column, finding.message
            ));
        }
        if findings.has_errors() {
            findings.all.retain(|f| f.severity == Severity::Error);
            return Err(BuildError::Input {
                findings: findings.all,
            });
        }
        Ok((plan, ignore))
    }

    async fn stage(
        &self,
        plan: &Plan,
        index: usize,
        number: &mut usize,
        total: usize,
        cached: &mut u32,
    ) -> Result<State, BuildError> {
        let stage = &plan.stages[index];
        *number += 1;
        (self.log)(&format!("[{number}/{total}] {}", stage.text));
        let mut state = match &stage.base {
            Base::Scratch => scratch(),
            Base::Stage(base) => self.done(*base)?,
            Base::Image(reference) => self.image(reference).await?,
        };
        *cached += 1;
        state.args = BTreeMap::new();
        state.cmd_set = false;
        state.key = digest([state.key.as_str(), &self.request.scope].into_iter());
        if let Some(path) = self.request.source_date_epoch {
            state.epoch = state.epoch.min(path);
        }
        let triggers = state
            .image
            .config
            .on_build
            .take()
            .filter(|_| !matches!(stage.base, Base::Stage(_)));
        for text in triggers.unwrap_or_default() {
            let instruction = self.trigger(&text, stage.place)?;
            (self.log)(&format!("  ONBUILD {text}"));
            self.step(plan, index, &instruction, &mut state).await?;
        }
        for instruction in &stage.instructions {
            *number += 1;
            let shown = instruction.text.lines().next().unwrap_or_default();
            (self.log)(&format!("[{number}/{total}] {shown}"));
            if self.step(plan, index, instruction, &mut state).await? {
                *cached += 1;
            }
        }
        Ok(state)
    }

    fn trigger(&self, text: &str, place: Place) -> Result<Instruction, BuildError> {
        let mut findings = Findings::new(self.file());
        let mut parsed = dockerfile::parse(text, &mut findings).instructions;
        match parsed
            .pop()
            .filter(|_| parsed.is_empty() && !findings.has_errors())
        {
            Some(instruction) => Ok(Instruction {
                place,
                ..instruction
            }),
            None => Err(input(
                self.file(),
                place,
                "onbuild",
                format!("the base image's ONBUILD {text:?} cannot be read"),
            )),
        }
    }

    fn done(&self, stage: usize) -> Result<State, BuildError> {
        let done = self.context()?.done.lock().get(&stage).cloned();
        done.ok_or_else(|| other(format!("stage {stage} was not built before it was used")))
    }

    /// An image's layers, unpacked, and its configuration.
    async fn image(&self, reference: &str) -> Result<State, BuildError> {
        let found = self
            .engine
            .find(reference, self.log)
            .await
            .map_err(|e| other(e.to_string()))?;
        self.load(reference, found).await
    }

    async fn load(&self, reference: &str, found: LocalImage) -> Result<State, BuildError> {
        let bad = |error: towpath_oci::Error| other(format!("image {reference}: {error}"));
        let manifest = Manifest::parse(&found.manifest, "").map_err(bad)?;
        let mut image = Image::parse(&found.config).map_err(bad)?;
        if image.rootfs.diff_ids.len() != manifest.layers.len() {
            return Err(other(format!(
                "image {reference}: configuration and manifest name different layers"
            )));
        }
        let mut layers = Vec::new();
        for (descriptor, diff_id) in manifest.layers.iter().zip(&image.rootfs.diff_ids) {
            let layer = Layer {
                diff_id: diff_id.clone(),
                digest: descriptor.digest.clone(),
                bytes: descriptor.size,
                media_type: oci_media_type(&descriptor.media_type),
            };
            self.unpack(&layer).await?;
            layers.push(layer);
        }
        let epoch = image
            .created
            .as_deref()
            .and_then(parse_time)
            .filter(|at| *at >= EPOCH)
            .unwrap_or(EPOCH);
        image.created = None;
        let key = digest(["image", &found.digest].into_iter());
        Ok(State {
            image,
            layers,
            key,
            args: BTreeMap::new(),
            cmd_set: false,
            epoch,
        })
    }

    async fn unpack(&self, layer: &Layer) -> Result<(), BuildError> {
        if self.engine.0.layers.path(&layer.diff_id).exists() {
            return Ok(());
        }
        let blob = self
            .engine
            .0
            .local
            .open_blob(&layer.digest)
            .await
            .map_err(|e| other(e.to_string()))?;
        let (store, diff_id, id) = (
            self.engine.0.layers.clone(),
            layer.diff_id.clone(),
            self.number(),
        );
        let work = tokio::task::spawn_blocking(move || store.unpack(blob, &diff_id, &id));
        work.await
            .map_err(|e| other(e.to_string()))?
            .map_err(|m| other(format!("unpack layer {}: {m}", layer.digest)))
    }

    fn number(&self) -> String {
        format!("{}-{}", self.id, self.next_number())
    }

    // One instruction; true where the cache answered or nothing was to be done.
    async fn step(
        &self,
        plan: &Plan,
        index: usize,
        instruction: &Instruction,
        state: &mut State,
    ) -> Result<bool, BuildError> {
        let place = instruction.place;
        let bad = |message: String| input(self.file(), place, "value", message);
        let before = state.layers.len();
        let hit = match &instruction.op {
            Op::Run(run) => self.run(state, run, place, index).await?,
            Op::Copy(copy) | Op::Add(copy) => self.copy(state, copy, place, index).await?,
            op => {
                settings::apply(state, op, plan.escape, &self.request.args, &plan.globals)
                    .map_err(bad)?;
                if matches!(op, Op::Workdir(_)) {
                    self.workdir(state, place).await?
                } else {
                    true
                }
            }
        };
        let facts = format!("{:?}", (&state.image.config, &state.args));
        state.key = state.step_key(&["settings", &facts]);
        state.image.history.push(History {
            created_by: instruction.text.chars().take(4096).collect(),
            empty_layer: state.layers.len() == before,
            comment: "towpath".into(),
            ..History::default()
        });
        Ok(hit)
    }

    async fn run(
        &self,
        state: &mut State,
        run: &dockerfile::Run,
        place: Place,
        index: usize,
    ) -> Result<bool, BuildError> {
        let prepared = run::prepare(self, state, run, place, index).await?;
        let facts: Vec<&str> = prepared.facts.iter().map(String::as_str).collect();
        let key = state.step_key(&facts);
        if self.recall(state, &key).await? {
            return Ok(true);
        }
        let scratch = self.scratch()?;
        run::execute(self, state, prepared, &scratch, index).await?;
        self.keep(state, &key, scratch).await?;
        Ok(false)
    }

    async fn workdir(&self, state: &mut State, place: Place) -> Result<bool, BuildError> {
        let path = state.workdir().to_string();
        let lower = self.lower(&state.layers);
        let tree = Tree::readable(&lower, &self.engine.0.layers.below())
            .map_err(|e| other(format!("open layers: {e}")))?;
        if tree
            .find(
                &path,
                rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::PATH,
            )
            .is_ok()
        {
            return Ok(true);
        }
        drop(tree);
        let key = state.step_key(&["workdir", &path]);
        if self.recall(state, &key).await? {
            return Ok(true);
        }
        let scratch = self.scratch()?;
        {
            let tree = Tree::writable(&lower, &scratch.upper(), &scratch.work())
                .map_err(|e| other(format!("open layers: {e}")))?;
            tree.make_directories(&path, None)
                .map_err(|e| input(self.file(), place, "workdir", format!("make {path}: {e}")))?;
        }
        self.keep(state, &key, scratch).await?;
        Ok(false)
    }

    async fn copy(
        &self,
        state: &mut State,
        copy: &Copy,
        place: Place,
        index: usize,
    ) -> Result<bool, BuildError> {
        let bad = |message: String| {
            input(
                self.file(),
                place,
                if copy.add { "add" } else { "copy" },
                message,
            )
        };
        let escape = self.escape();
        let word = |text: &str| state.word(text, escape).map_err(bad);
        let patterns = copy
            .sources
            .iter()
            .map(|s| word(s))
            .collect::<Result<Vec<_>, _>>()?;
        let written = word(&copy.target)?;
        let slash = if written.ends_with('/')
            || matches!(written.as_str(), "." | "..")
            || written.ends_with("/.")
        {
            "/"
        } else {
            ""
        };
        let target = format!("{}{slash}", tree::absolute(state.workdir(), &written));
        let chown = copy.chown.as_deref().map(word).transpose()?;
        let mode = copy.chmod.as_deref().map(word).transpose()?;
        let mode = mode
            .as_deref()
            .map(ModeChange::parse)
            .transpose()
            .map_err(bad)?;
        let exclude = copy
            .exclude
            .iter()
            .map(|s| word(s))
            .collect::<Result<Vec<_>, _>>()?
            .join("\n");
        let exclude = move || Ignore::parse(&exclude).unwrap_or_default();
        let mut files = Vec::new();
        for heredoc in &copy.heredocs {
            let content = if heredoc.expand {
                state.text(&heredoc.content, escape).map_err(bad)?
            } else {
                heredoc.content.clone()
            };
            files.push((heredoc.name.clone(), content));
        }
        let origin = Arc::new(self.origin(copy.from.as_deref(), index, place).await?);
        let base = if copy.link {
            vec![self.engine.0.layers.empty()]
        } else {
            self.lower(&state.layers)
        };
        let owner = match &chown {
            None => None,
            Some(text) => {
                // Names are the image's, also where the files go beside it.
                let tree =
                    Tree::readable(&self.lower(&state.layers), &self.engine.0.layers.below());
                let tree = tree.map_err(|e| other(format!("open layers: {e}")))?;
                Some(users::owner(&tree, text).map_err(bad)?)
            }
        };
        let manner = Manner {
            owner,
            mode,
            unpack: copy.add,
            parents: copy.parents,
        };
        let (source, patterns2, make_exclude) = (origin.clone(), patterns.clone(), exclude.clone());
        let found = tokio::task::spawn_blocking(move || {
            let sources = source.sources(&patterns2, make_exclude());
            let paths = sources.paths()?;
            let digest = sources.digest(&paths).map_err(|e| e.to_string())?;
            Ok::<_, String>((paths, digest))
        });
        let (paths, content) = found
            .await
            .map_err(|e| other(e.to_string()))?
            .map_err(bad)?;
        let facts = format!("{target} {manner:?} {paths:?} {files:?} {}", patterns.len());
        let key = if copy.link {
            digest(["link", &self.request.scope, &facts, &content].into_iter())
        } else {
            state.step_key(&["copy", &facts, &content])
        };
        if self.recall(state, &key).await? {
            return Ok(true);
        }
        let scratch = self.scratch()?;
        let (upper, work) = (scratch.upper(), scratch.work());
        let done = tokio::task::spawn_blocking(move || {
            let into = Tree::writable(&base, &upper, &work)?;
            let sources = origin.sources(&patterns, exclude());
            copy::copy(&sources, &paths, &into, &target, &manner)?;
            let several = files.len() + paths.len() > 1;
            for (name, content) in &files {
                let target = if several && !target.ends_with('/') {
                    format!("{target}/")
                } else {
                    target.clone()
                };
                copy::write(&into, &target, name, content.as_bytes(), &manner)?;
            }
            Ok::<_, std::io::Error>(())
        });
        done.await
            .map_err(|e| other(e.to_string()))?
            .map_err(|e| bad(e.to_string()))?;
        self.keep(state, &key, scratch).await?;
        Ok(false)
    }

    /// The tree that a `--from` names; the context where there is none.
    pub(crate) async fn origin(
        &self,
        from: Option<&str>,
        stage: usize,
        place: Place,
    ) -> Result<Origin, BuildError> {
        let open = |e: std::io::Error| other(format!("open source: {e}"));
        let Some(from) = from else {
            let context = self.context()?;
            let ignore = (!context.ignore.is_empty()).then(|| context.ignore.clone());
            return Ok(Origin {
                tree: Tree::open(&context.path).map_err(open)?,
                ignore,
                owners: false,
            });
        };
        let plan = self.plan.as_ref().ok_or_else(|| other("no plan".into()))?;
        let globals = |name: &str| plan.globals.get(name).cloned().flatten();
        let from = expand::word(from, plan.escape, &globals)
            .map_err(|m| input(self.file(), place, "from", m))?;
        let layers = match plan.source(&from, stage) {
            Base::Scratch => Vec::new(),
            Base::Stage(index) => self.done(index)?.layers,
            Base::Image(reference) => self.image(&reference).await?.layers,
        };
        let tree =
            Tree::readable(&self.lower(&layers), &self.engine.0.layers.below()).map_err(open)?;
        Ok(Origin {
            tree,
            ignore: None,
            owners: true,
        })
    }

    fn scratch(&self) -> Result<Scratch, BuildError> {
        self.engine
            .0
            .layers
            .scratch(&self.number())
            .map_err(|e| other(format!("make scratch directory: {e}")))
    }

    // A step's result out of the cache, with everything it needs still here.
    async fn recall(&self, state: &mut State, key: &str) -> Result<bool, BuildError> {
        let Some(made) = self.engine.0.layers.recall(key) else {
            return Ok(false);
        };
        if let Some(layer) = made.layer {
            let blob = self.engine.0.local.open_blob(&layer.digest).await;
            if blob.is_err() || self.unpack(&layer).await.is_err() {
                return Ok(false);
            }
            state.layers.push(layer);
        }
        // What follows depends on what this step was made of.
        state.key = state.step_key(&[key]);
        (self.log)("  from the cache");
        Ok(true)
    }

    // Packs what a step wrote, stores the blob, keeps the directory as the unpacked layer.
    async fn keep(&self, state: &mut State, key: &str, scratch: Scratch) -> Result<(), BuildError> {
        let options = diff::Options {
            compression: self.engine.0.config.compression,
            clamp_mtime: Some(state.epoch),
        };
        let (upper, file) = (scratch.upper(), scratch.path().join("layer"));
        let packed = file.clone();
        let work = tokio::task::spawn_blocking(move || {
            let out = std::fs::File::create(&packed).map_err(|e| e.to_string())?;
            let out = std::io::BufWriter::with_capacity(1 << 20, out);
            diff::diff(&upper, out, &options).map_err(|e| words(&e))
        });
        let diffed = work
            .await
            .map_err(|e| other(e.to_string()))?
            .map_err(|m| other(format!("pack layer: {m}")))?;
        let made = if diffed.entries == 0 {
            Made { layer: None }
        } else {
            let digest = diffed.digest.to_string();
            self.engine
                .0
                .local
                .put_blob(&digest, &file)
                .await
                .map_err(|e| other(e.to_string()))?;
            let layer = Layer {
                diff_id: diffed.diff_id.to_string(),
                digest,
                bytes: diffed.bytes,
                media_type: options.compression.media_type().into(),
            };
            self.engine
                .0
                .layers
                .adopt(&scratch.upper(), &layer.diff_id)
                .map_err(other)?;
            state.layers.push(layer.clone());
            Made { layer: Some(layer) }
        };
        self.engine.0.layers.remember(key, &made, &self.number());
        state.key = state.step_key(&[key]);
        Ok(())
    }

    // Configuration and manifest, under every tag.
    async fn push(&self, mut state: State) -> Result<(String, u64), BuildError> {
        let at = self.request.source_date_epoch.unwrap_or(state.epoch).max(0) as u64;
        let created = clock::rfc3339(at);
        state.image.created = Some(created.clone());
        for entry in state
            .image
            .history
            .iter_mut()
            .filter(|entry| entry.comment == "towpath" && entry.created.is_none())
        {
            entry.created = Some(created.clone());
        }
        state.image.rootfs.kind = "layers".into();
        state.image.rootfs.diff_ids = state
            .layers
            .iter()
            .map(|layer| layer.diff_id.clone())
            .collect();
        if !self.request.labels.is_empty() {
            state
                .image
                .config
                .labels
                .get_or_insert_default()
                .extend(self.request.labels.clone());
        }
        let config = state.image.to_bytes();
        let config_digest = Digest::of(&config);
        let scratch = self.scratch()?;
        let file = scratch.path().join("config");
        std::fs::write(&file, &config).map_err(|e| other(format!("write configuration: {e}")))?;
        let images = &self.engine.0.local;
        let storage = |e: towpath_kit::traits::ImageError| other(e.to_string());
        images
            .put_blob(config_digest.as_str(), &file)
            .await
            .map_err(storage)?;
        let layers: Vec<Descriptor> = state
            .layers
            .iter()
            .filter_map(|l| {
                l.digest
                    .parse()
                    .ok()
                    .map(|digest: Digest| Descriptor::new(&l.media_type, &digest, l.bytes))
            })
            .collect();
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": IMAGE,
            "config": Descriptor::new(CONFIG, &config_digest, config.len() as u64),
            "layers": layers,
        });
        let manifest = Bytes::from(manifest.to_string());
        let image_bytes = manifest.len() as u64
            + config.len() as u64
            + state.layers.iter().map(|l| l.bytes).sum::<u64>();
        let mut digest = None;
        for tag in &self.request.tags {
            let reference: Reference = tag
                .parse()
                .map_err(|e: towpath_oci::Error| other(e.to_string()))?;
            let name = reference.tag.as_deref().unwrap_or("latest");
            let put = images
                .put_manifest(&reference.repository, Some(name), IMAGE, manifest.clone())
                .await
                .map_err(storage)?;
            (self.log)(&format!("pushed {}:{name}", reference.repository));
            digest = Some(put);
        }
        match digest {
            Some(digest) => Ok((digest, image_bytes)),
            None => {
                let repository = format!(
                    "{}/untagged",
                    if self.request.scope.is_empty() {
                        "build"
                    } else {
                        &self.request.scope
                    }
                );
                let put = images
                    .put_manifest(&repository, None, IMAGE, manifest)
                    .await
                    .map_err(storage)?;
                Ok((put, image_bytes))
            }
        }
    }
}

fn scratch() -> State {
    let mut image = Image::scratch();
    image.config.env = Some(vec![settings::DEFAULT_PATH.into()]);
    State {
        image,
        layers: Vec::new(),
        key: digest(["scratch"].into_iter()),
        args: BTreeMap::new(),
        cmd_set: false,
        epoch: EPOCH,
    }
}

// An OCI manifest names OCI layers; the bytes are the same.
fn oci_media_type(media_type: &str) -> String {
    match media_type {
        "application/vnd.docker.image.rootfs.diff.tar.gzip" => {
            towpath_oci::manifest::LAYER_GZIP.into()
        }
        "application/vnd.docker.image.rootfs.diff.tar" => towpath_oci::manifest::LAYER_TAR.into(),
        other => other.to_string(),
    }
}

// RFC 3339 with an optional fraction, in UTC.
fn parse_time(text: &str) -> Option<i64> {
    let whole = text.split('.').next()?.trim_end_matches('Z');
    clock::parse_rfc3339(&format!("{whole}Z")).map(|at| at as i64)
}

/// A single finding as a build error.
pub(crate) fn input(file: &str, place: Place, rule: &str, message: String) -> BuildError {
    let finding = Finding {
        severity: Severity::Error,
        rule: format!("dockerfile/{rule}"),
        message,
        file: file.into(),
        line: place.line,
        column: place.column,
        hint: String::new(),
    };
    BuildError::Input {
        findings: vec![finding],
    }
}

pub(crate) fn other(message: String) -> BuildError {
    BuildError::Other(message)
}

//! One build: the needed stages one after the other, each step from the cache or run.

use super::{Engine, image, input, other};
use crate::dockerfile::stages::Base;
use crate::dockerfile::{self, Findings, Instruction, Place, Plan, stages};
use crate::ignore::Ignore;
use crate::layers::Layer;
use crate::stage::{State, digest};
use crate::tree::Tree;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use towpath_kit::kinds::Severity;
use towpath_kit::traits::{BuildError, BuildLog, BuildOutput, BuildRequest};

/// One build.
pub(crate) struct Build<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) id: String,
    pub(crate) request: &'a BuildRequest,
    pub(crate) log: BuildLog<'a>,
    steps: AtomicU64,
    pub(super) plan: Option<Arc<Plan>>,
    context: Option<Context>,
}

pub(super) struct Context {
    pub(super) path: PathBuf,
    pub(super) ignore: Arc<Ignore>,
    done: Arc<parking_lot::Mutex<BTreeMap<usize, State>>>,
}

impl<'a> Build<'a> {
    pub(super) fn new(
        engine: &'a Engine,
        id: String,
        request: &'a BuildRequest,
        log: BuildLog<'a>,
    ) -> Self {
        Self {
            engine,
            id,
            request,
            log,
            steps: AtomicU64::new(0),
            plan: None,
            context: None,
        }
    }

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

    pub(super) async fn all(mut self) -> Result<BuildOutput, BuildError> {
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

    pub(super) fn context(&self) -> Result<&Context, BuildError> {
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
            Base::Scratch => image::scratch(),
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

    pub(super) fn done(&self, stage: usize) -> Result<State, BuildError> {
        let done = self.context()?.done.lock().get(&stage).cloned();
        done.ok_or_else(|| other(format!("stage {stage} was not built before it was used")))
    }

    pub(super) fn number(&self) -> String {
        format!("{}-{}", self.id, self.next_number())
    }
}

//! One instruction: what it changes, and whether the cache had it. `COPY` and `ADD` are in
//! [`copy`](super::copy).

use super::{Build, input, other};
use crate::dockerfile::stages::Base;
use crate::dockerfile::{self, Instruction, Op, Place, Plan, expand};
use crate::run::{self, Origin};
use crate::settings;
use crate::stage::State;
use crate::tree::Tree;
use towpath_kit::traits::BuildError;
use towpath_oci::config::History;

impl Build<'_> {
    // One instruction; true where the cache answered or nothing was to be done.
    pub(super) async fn step(
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
}

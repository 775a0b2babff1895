//! Stages of a file, and which of them a target needs.

use super::expand;
use super::{File, Findings, Instruction, Op, Place};
use std::collections::BTreeMap;
use towpath_oci::manifest::architecture;

/// Where a stage or a `--from` leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Base {
    Scratch,
    Stage(usize),
    Image(String),
}

#[derive(Clone, Debug)]
pub(crate) struct Stage {
    pub(crate) place: Place,
    pub(crate) text: String,
    pub(crate) name: Option<String>,
    pub(crate) base: Base,
    pub(crate) instructions: Vec<Instruction>,
}

/// A file in terms of stages.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) escape: char,
    pub(crate) stages: Vec<Stage>,
    /// Stages to build, in order; the last is the target.
    pub(crate) needed: Vec<usize>,
    /// `ARG` before the first `FROM`, with values.
    pub(crate) globals: BTreeMap<String, Option<String>>,
}

/// Values that exist without being declared, for `FROM` lines and redeclared in stages.
pub(crate) fn platform_args() -> BTreeMap<String, String> {
    let arch = architecture();
    let mut args = BTreeMap::new();
    for prefix in ["TARGET", "BUILD"] {
        args.insert(format!("{prefix}PLATFORM"), format!("linux/{arch}"));
        args.insert(format!("{prefix}OS"), "linux".into());
        args.insert(format!("{prefix}ARCH"), arch.into());
        args.insert(format!("{prefix}VARIANT"), String::new());
    }
    args
}

/// Sorts instructions into stages and follows names; `args` are the caller's.
pub(crate) fn plan(
    file: File,
    target: Option<&str>,
    args: &BTreeMap<String, String>,
    findings: &mut Findings,
) -> Plan {
    let mut plan = Plan {
        escape: file.escape,
        stages: Vec::new(),
        needed: Vec::new(),
        globals: BTreeMap::new(),
    };
    for instruction in file.instructions {
        match instruction.op {
            Op::From {
                ref image,
                ref platform,
                ref name,
            } => {
                let (image, platform, name) = (image.clone(), platform.clone(), name.clone());
                plan.begin(
                    instruction,
                    &image,
                    platform.as_deref(),
                    name,
                    args,
                    findings,
                );
            }
            Op::Arg(ref pairs) if plan.stages.is_empty() => {
                let (pairs, place) = (pairs.clone(), instruction.place);
                plan.global(pairs, place, args, findings);
            }
            _ => match plan.stages.last_mut() {
                Some(stage) => stage.instructions.push(instruction),
                None => findings.error(
                    instruction.place,
                    "no-from",
                    "only ARG may stand before the first FROM",
                ),
            },
        }
    }
    if plan.stages.is_empty() {
        if !findings.has_errors() {
            findings.error(Place { line: 1, column: 1 }, "no-from", "there is no FROM");
        }
        return plan;
    }
    plan.check(findings);
    let wanted = match target {
        None => plan.stages.len() - 1,
        Some(target) => match plan.find(target, plan.stages.len()) {
            Some(index) => index,
            None => {
                findings.error(
                    Place { line: 1, column: 1 },
                    "target",
                    format!("there is no stage {target:?}"),
                );
                return plan;
            }
        },
    };
    plan.needed = plan.reach(wanted);
    plan
}

impl Plan {
    /// Index of a stage by name or number among the first `before`.
    pub(crate) fn find(&self, name: &str, before: usize) -> Option<usize> {
        let lower = name.to_ascii_lowercase();
        let named = self.stages[..before]
            .iter()
            .rposition(|s| s.name.as_deref() == Some(lower.as_str()));
        named.or_else(|| name.parse().ok().filter(|index| *index < before))
    }

    /// Where a `--from` of stage `index` leads; variables are not expanded there.
    pub(crate) fn source(&self, from: &str, index: usize) -> Base {
        match self.find(from, index) {
            Some(stage) => Base::Stage(stage),
            None => Base::Image(from.to_string()),
        }
    }

    fn lookup(&self, name: &str) -> Option<String> {
        self.globals
            .get(name)
            .cloned()
            .flatten()
            .or_else(|| platform_args().get(name).cloned())
    }

    fn global(
        &mut self,
        pairs: Vec<(String, Option<String>)>,
        place: Place,
        args: &BTreeMap<String, String>,
        findings: &mut Findings,
    ) {
        for (name, default) in pairs {
            let value = match (args.get(&name), default) {
                (Some(given), _) => Some(given.clone()),
                (None, Some(default)) => {
                    match expand::word(&default, self.escape, &|n| self.lookup(n)) {
                        Ok(value) => Some(value),
                        Err(message) => {
                            findings.error(place, "expansion", message);
                            None
                        }
                    }
                }
                (None, None) => platform_args().remove(&name),
            };
            self.globals.insert(name, value);
        }
    }

    fn begin(
        &mut self,
        instruction: Instruction,
        image: &str,
        platform: Option<&str>,
        name: Option<String>,
        args: &BTreeMap<String, String>,
        findings: &mut Findings,
    ) {
        let place = instruction.place;
        let lookup = |n: &str| {
            self.lookup(n).or_else(|| {
                platform_args()
                    .contains_key(n)
                    .then(|| args.get(n).cloned())
                    .flatten()
            })
        };
        let mut expand = |text: &str| match expand::word(text, self.escape, &lookup) {
            Ok(value) => value,
            Err(message) => {
                findings.error(place, "expansion", message);
                String::new()
            }
        };
        let written = image;
        let image = expand(image);
        let platform = platform.map(&mut expand);
        if let Some(platform) = platform.filter(|p| !p.is_empty()) {
            let own = format!("linux/{}", architecture());
            if platform != own {
                findings.error(
                    place,
                    "platform",
                    format!("platform {platform} cannot be built on {own}"),
                );
            }
        }
        let base = match self
            .find(&image, self.stages.len())
            .filter(|_| !image.bytes().all(|b| b.is_ascii_digit()))
        {
            _ if image == "scratch" => Base::Scratch,
            Some(stage) => Base::Stage(stage),
            None => {
                if image.is_empty() {
                    findings.error(place, "from", format!("{written:?} expands to nothing"));
                } else if let Err(error) = image.parse::<towpath_oci::Reference>() {
                    findings.error(place, "from", error.to_string());
                }
                Base::Image(image)
            }
        };
        if let Some(name) = &name
            && self.stages.iter().any(|s| s.name.as_ref() == Some(name))
        {
            findings.error(
                place,
                "duplicate-stage-name",
                format!("stage name {name:?} is used twice"),
            );
        }
        self.stages.push(Stage {
            place,
            text: instruction.text,
            name,
            base,
            instructions: Vec::new(),
        });
    }

    // What can be known before anything runs.
    fn check(&self, findings: &mut Findings) {
        for (index, stage) in self.stages.iter().enumerate() {
            let mut seen: Vec<&str> = Vec::new();
            for instruction in &stage.instructions {
                let kind = match &instruction.op {
                    Op::Cmd(_) => "CMD",
                    Op::Entrypoint(_) => "ENTRYPOINT",
                    Op::Healthcheck(_) => "HEALTHCHECK",
                    Op::Copy(copy) => {
                        self.check_from(copy.from.as_deref(), index, instruction.place, findings);
                        continue;
                    }
                    _ => continue,
                };
                if seen.contains(&kind) {
                    let message =
                        format!("{kind} is given more than once in a stage; the last counts");
                    findings.warning(
                        instruction.place,
                        "multiple-instructions",
                        message,
                        "remove the others",
                    );
                }
                seen.push(kind);
            }
        }
    }

    fn check_from(&self, from: Option<&str>, index: usize, place: Place, findings: &mut Findings) {
        let Some(from) = from.filter(|f| !f.contains('$')) else {
            return;
        };
        if let Base::Image(image) = self.source(from, index) {
            let later = self.find(from, self.stages.len()).is_some();
            if later {
                findings.error(
                    place,
                    "from",
                    format!("stage {from:?} comes later or is this one"),
                );
            } else if image.bytes().all(|b| b.is_ascii_digit()) {
                findings.error(place, "from", format!("there is no stage {image}"));
            } else if let Err(error) = image.parse::<towpath_oci::Reference>() {
                findings.error(place, "from", error.to_string());
            }
        }
    }

    // Stages that `wanted` needs, each after those it needs.
    fn reach(&self, wanted: usize) -> Vec<usize> {
        let mut needed = vec![false; self.stages.len()];
        needed[wanted] = true;
        // Names lead backwards only, so one pass from the end is enough.
        for index in (0..=wanted).rev().filter(|index| *index <= wanted) {
            if !needed[index] {
                continue;
            }
            let stage = &self.stages[index];
            let mut uses: Vec<Base> = vec![stage.base.clone()];
            for instruction in &stage.instructions {
                match &instruction.op {
                    Op::Copy(copy) => {
                        uses.extend(copy.from.as_deref().map(|from| self.source(from, index)))
                    }
                    Op::Run(run) => {
                        for mount in &run.mounts {
                            let value = mount.value.as_deref().unwrap_or_default();
                            let from = value
                                .split(',')
                                .find_map(|part| part.trim().strip_prefix("from="));
                            uses.extend(from.map(|from| self.source(from, index)));
                        }
                    }
                    _ => {}
                }
            }
            for used in uses {
                if let Base::Stage(used) = used {
                    needed[used] = true;
                }
            }
        }
        (0..needed.len()).filter(|index| needed[*index]).collect()
    }
}

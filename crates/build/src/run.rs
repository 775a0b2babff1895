//! `RUN`: a container over the stage's layers whose upper directory becomes a layer.

use crate::copy::Sources;
use crate::dockerfile::instruction::Network;
use crate::dockerfile::mounts::{self, MountType, RunMount};
use crate::dockerfile::{Command, Findings, Place, Run};
use crate::engine::{Build, STEP_PREFIX, input, other};
use crate::ignore::Ignore;
use crate::layers::{Scratch, words};
use crate::output::Lines;
use crate::settings::{DEFAULT_PATH, PROXY_ARGS, set_env};
use crate::stage::State;
use crate::tree::{self, Tree};
use crate::users;
use rustix::fs::{AtFlags, FileType, OFlags};
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;
use towpath_container::{Mount, Resources, Rootfs, RunSpec};
use towpath_kit::traits::BuildError;

const HEREDOC: &str = "/dev/heredoc";
const DISK_CHECK: Duration = Duration::from_secs(2);

/// Everything a `RUN` depends on, expanded.
pub(crate) struct Prepared {
    args: Vec<String>,
    script: Option<String>,
    env: Vec<String>,
    mounts: Vec<RunMount>,
    network: Network,
    shown: String,
    place: Place,
    /// Parts of the cache key.
    pub(crate) facts: Vec<String>,
}

/// Expands and checks; reads what bind mounts hold, for the key.
pub(crate) async fn prepare(
    build: &Build<'_>,
    state: &State,
    run: &Run,
    place: Place,
    stage: usize,
) -> Result<Prepared, BuildError> {
    let bad = |message: String| input(build.file(), place, "run", message);
    let (args, script) = command(state, run);
    let mut env = state.image.config.env.clone().unwrap_or_default();
    for (name, value) in &state.args {
        let shadowed = env
            .iter()
            .any(|entry| entry.split('=').next() == Some(name));
        if !shadowed && !PROXY_ARGS.contains(&name.as_str()) {
            set_env(&mut env, name, value);
        }
    }
    let mut parsed = Vec::new();
    let mut facts = vec![
        "run".to_string(),
        format!("{args:?} {:?}", script),
        format!("{env:?}"),
        state.workdir().to_string(),
        state.image.config.user.clone(),
        format!("{:?}", run.network),
    ];
    let mut findings = Findings::new(build.file());
    for flag in &run.mounts {
        let text = state
            .word(flag.value.as_deref().unwrap_or_default(), build.escape())
            .map_err(bad)?;
        facts.push(text.clone());
        if let Some(mount) = mounts::parse(&text, flag.place, &mut findings) {
            parsed.push(mount);
        }
    }
    if findings.has_errors() {
        return Err(BuildError::Input {
            findings: findings.all,
        });
    }
    for mount in &parsed {
        if let MountType::Bind { from, source } = &mount.kind {
            let origin = build.origin(from.as_deref(), stage, place).await?;
            let (source, file) = (source.clone(), build.file().to_string());
            let digest = tokio::task::spawn_blocking(move || {
                let patterns = [source];
                let sources = origin.sources(&patterns, Ignore::default());
                let paths = sources
                    .paths()
                    .map_err(|m| input(&file, place, "mount", m))?;
                sources
                    .digest(&paths)
                    .map_err(|e| other(format!("read mount: {e}")))
            });
            facts.push(digest.await.map_err(|e| other(e.to_string()))??);
        }
    }
    let shown = match &run.command {
        Command::Shell(text) if text.is_empty() || text.starts_with("<<") => run
            .heredocs
            .first()
            .and_then(|h| h.content.lines().next())
            .unwrap_or_default()
            .to_string(),
        Command::Shell(text) => text.clone(),
        Command::Exec(args) => args.join(" "),
    };
    Ok(Prepared {
        args,
        script,
        env,
        mounts: parsed,
        network: run.network,
        shown,
        place,
        facts,
    })
}

// The program with its arguments, and a script that is mounted beside it.
fn command(state: &State, run: &Run) -> (Vec<String>, Option<String>) {
    let text = match &run.command {
        Command::Exec(args) => return (args.clone(), None),
        Command::Shell(text) => text,
    };
    let with_shell = |text: String| {
        let mut args = state.shell();
        args.push(text);
        args
    };
    let [only] = &run.heredocs[..] else {
        let docs: String = run
            .heredocs
            .iter()
            .map(|h| format!("{}{}\n", h.content, h.name))
            .collect();
        let text = if docs.is_empty() {
            text.clone()
        } else {
            format!("{text}\n{docs}")
        };
        return (with_shell(text), None);
    };
    let alone = text
        .trim_start_matches("<<")
        .trim_start_matches('-')
        .trim_matches(['"', '\''])
        == only.name;
    match only.content.strip_prefix("#!").filter(|_| alone) {
        Some(rest) => {
            let line = rest.lines().next().unwrap_or_default();
            let mut args: Vec<String> = line
                .trim()
                .splitn(2, ' ')
                .map(|part| part.trim().to_string())
                .collect();
            args.push(HEREDOC.into());
            (args, Some(only.content.clone()))
        }
        None if alone => (with_shell(only.content.clone()), None),
        None => (
            with_shell(format!("{text}\n{}{}\n", only.content, only.name)),
            None,
        ),
    }
}

/// Runs it; the scratch's upper directory holds what it wrote.
pub(crate) async fn execute(
    build: &Build<'_>,
    state: &State,
    prepared: Prepared,
    scratch: &Scratch,
    stage: usize,
) -> Result<(), BuildError> {
    let lower = build.lower(&state.layers);
    let mut env = prepared.env.clone();
    if !env.iter().any(|entry| entry.starts_with("PATH=")) {
        env.insert(0, DEFAULT_PATH.into());
    }
    for name in PROXY_ARGS {
        let value = build
            .request
            .args
            .get(name)
            .cloned()
            .or_else(|| std::env::var(name).ok());
        if let Some(value) = value.filter(|_| {
            !env.iter()
                .any(|entry| entry.split('=').next() == Some(name))
        }) {
            set_env(&mut env, name, &value);
        }
    }
    if !env.iter().any(|entry| entry.starts_with("HOME=")) {
        let tree = readable(&lower, build).map_err(|e| other(format!("open layers: {e}")))?;
        set_env(
            &mut env,
            "HOME",
            &users::home(&tree, &state.image.config.user),
        );
    }
    let id = format!("{STEP_PREFIX}{}-{}", build.id, build.next_number());
    let mut held = Held::default();
    let mut all = vec![file_mount(
        &mut held,
        scratch,
        "hosts",
        "127.0.0.1 localhost\n::1 localhost ip6-localhost\n",
        "/etc/hosts",
    )?];
    let netns = match (prepared.network, &build.engine.0.network) {
        (Network::None, _) => None,
        (Network::Host, Some(_)) => {
            return Err(input(
                build.file(),
                prepared.place,
                "network",
                "--network=host is not allowed here".into(),
            ));
        }
        (Network::Default, Some(network)) => {
            let address = network
                .attach(&id)
                .await
                .map_err(|e| other(e.to_string()))?;
            held.attached = Some((network.clone(), id.clone()));
            Some(address.netns)
        }
        // Without a pod network steps share the host's: opened by the shim, which is in it.
        (_, None) => Some(PathBuf::from("/proc/self/ns/net")),
    };
    if prepared.network != Network::None {
        let text = build.engine.resolver();
        all.push(file_mount(
            &mut held,
            scratch,
            "resolv.conf",
            &text,
            "/etc/resolv.conf",
        )?);
    }
    if let Some(script) = &prepared.script {
        all.push(file_mount(&mut held, scratch, "heredoc", script, HEREDOC)?);
    }
    for mount in &prepared.mounts {
        all.extend(
            one_mount(
                build,
                state,
                mount,
                &mut env,
                &mut held,
                scratch,
                stage,
                prepared.place,
            )
            .await?,
        );
    }
    let stubs =
        Stubs::before(&lower, &all, build).map_err(|e| other(format!("open layers: {e}")))?;
    let rootfs = Rootfs {
        lower: lower.clone(),
        upper: scratch.upper(),
        work: scratch.work(),
    };
    let mut spec = RunSpec::new(
        &id,
        rootfs,
        prepared.args.clone(),
        &format!("/towpath/build/{id}"),
    );
    spec.env = env;
    spec.cwd = state.workdir().to_string();
    spec.user = state.image.config.user.clone();
    spec.mounts = all;
    spec.netns = netns;
    spec.timeout = Some(build.engine.0.config.step_limit);
    let limit = build.memory_bytes();
    spec.resources = Resources {
        memory_bytes: Some(limit as i64),
        pids: Some(build.engine.0.config.pids),
        ..Resources::default()
    };
    let result = stream(build, spec, &prepared).await;
    held.release().await;
    result?;
    stubs
        .clean(&scratch.upper())
        .map_err(|e| other(format!("tidy step: {e}")))
}

async fn stream(build: &Build<'_>, spec: RunSpec, prepared: &Prepared) -> Result<(), BuildError> {
    let failed = |status: String| BuildError::Run {
        file: build.file().to_string(),
        line: prepared.place.line,
        command: prepared.shown.chars().take(200).collect(),
        status,
    };
    let mut running = build
        .engine
        .0
        .runtime
        .run(spec)
        .await
        .map_err(|e| failed(words(&e)))?;
    let mut lines = Lines::default();
    let mut disk = tokio::time::interval(DISK_CHECK);
    let begin = free_bytes(build.engine.0.layers.root());
    let started = build.engine.0.clock.monotonic();
    loop {
        tokio::select! {
            chunk = running.next() => match chunk {
                Some(chunk) => lines.push(chunk.stream, &chunk.bytes, build.log),
                None => break,
            },
            // There is no event for a file system that fills.
            _ = disk.tick() => {
                let free = free_bytes(build.engine.0.layers.root());
                let used = begin.saturating_sub(free);
                if free < build.engine.0.config.reserve_bytes || used > build.engine.0.config.step_bytes {
                    drop(running);
                    lines.finish(build.log);
                    return Err(failed(format!("a stop: it used {} MiB of disk, {} MiB are left", used >> 20, free >> 20)));
                }
            }
        }
    }
    lines.finish(build.log);
    let exit = running.wait().await.map_err(|e| failed(words(&e)))?;
    let took = build
        .engine
        .0
        .clock
        .monotonic()
        .saturating_duration_since(started);
    (build.log)(&format!("  {exit} after {:.1} s", took.as_secs_f64()));
    if exit.oom {
        return Err(failed(format!(
            "{exit}; its limit is {} MiB",
            build.memory_bytes() >> 20
        )));
    }
    if exit.code != 0 || exit.signal != 0 {
        return Err(failed(exit.to_string()));
    }
    Ok(())
}

fn free_bytes(path: &Path) -> u64 {
    rustix::fs::statvfs(path).map_or(u64::MAX, |stat| stat.f_bavail.saturating_mul(stat.f_frsize))
}

fn readable(lower: &[PathBuf], build: &Build<'_>) -> io::Result<Tree> {
    Tree::readable(lower, &build.engine.0.layers.below())
}

// What must outlive a step, and go with it.
#[derive(Default)]
struct Held {
    files: Vec<PathBuf>,
    attached: Option<(std::sync::Arc<dyn towpath_kit::traits::PodNetwork>, String)>,
}

impl Held {
    async fn release(&mut self) {
        if let Some((network, id)) = self.attached.take()
            && let Err(error) = network.detach(&id).await
        {
            tracing::warn!(%error, "build network not removed");
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        for file in &self.files {
            let _ = fs::remove_file(file);
            // The last secret takes its directory along; others are not empty.
            if let Some(directory) = file.parent() {
                let _ = fs::remove_dir(directory);
            }
        }
        if let Some((network, id)) = self.attached.take() {
            // The build was cancelled in the middle.
            towpath_daemon::spawn("build-detach", async move {
                let _ = network.detach(&id).await;
            });
        }
    }
}

fn file_mount(
    held: &mut Held,
    scratch: &Scratch,
    name: &str,
    content: &str,
    target: &str,
) -> Result<Mount, BuildError> {
    let path = scratch.path().join(name);
    fs::write(&path, content).map_err(|e| other(format!("write {name}: {e}")))?;
    held.files.push(path.clone());
    Ok(Mount::bind(path, target).readonly())
}

#[allow(clippy::too_many_arguments)] // one call, all of it is the step
async fn one_mount(
    build: &Build<'_>,
    state: &State,
    mount: &RunMount,
    env: &mut Vec<String>,
    held: &mut Held,
    scratch: &Scratch,
    stage: usize,
    place: Place,
) -> Result<Option<Mount>, BuildError> {
    let target = tree::absolute(state.workdir(), &mount.target);
    let finish = |made: Mount| {
        if mount.readonly {
            made.readonly()
        } else {
            made
        }
    };
    match &mount.kind {
        MountType::Tmpfs { size_bytes } => Ok(Some(Mount::tmpfs(target, *size_bytes, 0o1777))),
        MountType::Secret {
            id,
            required,
            mode,
            uid,
            gid,
            env: variable,
        } => {
            let Some(secret) = build.request.secrets.get(id) else {
                if *required {
                    return Err(input(
                        build.file(),
                        place,
                        "secret",
                        format!("secret {id:?} was not given"),
                    ));
                }
                return Ok(None);
            };
            if let Some(variable) = variable {
                set_env(env, variable, secret.reveal_secret());
            }
            if mount.target.is_empty() {
                return Ok(None);
            }
            let path = build.secret_path(id, held.files.len());
            write_secret(&path, secret.reveal_secret_bytes(), *mode, *uid, *gid)
                .map_err(|e| other(format!("write secret: {e}")))?;
            held.files.push(path.clone());
            Ok(Some(Mount::bind(path, target).readonly()))
        }
        MountType::Cache {
            id,
            mode,
            uid,
            gid,
            private,
            ..
        } => {
            let name = if *private {
                format!("{id}\0{}", build.id)
            } else {
                id.clone()
            };
            let dir = build
                .engine
                .0
                .layers
                .cache_mount(&build.request.scope, &name);
            make_owned(&dir, *mode, *uid, *gid)
                .map_err(|e| other(format!("make cache mount: {e}")))?;
            Ok(Some(finish(Mount::bind(dir, target))))
        }
        MountType::Bind { from, source } => {
            let origin = build.origin(from.as_deref(), stage, place).await?;
            let copy = scratch.path().join(format!("bind-{}", held.files.len()));
            held.files.push(copy.clone());
            let (source, into) = (source.clone(), copy.clone());
            let copied = tokio::task::spawn_blocking(move || origin.materialise(&source, &into));
            let path = copied.await.map_err(|e| other(e.to_string()))?;
            let path = path.map_err(|m| input(build.file(), place, "mount", m))?;
            Ok(Some(finish(Mount::bind(path, target))))
        }
    }
}

fn write_secret(path: &Path, bytes: &[u8], mode: u32, uid: u32, gid: u32) -> io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
    let open = || {
        fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
    };
    let made = match (open(), path.parent()) {
        // Another build's last secret took the directory along.
        (Err(error), Some(parent)) if error.kind() == io::ErrorKind::NotFound => {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(parent)?;
            open()
        }
        (made, _) => made,
    };
    let mut file = made?;
    file.write_all(bytes)?;
    std::os::unix::fs::fchown(&file, Some(uid), Some(gid))?;
    file.set_permissions(fs::Permissions::from_mode(mode))
}

fn make_owned(dir: &Path, mode: u32, uid: u32, gid: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    if dir.exists() {
        return Ok(());
    }
    fs::create_dir_all(dir)?;
    std::os::unix::fs::chown(dir, Some(uid), Some(gid))?;
    fs::set_permissions(dir, fs::Permissions::from_mode(mode))
}

/// Mount points that did not exist: the runtime makes them, and they are no part of the layer.
struct Stubs {
    missing: BTreeSet<String>,
}

impl Stubs {
    fn before(lower: &[PathBuf], mounts: &[Mount], build: &Build<'_>) -> io::Result<Self> {
        let tree = readable(lower, build)?;
        let mut missing = BTreeSet::new();
        let own = ["/proc", "/sys", "/dev"].map(String::from);
        for path in mounts.iter().map(|m| m.destination.clone()).chain(own) {
            let mut path = tree::clean(&path);
            // With every directory above it that is not there either.
            while !path.is_empty() && tree.find(&path, OFlags::PATH).is_err() {
                missing.insert(path.clone());
                path = path
                    .rsplit_once('/')
                    .map_or(String::new(), |(parent, _)| parent.to_string());
            }
        }
        Ok(Self { missing })
    }

    // Deepest first; only what is still empty: a step may have filled it. By descriptor, as the
    // step may also have put a link in the way.
    fn clean(&self, upper: &Path) -> io::Result<()> {
        let tree = Tree::open(upper)?;
        for path in self.missing.iter().rev() {
            let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
            let Ok(dir) = tree.find(parent, OFlags::DIRECTORY | OFlags::RDONLY) else {
                continue;
            };
            let Ok(stat) = tree::stat_at(dir.as_fd(), name.as_bytes()) else {
                continue;
            };
            match tree::kind(&stat) {
                FileType::Directory => {
                    let _ = rustix::fs::unlinkat(&dir, name, AtFlags::REMOVEDIR);
                }
                FileType::RegularFile if stat.st_size == 0 => {
                    let _ = rustix::fs::unlinkat(&dir, name, AtFlags::empty());
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Another tree as the source of a mount or a copy.
pub(crate) struct Origin {
    pub(crate) tree: Tree,
    pub(crate) ignore: Option<std::sync::Arc<Ignore>>,
    pub(crate) owners: bool,
}

impl Origin {
    pub(crate) fn sources<'a>(&'a self, patterns: &'a [String], exclude: Ignore) -> Sources<'a> {
        Sources {
            tree: &self.tree,
            patterns,
            ignore: self.ignore.as_deref(),
            exclude,
            owners: self.owners,
        }
    }

    // A copy on the host, as a mount needs a path there; writes to it are discarded.
    fn materialise(&self, source: &str, into: &Path) -> Result<PathBuf, String> {
        fs::create_dir_all(into).map_err(|e| e.to_string())?;
        let patterns = [source.to_string()];
        let sources = self.sources(&patterns, Ignore::default());
        let paths = sources.paths()?;
        let target = Tree::open(into).map_err(|e| e.to_string())?;
        let manner = crate::copy::Manner::default();
        crate::copy::copy(&sources, &paths, &target, "/", &manner).map_err(|e| e.to_string())?;
        let directory = self
            .tree
            .stat(&paths[0])
            .is_ok_and(|s| tree::kind(&s) == FileType::Directory);
        let name = paths[0].rsplit('/').next().unwrap_or_default();
        Ok(if directory {
            into.to_path_buf()
        } else {
            into.join(name)
        })
    }
}

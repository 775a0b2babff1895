//! Bare repositories on disk: made, repaired, swept after a crash, moved to the trash.

use crate::error::Error;
use crate::git::Git;
use crate::names::{RepoName, is_ref};
use std::path::{Path, PathBuf};
use towpath_stdx::{Clock, SystemClock};

/// Packs that may pile up before they are combined.
const PACKS: usize = 40;

/// Settings of every repository; written whole, so that nothing else can creep in.
///
/// Reflogs never expire: positions in them are the memory of which pushes had their runs.
const CONFIG: &str = "# Written by Towpath; changes are lost.
[core]
\trepositoryformatversion = 0
\tfilemode = true
\tbare = true
\tlogAllRefUpdates = always
\tfsync = committed,loose-object,reference
\tfsyncMethod = batch
[gc]
\tauto = 0
\treflogExpire = never
\treflogExpireUnreachable = never
[receive]
\tfsckObjects = true
\tautogc = false
\tadvertiseAtomic = true
\tmaxInputSize = 2g
\tdenyNonFastForwards = false
\tdenyDeletes = false
\tdenyDeleteCurrent = refuse
\thideRefs = refs/towpath
[transfer]
\tfsckObjects = true
[uploadpack]
\tallowFilter = true
\tallowTipSHA1InWant = true
\tallowReachableSHA1InWant = true
\thideRefs = refs/towpath
[repack]
\twriteBitmaps = true
";

/// Makes the repository, or puts right what is missing or changed.
pub(crate) async fn ensure(git: &Git, name: &RepoName, branch: &str) -> Result<PathBuf, Error> {
    let dir = name.dir(git.root());
    if !dir.join("HEAD").is_file() || !dir.join("objects").is_dir() || !dir.join("refs").is_dir() {
        std::fs::create_dir_all(&dir).map_err(Error::file("make", &dir))?;
        let mut command = git.command(&dir);
        command
            .args(["init", "--quiet", "--bare", "--template="])
            .arg(&dir);
        let made = Git::run(command, 64 << 10)
            .await
            .and_then(|out| out.success("git init"));
        made.map_err(Error::git("init", &dir))?;
        write(
            &dir.join("HEAD"),
            &format!("ref: refs/heads/{}\n", safe_branch(branch)),
        )?;
    }
    let config = dir.join("config");
    if std::fs::read(&config).unwrap_or_default() != CONFIG.as_bytes() {
        write(&config, CONFIG)?;
    }
    let head = format!("ref: refs/heads/{}\n", safe_branch(branch));
    if std::fs::read_to_string(dir.join("HEAD")).unwrap_or_default() != head {
        write(&dir.join("HEAD"), &head)?;
    }
    Ok(dir)
}

fn safe_branch(branch: &str) -> &str {
    if is_ref(&format!("refs/heads/{branch}")) {
        branch
    } else {
        "main"
    }
}

// Through a rename, so that git never reads half of it.
fn write(path: &Path, text: &str) -> Result<(), Error> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".towpath-new");
    let unfinished = PathBuf::from(unfinished);
    std::fs::write(&unfinished, text).map_err(Error::file("write", &unfinished))?;
    std::fs::rename(&unfinished, path).map_err(Error::file("write", path))
}

/// All repositories on disk.
pub(crate) fn all(git: &Git) -> Vec<RepoName> {
    let entries = |dir: &Path| std::fs::read_dir(dir).into_iter().flatten().flatten();
    let text = |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    entries(git.root())
        .flat_map(|owner| entries(&owner.path()).map(move |file| (owner.file_name(), file)))
        .filter_map(|(owner, file)| RepoName::from_url(&owner.to_string_lossy(), &text(&file)))
        .collect()
}

/// Removes what a killed git left behind: ref locks, which would block the next push, and
/// quarantines. Does nothing while a git still works in the repository.
pub(crate) fn sweep(dir: &Path) {
    let mut stale = Vec::new();
    for file in [
        "HEAD.lock",
        "packed-refs.lock",
        "config.lock",
        "shallow.lock",
    ] {
        stale.extend(Some(dir.join(file)).filter(|path| path.exists()));
    }
    locks(&dir.join("refs"), &mut stale, 0);
    locks(&dir.join("logs"), &mut stale, 0);
    for entry in std::fs::read_dir(dir.join("objects"))
        .into_iter()
        .flatten()
        .flatten()
    {
        if entry
            .file_name()
            .to_string_lossy()
            .starts_with("tmp_objdir-")
        {
            stale.push(entry.path());
        }
    }
    for entry in std::fs::read_dir(dir.join("objects/pack"))
        .into_iter()
        .flatten()
        .flatten()
    {
        if entry.file_name().to_string_lossy().starts_with("tmp_") {
            stale.push(entry.path());
        }
    }
    if stale.is_empty() || in_use(dir) {
        return;
    }
    for path in stale {
        tracing::info!(path = %path.display(), "left by a git that was killed: removed");
        let removed = if path.is_dir() {
            std::fs::remove_dir_all(&path)
        } else {
            std::fs::remove_file(&path)
        };
        if let Err(error) = removed {
            tracing::warn!(path = %path.display(), %error, "remove");
        }
    }
}

fn locks(dir: &Path, found: &mut Vec<PathBuf>, depth: usize) {
    // Deeper than any ref name we accept.
    if depth > 256 {
        return;
    }
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            locks(&path, found, depth + 1);
        } else if path.extension().is_some_and(|end| end == "lock") {
            found.push(path);
        }
    }
}

// A git that serves a repository works in its directory.
fn in_use(dir: &Path) -> bool {
    let Ok(dir) = dir.canonicalize() else {
        return false;
    };
    std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .any(|process| {
            std::fs::read_link(process.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(&dir))
        })
}

/// Moves a repository to the trash.
pub(crate) fn discard(git: &Git, name: &RepoName) -> Result<(), Error> {
    let dir = name.dir(git.root());
    if !dir.exists() {
        return Ok(());
    }
    let stamp = SystemClock.since_epoch().as_micros();
    let target = git
        .trash()
        .join(format!("{}.{}.{stamp}.git", name.owner(), name.name()));
    std::fs::rename(&dir, &target).map_err(Error::file("move to the trash", &dir))?;
    tracing::info!(repository = %name, to = %target.display(), "repository deleted, its data kept in the trash");
    Ok(())
}

/// Combines packs once there are many, so that fetches stay fast.
pub(crate) async fn maintain(git: &Git, dir: &Path) -> Result<(), Error> {
    let packs = std::fs::read_dir(dir.join("objects/pack"))
        .into_iter()
        .flatten()
        .flatten();
    let count = packs
        .filter(|entry| entry.path().extension().is_some_and(|end| end == "pack"))
        .count();
    if count < PACKS && loose(dir) < 40 {
        return Ok(());
    }
    let mut command = git.command(dir);
    command.args(["repack", "-q", "-d", "-l", "--geometric=2"]);
    let done =
        towpath_stdx::process::run(command, std::time::Duration::from_secs(1800), 64 << 10).await;
    done.and_then(|out| out.success("git repack"))
        .map_err(Error::git("repack", dir))?;
    Ok(())
}

// Objects in one of the 256 fan-out directories stand for the rest, as in git's own estimate.
fn loose(dir: &Path) -> usize {
    std::fs::read_dir(dir.join("objects/17"))
        .into_iter()
        .flatten()
        .count()
}

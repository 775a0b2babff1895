//! A pod's volumes: made before its containers, kept up to date while they run, removed after.

pub(crate) mod atomic;
pub(crate) mod projected;
mod token;

use crate::caches::Caches;
use crate::env::Facts;
use crate::quantity;
use k8s_openapi::api::core::v1::{HostPathVolumeSource, PersistentVolume, Pod, Volume};
use kube::Client;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;
use towpath_kit::cache::Key;

/// Where a volume is on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mounted {
    pub(crate) path: PathBuf,
    pub(crate) readonly: bool,
}

pub(crate) type Volumes = BTreeMap<String, Mounted>;

/// Makes the volumes of a pod below `dir`. An error keeps the pod waiting; it is tried again.
pub(crate) async fn prepare(
    dir: &Path,
    facts: &Facts<'_>,
    caches: &Caches,
    client: &Client,
) -> Result<Volumes, String> {
    let mut mounted = Volumes::new();
    for volume in facts
        .pod
        .spec
        .iter()
        .flat_map(|spec| spec.volumes.iter().flatten())
    {
        let path = dir.join(&volume.name);
        let one = one(volume, path, facts, caches, client).await;
        let one = one.map_err(|cause| {
            format!(
                "MountVolume.SetUp failed for volume {:?} : {cause}",
                volume.name
            )
        })?;
        mounted.insert(volume.name.clone(), one);
    }
    Ok(mounted)
}

async fn one(
    volume: &Volume,
    path: PathBuf,
    facts: &Facts<'_>,
    caches: &Caches,
    client: &Client,
) -> Result<Mounted, String> {
    let group = group(facts.pod);
    let plain = |path| Mounted {
        path,
        readonly: false,
    };
    if projected::is_projected(volume) {
        refresh(volume, &path, facts, caches, client).await?;
        return Ok(plain(path));
    }
    let work = |result: io::Result<()>| result.map_err(|error| error.to_string());
    if let Some(source) = &volume.empty_dir {
        let limit = source.size_limit.as_ref().and_then(quantity::whole);
        let memory = source.medium.as_deref() == Some("Memory");
        work(empty_dir(&path, memory, limit, group))?;
        return Ok(plain(path));
    }
    if let Some(source) = &volume.host_path {
        work(host_path(source))?;
        return Ok(plain(PathBuf::from(&source.path)));
    }
    let claim = match (&volume.persistent_volume_claim, &volume.ephemeral) {
        (Some(claim), _) => Some((claim.claim_name.clone(), claim.read_only == Some(true))),
        (None, Some(_)) => {
            let pod = facts.pod.metadata.name.clone().unwrap_or_default();
            Some((format!("{pod}-{}", volume.name), false))
        }
        (None, None) => None,
    };
    if let Some((name, readonly)) = claim {
        let source = claimed(&name, facts, caches)?;
        let made = local_directory(&source, group);
        work(made)?;
        return Ok(Mounted {
            path: source,
            readonly,
        });
    }
    Err("volume is of a kind this node does not have: emptyDir, hostPath, configMap, secret, downwardAPI, \
         projected and persistentVolumeClaim (local) are supported"
        .into())
}

fn group(pod: &Pod) -> Option<u32> {
    let context = pod.spec.as_ref()?.security_context.as_ref()?;
    context.fs_group.and_then(|id| u32::try_from(id).ok())
}

/// Brings a projected volume up to date. Returns when its tokens must be renewed.
pub(crate) async fn refresh(
    volume: &Volume,
    path: &Path,
    facts: &Facts<'_>,
    caches: &Caches,
    client: &Client,
) -> Result<Option<Duration>, String> {
    let mut next: Option<Duration> = None;
    let mut wanted = projected::wanted(volume, facts, caches)?;
    let namespace = facts.pod.metadata.namespace.clone().unwrap_or_default();
    let account = facts
        .pod
        .spec
        .as_ref()
        .and_then(|s| s.service_account_name.clone());
    for (projection, mode) in wanted.tokens {
        let target = PathBuf::from(&projection.path);
        let kept = path.join("..data").join(&target);
        let seconds = projection.expiration_seconds.unwrap_or(3600).max(600);
        let bytes = fs::read(&kept).ok();
        let bytes = bytes.filter(|bytes| token::stays_now(bytes).is_some());
        let bytes = match bytes {
            Some(bytes) => bytes,
            None => {
                let account = account.as_deref().unwrap_or("default");
                let audience = projection.audience.clone().into_iter().collect();
                token::mint(client, &namespace, account, facts.pod, audience, seconds).await?
            }
        };
        let due = token::due(&bytes);
        next = Some(next.map_or(due, |next| next.min(due)));
        wanted.files.insert(target, atomic::File { bytes, mode });
    }
    let (path, group) = (path.to_path_buf(), group(facts.pod));
    let files = wanted.files;
    let write = move || atomic::write(&path, &files, group).map_err(|error| error.to_string());
    tokio::task::spawn_blocking(write)
        .await
        .map_err(|_| "writing files panicked".to_string())??;
    Ok(next)
}

fn empty_dir(path: &Path, memory: bool, limit: Option<i64>, group: Option<u32>) -> io::Result<()> {
    fs::create_dir_all(path)?;
    if memory && !is_tmpfs(path) {
        let mut options = "mode=0777".to_string();
        if let Some(bytes) = limit.filter(|bytes| *bytes > 0) {
            options.push_str(&format!(",size={bytes}"));
        }
        let flags = nix::mount::MsFlags::MS_NOSUID | nix::mount::MsFlags::MS_NODEV;
        nix::mount::mount(
            Some("tmpfs"),
            path,
            Some("tmpfs"),
            flags,
            Some(options.as_str()),
        )?;
    }
    let mut mode = 0o777;
    if let Some(group) = group {
        chown(path, None, Some(group))?;
        mode = 0o2777;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

fn is_tmpfs(path: &Path) -> bool {
    const TMPFS: u64 = 0x0102_1994;
    let parent = path
        .parent()
        .and_then(|parent| fs::metadata(parent).ok())
        .map(|stat| stat.dev());
    let own = fs::metadata(path).ok().map(|stat| stat.dev());
    own != parent && rustix::fs::statfs(path).is_ok_and(|stat| stat.f_type as u64 == TMPFS)
}

fn host_path(source: &HostPathVolumeSource) -> io::Result<()> {
    let path = Path::new(&source.path);
    let kind = source.type_.as_deref().unwrap_or("");
    match kind {
        "DirectoryOrCreate" => fs::create_dir_all(path)?,
        "FileOrCreate" if !path.exists() => drop(fs::File::create(path)?),
        _ => {}
    }
    let stat = match fs::metadata(path) {
        Ok(stat) => stat,
        Err(_) => {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("hostPath {} does not exist", path.display()),
            ));
        }
    };
    let fits = match kind {
        "" => true,
        "Directory" | "DirectoryOrCreate" => stat.is_dir(),
        "File" | "FileOrCreate" => stat.is_file(),
        "Socket" => stat.file_type().is_socket(),
        "CharDevice" => stat.file_type().is_char_device(),
        "BlockDevice" => stat.file_type().is_block_device(),
        _ => false,
    };
    if fits {
        Ok(())
    } else {
        Err(io::Error::other(format!(
            "hostPath type check failed: {} is not {kind}",
            path.display()
        )))
    }
}

// The directory behind a claim: its bound volume's local or host path.
fn claimed(name: &str, facts: &Facts<'_>, caches: &Caches) -> Result<PathBuf, String> {
    let namespace = facts.pod.metadata.namespace.as_deref().unwrap_or_default();
    let claim = caches
        .claims
        .get(&Key::new(namespace, name))
        .ok_or(format!("persistentvolumeclaim {name:?} not found"))?;
    let bound = claim.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Bound");
    let volume = claim
        .spec
        .as_ref()
        .and_then(|s| s.volume_name.clone())
        .filter(|_| bound);
    let volume = volume.ok_or(format!("PVC is not bound: {name}"))?;
    let object = caches
        .volumes
        .get(&Key::new("", &volume))
        .ok_or(format!("persistentvolume {volume:?} not found"))?;
    local_path(&object).ok_or(format!(
        "persistentvolume {volume:?} is neither local nor hostPath"
    ))
}

fn local_path(volume: &PersistentVolume) -> Option<PathBuf> {
    let spec = volume.spec.as_ref()?;
    let local = spec.local.as_ref().map(|local| local.path.clone());
    local
        .or_else(|| spec.host_path.as_ref().map(|host| host.path.clone()))
        .map(PathBuf::from)
}

fn local_directory(path: &Path, group: Option<u32>) -> io::Result<()> {
    if path.exists() {
        return apply_group(path, group);
    }
    fs::create_dir_all(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o777))?;
    apply_group(path, group)
}

// The group owns a volume's root and may write; what is below follows where the root did not
// belong to it yet.
fn apply_group(path: &Path, group: Option<u32>) -> io::Result<()> {
    let Some(group) = group else { return Ok(()) };
    if fs::metadata(path)?.gid() == group {
        return Ok(());
    }
    let mut open = vec![path.to_path_buf()];
    while let Some(at) = open.pop() {
        let stat = fs::symlink_metadata(&at)?;
        if stat.file_type().is_symlink() {
            continue;
        }
        chown(&at, None, Some(group))?;
        let mode = stat.permissions().mode() & 0o7777;
        let mode = if stat.is_dir() {
            mode | 0o2070
        } else {
            mode | 0o060
        };
        fs::set_permissions(&at, fs::Permissions::from_mode(mode))?;
        if stat.is_dir() {
            open.extend(fs::read_dir(&at)?.flatten().map(|entry| entry.path()));
        }
    }
    Ok(())
}

/// A path inside a volume for `subPath`, made where missing; links in the volume cannot lead out
/// of it.
pub(crate) fn sub_path(volume: &Path, sub: &str) -> io::Result<PathBuf> {
    use rustix::fs::{Mode, OFlags};
    let relative = Path::new(sub);
    if !towpath_stdx::root::is_plain(relative) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("subPath {sub:?} leaves its volume"),
        ));
    }
    let root = towpath_stdx::Root::open(volume)?;
    let open = || root.open_with(relative, OFlags::PATH, Mode::empty());
    let file = match open() {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            root.create_dir_all(relative)?;
            let made = open()?;
            // As the volume's own root, so that who may write there may write here.
            let mode = fs::metadata(volume)?.permissions();
            use std::os::fd::AsRawFd;
            fs::set_permissions(format!("/proc/self/fd/{}", made.as_raw_fd()), mode)?;
            made
        }
        Err(error) => return Err(error),
    };
    use std::os::fd::AsRawFd;
    fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// Unmounts and removes the volumes of a pod. Never follows a mount into a host path: those are
/// not below `dir`. Blocks. Idempotent.
pub(crate) fn remove(dir: &Path) -> io::Result<()> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Ok(());
    };
    for entry in entries.flatten() {
        while is_tmpfs(&entry.path()) {
            nix::mount::umount2(&entry.path(), nix::mount::MntFlags::MNT_DETACH)?;
        }
    }
    towpath_container::remove_tree(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sub_paths_stay_in_their_volume() {
        let dir = tempfile::tempdir().expect("temporary directory");
        std::os::unix::fs::symlink("/etc", dir.path().join("out")).expect("link");
        assert!(sub_path(dir.path(), "../x").is_err());
        assert!(sub_path(dir.path(), "/etc").is_err());
        assert!(sub_path(dir.path(), "out").is_err());
        assert!(sub_path(dir.path(), "out/passwd").is_err());
        let made = sub_path(dir.path(), "a/b").expect("sub path");
        assert_eq!(made, dir.path().canonicalize().expect("root").join("a/b"));
    }

    #[test]
    fn host_paths_are_checked_by_type() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("x").display().to_string();
        let source = |kind: &str| HostPathVolumeSource {
            path: path.clone(),
            type_: Some(kind.into()),
        };
        assert!(host_path(&source("Directory")).is_err());
        host_path(&source("DirectoryOrCreate")).expect("made");
        host_path(&source("Directory")).expect("there");
        assert!(host_path(&source("File")).is_err() && host_path(&source("Socket")).is_err());
    }
}

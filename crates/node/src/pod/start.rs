//! From a pod's container to what the runtime gets.

use crate::agent::{Agent, PodHandle};
use crate::env::{self, Facts};
use crate::expand::expand;
use crate::image::Ready;
use crate::{files, resources, security, volumes};
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use towpath_container::{
    ContainerSpec, LogFile, Mount, MountKind, Namespace, Namespaces, Process, Propagation, Rootfs,
    Stdio, host_rootfs_mounts,
};

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Directory of one instance: its writable layer and what else is its own.
pub(crate) fn instance_dir(agent: &Agent, uid: &str, name: &str, attempt: u32) -> PathBuf {
    agent
        .pod_dir(uid)
        .join("containers")
        .join(name)
        .join(attempt.to_string())
}

/// Where the container's last words are written.
pub(crate) fn termination_log(agent: &Agent, uid: &str, name: &str, attempt: u32) -> PathBuf {
    instance_dir(agent, uid, name, attempt).join("termination-log")
}

pub(crate) fn container_id(uid: &str, name: &str, attempt: u32) -> String {
    format!("{uid}.{name}.{attempt}")
}

/// Takes an id apart again: uid, name, attempt.
pub(crate) fn parse_id(id: &str) -> Option<(&str, &str, u32)> {
    let (uid, rest) = id.split_once('.')?;
    let (name, attempt) = rest.rsplit_once('.')?;
    Some((uid, name, attempt.parse().ok()?))
}

/// Everything about the instance to start. An error is a fault of the pod's or of what it refers
/// to, and keeps the container waiting. Makes the instance's files; blocks.
pub(crate) fn spec(
    agent: &Agent,
    handle: &PodHandle,
    container: &Container,
    image: &Ready,
    attempt: u32,
) -> Result<ContainerSpec, String> {
    let pod = handle.pod();
    let pod_spec = pod.spec.clone().unwrap_or_default();
    if pod_spec.share_process_namespace == Some(true) {
        return Err("shareProcessNamespace is not supported by this node".into());
    }
    if container
        .volume_devices
        .as_ref()
        .is_some_and(|devices| !devices.is_empty())
    {
        return Err("volumeDevices are not supported by this node".into());
    }
    let ip = handle.ip();
    let host_ip = agent.host_ip();
    let facts = facts(agent, &pod, &ip, &host_ip);
    let caches = agent.caches();
    let namespace = handle.key.namespace.as_str();
    let services = env::services(
        &caches.services.all(),
        namespace,
        pod_spec.enable_service_links != Some(false),
    );
    let variables = env::build(container, &facts, &caches, &services)?;
    let settings = security::effective(&pod, container, &image.config.user)?;
    let hostname = files::hostname(&pod, &host_name());

    let process = Process {
        args: arguments(container, image, &variables)?,
        env: environment(image, &variables, &hostname),
        cwd: container
            .working_dir
            .clone()
            .filter(|d| !d.is_empty())
            .unwrap_or_else(|| image.config.working_dir.clone()),
        user: settings.user(),
        capabilities: settings.capabilities.clone(),
        no_new_privileges: settings.no_new_privileges,
        seccomp: settings.seccomp,
        oom_score_adj: resources::oom_score(&pod, container, agent.machine.memory_bytes),
        terminal: container.tty == Some(true),
        rlimits: Vec::new(),
    };
    let dir = instance_dir(agent, &handle.uid, &container.name, attempt);
    let make = |error: std::io::Error| format!("make files of the container: {error}");
    std::fs::create_dir_all(&dir).map_err(make)?;
    let mut mounts = Vec::new();
    if image.is_host() {
        mounts.extend(host_mounts(agent, &dir).map_err(make)?);
    }
    mounts.extend(etc_mounts(agent, handle, container));
    mounts.push(termination_mount(agent, handle, container, attempt).map_err(make)?);
    mounts.extend(volume_mounts(handle, container, &variables)?);
    let log = LogFile {
        max_bytes: agent.config.log_rotation.0,
        max_files: agent.config.log_rotation.1,
        stdin: container.stdin == Some(true),
        stdin_once: container.stdin_once == Some(true),
        ..LogFile::new(agent.log_file(&handle.uid, &container.name, attempt))
    };
    let id = container_id(&handle.uid, &container.name, attempt);
    Ok(ContainerSpec {
        cgroup: format!("{}/{id}", agent.pod_cgroup(&handle.uid)),
        id,
        rootfs: Rootfs {
            lower: image.lower.clone(),
            upper: dir.join("upper"),
            work: dir.join("work"),
        },
        process,
        hostname: Some(hostname),
        mounts,
        namespaces: namespaces(agent, handle, &pod_spec),
        resources: resources::of_container(&pod, container),
        sysctls: settings.sysctls,
        readonly_rootfs: settings.readonly_rootfs,
        privileged: settings.privileged,
        stdio: Stdio::Log(log),
    })
}

pub(crate) fn facts<'a>(
    agent: &'a Agent,
    pod: &'a Pod,
    pod_ip: &'a str,
    host_ip: &'a str,
) -> Facts<'a> {
    Facts {
        pod,
        pod_ip,
        host_ip,
        node: &agent.config.name,
        machine: (agent.machine.cpu_milli, agent.machine.memory_bytes),
    }
}

pub(crate) fn host_name() -> String {
    nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok())
        .unwrap_or_default()
}

fn arguments(
    container: &Container,
    image: &Ready,
    variables: &[(String, String)],
) -> Result<Vec<String>, String> {
    let lookup = |name: &str| env::get(variables, name);
    let expanded = |list: &Option<Vec<String>>| -> Option<Vec<String>> {
        let list = list.as_ref().filter(|list| !list.is_empty())?;
        Some(list.iter().map(|text| expand(text, &lookup)).collect())
    };
    let of_image = |list: &Option<Vec<String>>| list.clone().unwrap_or_default();
    let args = match (expanded(&container.command), expanded(&container.args)) {
        (Some(command), args) => [command, args.unwrap_or_default()].concat(),
        (None, Some(args)) => [of_image(&image.config.entrypoint), args].concat(),
        (None, None) => [
            of_image(&image.config.entrypoint),
            of_image(&image.config.cmd),
        ]
        .concat(),
    };
    if args.is_empty() {
        Err("no command specified".into())
    } else {
        Ok(args)
    }
}

fn environment(image: &Ready, variables: &[(String, String)], hostname: &str) -> Vec<String> {
    let mut env = vec![PATH.to_string(), format!("HOSTNAME={hostname}")];
    let of_image = image.config.env.clone().unwrap_or_default();
    let own = variables
        .iter()
        .map(|(name, value)| format!("{name}={value}"));
    for entry in of_image.into_iter().chain(own) {
        let name = format!("{}=", entry.split('=').next().unwrap_or_default());
        env.retain(|have| !have.starts_with(&name));
        env.push(entry);
    }
    env
}

fn namespaces(agent: &Agent, handle: &PodHandle, spec: &PodSpec) -> Namespaces {
    let on_host = spec.host_network == Some(true);
    let ipc = agent.pod_dir(&handle.uid).join("ipc");
    Namespaces {
        network: match handle.netns.lock().clone() {
            _ if on_host => Namespace::Host,
            Some(file) => Namespace::Join(file),
            None => Namespace::New,
        },
        ipc: match spec.host_ipc {
            Some(true) => Namespace::Host,
            _ if ipc.exists() => Namespace::Join(ipc),
            _ => Namespace::New,
        },
        pid: if spec.host_pid == Some(true) {
            Namespace::Host
        } else {
            Namespace::New
        },
        uts: if on_host {
            Namespace::Host
        } else {
            Namespace::New
        },
    }
}

// The host's root without its temporary and its hidden directories; builds write much to /tmp,
// so that is on disk.
fn host_mounts(agent: &Agent, dir: &Path) -> std::io::Result<Vec<Mount>> {
    let mut mounts = host_rootfs_mounts(&agent.config.hidden_host_paths);
    for mount in &mut mounts {
        let path = Path::new(&mount.destination);
        if !path.ends_with("tmp") {
            continue;
        }
        let own = dir.join(format!("host{}", mount.destination.replace('/', "-")));
        std::fs::create_dir_all(&own)?;
        std::fs::set_permissions(&own, std::fs::Permissions::from_mode(0o1777))?;
        mount.kind = MountKind::Bind(own);
    }
    Ok(mounts)
}

fn etc_mounts(agent: &Agent, handle: &PodHandle, container: &Container) -> Vec<Mount> {
    let dir = agent.pod_dir(&handle.uid).join("etc");
    let own = |path: &str| {
        container
            .volume_mounts
            .iter()
            .flatten()
            .any(|mount| mount.mount_path == path)
    };
    let files = ["hosts", "hostname", "resolv.conf"].map(|name| (name, format!("/etc/{name}")));
    files
        .into_iter()
        .filter(|(_, path)| !own(path))
        .map(|(name, path)| Mount::bind(dir.join(name), path))
        .collect()
}

fn termination_mount(
    agent: &Agent,
    handle: &PodHandle,
    container: &Container,
    attempt: u32,
) -> std::io::Result<Mount> {
    let file = termination_log(agent, &handle.uid, &container.name, attempt);
    std::fs::write(&file, "")?;
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o666))?;
    let path = container
        .termination_message_path
        .clone()
        .filter(|path| !path.is_empty());
    Ok(Mount::bind(
        file,
        path.unwrap_or_else(|| "/dev/termination-log".into()),
    ))
}

fn volume_mounts(
    handle: &PodHandle,
    container: &Container,
    variables: &[(String, String)],
) -> Result<Vec<Mount>, String> {
    let mounted = handle.volumes.lock().clone();
    let mut mounts = Vec::new();
    for wanted in container.volume_mounts.iter().flatten() {
        let volume = mounted
            .get(&wanted.name)
            .ok_or_else(|| format!("volume {:?} is not mounted", wanted.name))?;
        let sub = match (&wanted.sub_path, &wanted.sub_path_expr) {
            (Some(sub), _) if !sub.is_empty() => Some(sub.clone()),
            (_, Some(text)) if !text.is_empty() => {
                let text = expand(text, &|name| env::get(variables, name));
                if text.contains("$(") {
                    return Err(format!("subPathExpr {text:?} names an unknown variable"));
                }
                Some(text)
            }
            _ => None,
        };
        let source = match sub {
            Some(sub) => volumes::sub_path(&volume.path, &sub).map_err(|error| {
                format!(
                    "failed to prepare subPath for volumeMount {:?}: {error}",
                    wanted.name
                )
            })?,
            None => volume.path.clone(),
        };
        mounts.push(Mount {
            destination: wanted.mount_path.clone(),
            kind: MountKind::Bind(source),
            readonly: wanted.read_only == Some(true) || volume.readonly,
            propagation: match wanted.mount_propagation.as_deref() {
                Some("HostToContainer") => Propagation::Slave,
                Some("Bidirectional") => Propagation::Shared,
                _ => Propagation::Private,
            },
        });
    }
    Ok(mounts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use towpath_oci::config::Config;

    fn image() -> Ready {
        let config = Config {
            entrypoint: Some(vec!["/entry".into()]),
            cmd: Some(vec!["cmd".into()]),
            env: Some(vec!["A=image".into(), "PATH=/own".into()]),
            ..Config::default()
        };
        Ready {
            reference: "x".into(),
            digest: "sha256:1".into(),
            lower: vec![],
            config,
            bytes: 0,
        }
    }

    #[test]
    fn command_and_arguments() {
        let args = |command: Option<&[&str]>, args: Option<&[&str]>| {
            let list =
                |list: Option<&[&str]>| list.map(|l| l.iter().map(|s| s.to_string()).collect());
            let container = Container {
                command: list(command),
                args: list(args),
                ..Container::default()
            };
            arguments(&container, &image(), &[("V".into(), "1".into())]).expect("arguments")
        };
        assert_eq!(args(None, None), ["/entry", "cmd"]);
        assert_eq!(args(None, Some(&["$(V)"])), ["/entry", "1"]);
        assert_eq!(args(Some(&["c"]), None), ["c"]);
        assert_eq!(args(Some(&["c"]), Some(&["a"])), ["c", "a"]);
    }

    #[test]
    fn own_environment_wins() {
        let env = environment(&image(), &[("A".into(), "own".into())], "h");
        assert_eq!(env, ["HOSTNAME=h", "PATH=/own", "A=own"]);
    }

    #[test]
    fn ids_come_apart_again() {
        let id = container_id("11-22", "my.name", 3);
        assert_eq!(parse_id(&id), Some(("11-22", "my.name", 3)));
        assert_eq!(parse_id("nonsense"), None);
    }
}

//! What a server has in the kernel and on the machine, by its instance and data directory.

use crate::harness::Server;
use std::collections::BTreeSet;
use std::path::Path;

fn names(dir: impl AsRef<Path>) -> BTreeSet<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let name = |e: std::fs::DirEntry| e.file_name().to_string_lossy().into_owned();
    entries.map(name).collect()
}

/// Mounts, network links, control groups, processes and working files of a server that do not
/// belong to one of these pods (uids), as lines for people.
pub(crate) fn beyond(server: &Server, pods: &[String]) -> Vec<String> {
    let data = server.data();
    let place = data.display().to_string();
    let belongs = |text: &str| pods.iter().any(|uid| text.contains(uid.as_str()));
    let mut found = Vec::new();
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("mounts");
    for line in mounts.lines() {
        let at = line.split(' ').nth(4).unwrap_or_default();
        if at.starts_with(&format!("{place}/")) && !belongs(at) {
            found.push(format!("mount {at}"));
        }
    }
    let prefix = format!("tp{}-", server.instance());
    let links = names("/sys/class/net");
    let links: Vec<&String> = links.iter().filter(|n| n.starts_with(&prefix)).collect();
    if links.len() != pods.len() {
        found.push(format!("links {links:?} for {} pods", pods.len()));
    }
    for controller in ["memory", "pids", "cpu", "freezer", "."] {
        let group = format!("/sys/fs/cgroup/{controller}/towpath-{}", server.instance());
        for name in names(&group) {
            if Path::new(&group).join(&name).is_dir() && !belongs(&name) {
                found.push(format!("control group {group}/{name}"));
            }
        }
    }
    for pid in names("/proc").iter().filter(|n| n.parse::<u32>().is_ok()) {
        let read = |file: &str| std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let command = String::from_utf8_lossy(&read("cmdline")).replace('\0', " ");
        let environment = String::from_utf8_lossy(&read("environ")).into_owned();
        let ours = command.contains(&place) || environment.contains(&format!("HOME={place}"));
        let served = command.contains(" server --announce");
        if ours && !served && !belongs(&command) {
            found.push(format!("process {pid} {command}"));
        }
    }
    for dir in ["git/.scratch", "build/work", "build/containers"] {
        for name in names(data.join(dir)) {
            found.push(format!("file {dir}/{name}"));
        }
    }
    for dir in ["net/netns", "net/addresses", "node/pods", "node/containers"] {
        for name in names(data.join(dir)) {
            let text = std::fs::read_to_string(data.join(dir).join(&name)).unwrap_or_default();
            if !belongs(&name) && !belongs(&text) {
                found.push(format!("file {dir}/{name}"));
            }
        }
    }
    found
}

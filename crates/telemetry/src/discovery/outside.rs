//! Targets that are found outside of the cluster: in files, at a server, by names.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};

use towpath_query::promql::parse_duration;

use crate::scrape::Group;
use crate::scrape::config::{Discovery, Job};
use crate::scrape::fetch::Fetch;
use crate::scrape::relabel::Set;
use crate::scrape::written::{DnsDiscovery, FileDiscovery, HttpDiscovery, Static};

/// Largest list of targets, in bytes.
const MAX_BYTES: u64 = 32 << 20;
/// How long a server or a resolver may take, in milliseconds.
const LIMIT_MS: i64 = 20_000;

/// How often something outside is looked at, in milliseconds.
pub(crate) fn refresh_ms(discovery: &Discovery) -> i64 {
    let (text, default) = match discovery {
        Discovery::File(own) => (&own.refresh_interval, 30_000),
        Discovery::Http(own) => (&own.refresh_interval, 60_000),
        Discovery::Dns(own) => (&own.refresh_interval, 30_000),
        Discovery::Static(_) | Discovery::Kubernetes(_) => return i64::MAX,
    };
    let given = text.as_deref().and_then(|text| parse_duration(text).ok());
    given.filter(|ms| *ms >= 1000).unwrap_or(default)
}

/// What is listed.
pub(crate) fn listed(source: &str, list: &[Static]) -> Vec<Group> {
    let groups = list.iter().enumerate().map(|(at, own)| {
        let target = |address: &String| Set::from([("__address__".to_owned(), address.clone())]);
        Group {
            source: format!("{source}/{at}"),
            targets: own.targets.iter().map(target).collect(),
            labels: own.labels.clone(),
        }
    });
    groups.collect()
}

/// Looks once.
///
/// # Errors
/// Nothing can be said now; what was found before still holds.
pub(crate) async fn look(job: &Job, discovery: &Discovery) -> Result<Vec<Group>, String> {
    match discovery {
        Discovery::File(own) => {
            let (own, directory) = (own.clone(), job.http.directory.clone());
            let read = tokio::task::spawn_blocking(move || files(&own, &directory)).await;
            read.unwrap_or_else(|error| Err(error.to_string()))
        }
        Discovery::Http(own) => server(job, own).await,
        Discovery::Dns(own) => names(own).await,
        Discovery::Static(list) => Ok(listed("static", list)),
        Discovery::Kubernetes(_) => Ok(Vec::new()),
    }
}

fn files(own: &FileDiscovery, directory: &Path) -> Result<Vec<Group>, String> {
    let mut found: BTreeMap<PathBuf, Vec<Group>> = BTreeMap::new();
    for pattern in &own.files {
        for path in matching(&directory.join(pattern))? {
            if let Entry::Vacant(place) = found.entry(path) {
                let groups = file(place.key())?;
                place.insert(groups);
            }
        }
    }
    Ok(found.into_values().flatten().collect())
}

/// Paths that a pattern stands for; only its last part may have a `*`.
fn matching(pattern: &Path) -> Result<Vec<PathBuf>, String> {
    let name = pattern
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let Some((start, end)) = name.split_once('*') else {
        return Ok(vec![pattern.to_owned()]);
    };
    let directory = pattern.parent().unwrap_or(Path::new("."));
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(format!("read {}: {error}", directory.display())),
    };
    let mut out = Vec::new();
    for entry in entries {
        let name = entry.map_err(|error| error.to_string())?.file_name();
        let text = name.to_string_lossy();
        let long = text.len() >= start.len() + end.len();
        if long && text.starts_with(start) && text.ends_with(end) {
            out.push(directory.join(&name));
        }
    }
    out.sort();
    Ok(out)
}

fn file(path: &Path) -> Result<Vec<Group>, String> {
    let shown = path.display();
    let bytes = towpath_stdx::bounded::read_file(path, MAX_BYTES)
        .map_err(|error| format!("read {shown}: {error}"))?;
    let text = std::str::from_utf8(&bytes).map_err(|_| format!("{shown} is no text"))?;
    let list: Vec<Static> = match path.extension().and_then(|own| own.to_str()) {
        Some("json") => serde_json::from_str(text).map_err(|error| format!("{shown}: {error}"))?,
        _ => serde_saphyr::from_str(text).map_err(|error| format!("{shown}: {error}"))?,
    };
    let mut groups = listed(&format!("{shown}"), &list);
    for group in &mut groups {
        group
            .labels
            .insert("__meta_filepath".to_owned(), shown.to_string());
    }
    Ok(groups)
}

async fn server(job: &Job, own: &HttpDiscovery) -> Result<Vec<Group>, String> {
    let mut asking = job.clone();
    asking.limits.body_bytes = MAX_BYTES;
    asking.compression = false;
    let mut fetch = Fetch::new(&asking, LIMIT_MS);
    let answer = fetch.get(&own.url, Vec::new()).await?;
    if !answer
        .content_type
        .to_ascii_lowercase()
        .starts_with("application/json")
    {
        return Err(format!(
            "unsupported content type {:?}",
            answer.content_type
        ));
    }
    let list: Vec<Static> =
        serde_json::from_slice(&answer.body).map_err(|error| format!("{}: {error}", own.url))?;
    let mut groups = listed(&own.url, &list);
    for group in &mut groups {
        group
            .labels
            .insert("__meta_url".to_owned(), own.url.clone());
    }
    Ok(groups)
}

async fn names(own: &DnsDiscovery) -> Result<Vec<Group>, String> {
    let port = own.port.unwrap_or_default();
    let six = own
        .r#type
        .as_deref()
        .is_some_and(|kind| kind.eq_ignore_ascii_case("AAAA"));
    let mut groups = Vec::new();
    for name in &own.names {
        let limit = std::time::Duration::from_millis(LIMIT_MS.unsigned_abs());
        let found = tokio::time::timeout(limit, tokio::net::lookup_host((name.as_str(), port)));
        let found = found
            .await
            .map_err(|_| format!("lookup {name}: timed out"))?;
        let found = found.map_err(|error| format!("lookup {name}: {error}"))?;
        let mut addresses: Vec<String> = found
            .filter(|address| address.is_ipv6() == six)
            .map(|address| address.to_string())
            .collect();
        addresses.sort();
        addresses.dedup();
        let target = |address: String| {
            Set::from([
                ("__address__".to_owned(), address),
                ("__meta_dns_name".to_owned(), name.clone()),
            ])
        };
        groups.push(Group {
            source: name.clone(),
            targets: addresses.into_iter().map(target).collect(),
            labels: Set::new(),
        });
    }
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_list_targets() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write(
            "a.json",
            r#"[{"targets": ["x:1"], "labels": {"env": "p"}}]"#,
        );
        write("b.yml", "- targets: [y:2, z:3]\n");
        write("c.txt", "nothing");
        let own = FileDiscovery {
            files: vec![
                "*.json".to_owned(),
                "b*.yml".to_owned(),
                "none/*.yml".to_owned(),
            ],
            refresh_interval: None,
        };
        let groups = files(&own, dir.path()).unwrap();
        assert_eq!(groups.len(), 2);
        assert_eq!(groups[0].labels["env"], "p");
        assert!(groups[0].labels["__meta_filepath"].ends_with("a.json"));
        assert_eq!(groups[1].targets[1]["__address__"], "z:3");
        write("a.json", "[{\"target\": []}]");
        assert!(
            files(&own, dir.path())
                .unwrap_err()
                .contains("unknown field")
        );
    }
}

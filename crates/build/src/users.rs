//! Names of users and groups, looked up in an image's own files.

use crate::tree::Tree;

const FILE_BYTES: u64 = 1 << 20;

/// `user[:group]`, names or numbers, as ids; the error says which name is missing.
pub(crate) fn owner(tree: &Tree, text: &str) -> Result<(u32, u32), String> {
    let (user, group) = text
        .split_once(':')
        .map_or((text, None), |(u, g)| (u, Some(g)));
    let passwd = table(tree, "etc/passwd");
    let entry = find(&passwd, user);
    let uid = match (user.parse::<u32>(), &entry) {
        (Ok(uid), _) => uid,
        (Err(_), Some(entry)) => number(entry, 2)?,
        (Err(_), None) => return Err(format!("no user {user:?} in /etc/passwd")),
    };
    let gid = match group {
        // A bare user means a group of the same number in COPY.
        None => entry
            .as_ref()
            .filter(|_| user.parse::<u32>().is_err())
            .map_or(Ok(uid), |entry| number(entry, 3))?,
        Some(group) => match group.parse() {
            Ok(gid) => gid,
            Err(_) => {
                let groups = table(tree, "etc/group");
                let entry = find(&groups, group)
                    .ok_or_else(|| format!("no group {group:?} in /etc/group"))?;
                number(&entry, 2)?
            }
        },
    };
    Ok((uid, gid))
}

/// Home directory of an image's `USER`.
pub(crate) fn home(tree: &Tree, user: &str) -> String {
    let name = user.split(':').next().unwrap_or_default();
    let name = if name.is_empty() { "0" } else { name };
    let passwd = table(tree, "etc/passwd");
    let by_id = || {
        passwd
            .iter()
            .find(|entry| entry.get(2).is_some_and(|id| id == name))
            .cloned()
    };
    let home = find(&passwd, name)
        .or_else(by_id)
        .and_then(|entry| entry.get(5).cloned())
        .filter(|h| h.starts_with('/'));
    home.unwrap_or_else(|| {
        if name == "0" || name == "root" {
            "/root".into()
        } else {
            "/".into()
        }
    })
}

fn table(tree: &Tree, path: &str) -> Vec<Vec<String>> {
    let bytes = tree.read(path, FILE_BYTES).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    text.lines()
        .map(|line| line.split(':').map(str::to_string).collect())
        .collect()
}

fn find(table: &[Vec<String>], name: &str) -> Option<Vec<String>> {
    table
        .iter()
        .find(|entry| entry.first().is_some_and(|n| n == name))
        .cloned()
}

fn number(entry: &[String], at: usize) -> Result<u32, String> {
    let text = entry.get(at).map_or("", String::as_str);
    text.parse().map_err(|_| format!("{text:?} is not an id"))
}

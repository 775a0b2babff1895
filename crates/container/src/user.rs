//! Who a process is: names of an image's `USER` looked up in the container's own files, which
//! are read inside its root file system whatever its links say.

use crate::spec::User;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;

/// Numbers to run with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ids {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
}

/// Looks a user up in the root file system `root`.
pub(crate) fn resolve(root: BorrowedFd<'_>, user: &User) -> Result<Ids, String> {
    let passwd = read(root, "etc/passwd");
    let group = read(root, "etc/group");
    resolve_in(&passwd, &group, user)
}

fn read(root: BorrowedFd<'_>, path: &str) -> String {
    let open = || -> io::Result<String> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let fd = rustix::fs::openat2(root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT)?;
        let bytes = towpath_stdx::bounded::read_all(File::from(fd), 4 << 20)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    open().unwrap_or_default()
}

struct Account<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
}

fn accounts(passwd: &str) -> impl Iterator<Item = Account<'_>> {
    passwd.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let (name, _, uid, gid) = (
            fields.next()?,
            fields.next()?,
            fields.next()?,
            fields.next()?,
        );
        Some(Account {
            name,
            uid: uid.parse().ok()?,
            gid: gid.parse().ok()?,
        })
    })
}

fn resolve_in(passwd: &str, group: &str, user: &User) -> Result<Ids, String> {
    let (name, wanted_group) = match user.user.split_once(':') {
        Some((name, group)) => (name, Some(group)),
        None => (user.user.as_str(), None),
    };
    let number = if name.is_empty() {
        Some(0)
    } else {
        name.parse::<u32>().ok()
    };
    let account = accounts(passwd).find(|account| match number {
        Some(uid) => account.uid == uid,
        None => account.name == name,
    });
    let (uid, primary) = match (&account, number) {
        (Some(account), _) => (account.uid, account.gid),
        (None, Some(uid)) => (uid, 0),
        (None, None) => return Err(format!("user {name:?} is not in the image's /etc/passwd")),
    };
    let gid = match (user.group, wanted_group) {
        (Some(gid), _) => gid,
        (None, None) => primary,
        (None, Some(text)) => match text.parse() {
            Ok(gid) => gid,
            Err(_) => groups(group)
                .find(|(name, _, _)| *name == text)
                .map(|(_, gid, _)| gid)
                .ok_or_else(|| format!("group {text:?} is not in the image's /etc/group"))?,
        },
    };
    let mut extra = user.supplementary.clone();
    if let Some(account) = &account {
        let member = |members: &str| members.split(',').any(|member| member == account.name);
        extra.extend(
            groups(group)
                .filter(|(_, _, members)| member(members))
                .map(|(_, gid, _)| gid),
        );
    }
    extra.sort_unstable();
    extra.dedup();
    Ok(Ids {
        uid,
        gid,
        groups: extra,
    })
}

fn groups(group: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    group.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let (name, _, gid) = (fields.next()?, fields.next()?, fields.next()?);
        Some((name, gid.parse().ok()?, fields.next().unwrap_or("")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\nbad line\n";
    const GROUP: &str = "root:x:0:\nstaff:x:50:app,other\nwheel:x:10:other\n";

    fn ids(user: &str, group: Option<u32>) -> Result<Ids, String> {
        let user = User {
            user: user.into(),
            group,
            supplementary: vec![7],
        };
        resolve_in(PASSWD, GROUP, &user)
    }

    #[test]
    fn names_and_numbers() {
        let expect = |uid, gid, groups: &[u32]| {
            Ok(Ids {
                uid,
                gid,
                groups: groups.to_vec(),
            })
        };
        assert_eq!(ids("", None), expect(0, 0, &[7]));
        assert_eq!(ids("app", None), expect(1000, 1001, &[7, 50]));
        assert_eq!(ids("app:staff", None), expect(1000, 50, &[7, 50]));
        assert_eq!(ids("1000", Some(9)), expect(1000, 9, &[7, 50]));
        assert_eq!(ids("2000", None), expect(2000, 0, &[7]));
        assert_eq!(ids("2000:3000", None), expect(2000, 3000, &[7]));
        assert!(ids("nobody", None).is_err());
        assert!(ids("app:nogroup", None).is_err());
    }
}

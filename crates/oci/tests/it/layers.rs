use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use towpath_oci::layer::{self, Compression, Limits, Options, Whiteouts, diff};

struct Tar(tar::Builder<Vec<u8>>);

impl Tar {
    fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    // The name goes in raw: the builder of the library refuses what a hostile archive holds.
    fn add(mut self, kind: tar::EntryType, name: &str, link: &str, content: &[u8]) -> Self {
        let mut header = tar::Header::new_ustar();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(if kind == tar::EntryType::Directory {
            0o755
        } else {
            0o644
        });
        header.set_uid(7);
        header.set_gid(8);
        header.set_mtime(1_000_000);
        header.set_size(content.len() as u64);
        header.set_device_major(0).expect("major");
        header.set_device_minor(0).expect("minor");
        header.set_cksum();
        self.0.append(&header, content).expect("append");
        self
    }

    fn dir(self, name: &str) -> Self {
        self.add(tar::EntryType::Directory, name, "", b"")
    }

    fn file(self, name: &str, content: &str) -> Self {
        self.add(tar::EntryType::Regular, name, "", content.as_bytes())
    }

    fn link(self, name: &str, target: &str) -> Self {
        self.add(tar::EntryType::Symlink, name, target, b"")
    }

    fn hard(self, name: &str, target: &str) -> Self {
        self.add(tar::EntryType::Link, name, target, b"")
    }

    fn done(self) -> Vec<u8> {
        self.0.into_inner().expect("finish")
    }
}

fn remove() -> Options {
    Options::default()
}

fn overlay() -> Options {
    Options {
        whiteouts: Whiteouts::Overlay,
        ..Options::default()
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn owners_modes_times_and_links_arrive() {
    let dir = tempfile::tempdir().expect("dir");
    let tar = Tar::new()
        .dir("a/")
        .file("a/f", "hi")
        .link("a/l", "/a/f")
        .hard("a/h", "a/f")
        .file("deep/er/x", "y")
        .done();
    let applied = layer::apply(&tar[..], dir.path(), &remove()).expect("apply");
    assert_eq!(applied.entries, 5);
    assert_eq!(applied.diff_id, towpath_oci::Digest::of(&tar));
    let stat = fs::metadata(dir.path().join("a/f")).expect("stat");
    assert_eq!(
        (
            stat.uid(),
            stat.gid(),
            stat.mtime(),
            stat.nlink(),
            stat.permissions().mode() & 0o777
        ),
        (7, 8, 1_000_000, 2, 0o644)
    );
    assert_eq!(
        fs::metadata(dir.path().join("a")).expect("stat").mtime(),
        1_000_000
    );
    assert_eq!(
        fs::read_link(dir.path().join("a/l")).expect("link"),
        Path::new("/a/f")
    );
    assert_eq!(read(&dir.path().join("deep/er/x")), "y");
}

#[test]
fn every_compression_is_recognised() {
    let tar = Tar::new().file("f", "hello").done();
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
        let mut encoder = layer::Encoder::new(Vec::new(), compression).expect("encoder");
        encoder.write_all(&tar).expect("write");
        let packed = encoder.finish().expect("finish");
        let dir = tempfile::tempdir().expect("dir");
        let applied = layer::apply(&packed[..], dir.path(), &remove()).expect("apply");
        assert_eq!(
            applied.diff_id,
            towpath_oci::Digest::of(&tar),
            "{compression:?}"
        );
        assert_eq!(read(&dir.path().join("f")), "hello");
    }
}

#[test]
fn whiteouts_remove_what_is_below_but_not_their_own_layer() {
    let dir = tempfile::tempdir().expect("dir");
    let below = Tar::new()
        .file("gone", "1")
        .dir("d/")
        .file("d/old", "1")
        .file("d/sub/old", "1")
        .file("kept", "1")
        .done();
    layer::apply(&below[..], dir.path(), &remove()).expect("below");
    let above = Tar::new()
        .file(".wh.gone", "")
        .file("d/new", "2")
        .file("d/.wh..wh..opq", "")
        .file("own", "2")
        .file(".wh.own", "")
        .done();
    layer::apply(&above[..], dir.path(), &remove()).expect("above");
    assert!(!dir.path().join("gone").exists());
    assert!(!dir.path().join("d/old").exists());
    assert!(!dir.path().join("d/sub").exists());
    assert_eq!(read(&dir.path().join("d/new")), "2");
    assert_eq!(read(&dir.path().join("own")), "2");
    assert_eq!(read(&dir.path().join("kept")), "1");
}

#[test]
fn overlay_marks_go_out_and_come_back() {
    let dir = tempfile::tempdir().expect("dir");
    let tar = Tar::new()
        .file(".wh.gone", "")
        .dir("d/")
        .file("d/.wh..wh..opq", "")
        .file("d/new", "2")
        .done();
    layer::apply(&tar[..], dir.path(), &overlay()).expect("apply");
    let stat = fs::symlink_metadata(dir.path().join("gone")).expect("stat");
    assert_eq!((stat.mode() & 0o170_000, stat.rdev()), (0o020_000, 0));
    assert_eq!(
        xattr::get(dir.path().join("d"), "trusted.overlay.opaque")
            .expect("get")
            .as_deref(),
        Some(&b"y"[..])
    );
    let mut out = Vec::new();
    let options = diff::Options {
        compression: Compression::None,
        clamp_mtime: None,
    };
    let diffed = diff::diff(dir.path(), &mut out, &options).expect("diff");
    assert_eq!(diffed.entries, 4);
    let names: Vec<String> = tar::Archive::new(&out[..])
        .entries()
        .expect("entries")
        .map(|e| String::from_utf8(e.expect("entry").path_bytes().to_vec()).expect("utf-8"))
        .collect();
    assert_eq!(names, ["d/", "d/.wh..wh..opq", "d/new", ".wh.gone"]);
}

#[test]
fn nothing_leaves_the_target() {
    let outer = tempfile::tempdir().expect("dir");
    fs::write(outer.path().join("victim"), "safe").expect("write");
    let up = "../".repeat(8);
    let outside = outer.path().join("victim").display().to_string();
    let attacks = [
        Tar::new().file("../victim", "owned").done(),
        Tar::new().file("a/../../victim", "owned").done(),
        Tar::new().link("l", "..").file("l/victim", "owned").done(),
        Tar::new()
            .link("l", outer.path().to_str().expect("utf-8"))
            .file("l/victim", "owned")
            .done(),
        Tar::new().link("l", &up).file("l/victim", "owned").done(),
        Tar::new()
            .link("victim2", &outside)
            .file("victim2", "owned")
            .done(),
        Tar::new()
            .link("l", "..")
            .hard("h", "l/victim")
            .file("h", "owned")
            .done(),
        Tar::new().hard("h", "../victim").file("h", "owned").done(),
        Tar::new().hard("h", &outside[1..]).done(),
        Tar::new().link("l", "..").file("l/.wh.victim", "").done(),
        Tar::new().link("l", "..").file("l/.wh..wh..opq", "").done(),
        Tar::new().file(".wh...", "").done(),
        Tar::new().file(".wh..", "").done(),
        Tar::new().file(".wh.", "").done(),
        Tar::new().link(".", "..").file("victim", "x").done(),
        Tar::new()
            .link("p", "/proc/self/root")
            .file("p/victim", "owned")
            .done(),
    ];
    for (index, attack) in attacks.iter().enumerate() {
        for options in [remove(), overlay()] {
            let target = outer
                .path()
                .join(format!("t{index}-{:?}", options.whiteouts));
            fs::create_dir(&target).expect("target");
            let _ = layer::apply(&attack[..], &target, &options);
            assert_eq!(read(&outer.path().join("victim")), "safe", "attack {index}");
            fs::remove_dir_all(&target).expect("clean");
        }
    }
    assert_eq!(
        fs::read_dir(outer.path()).expect("list").count(),
        1,
        "nothing was made beside the targets"
    );
}

#[test]
fn budgets_stop_bombs() {
    let dir = tempfile::tempdir().expect("dir");
    let mut encoder = layer::Encoder::new(Vec::new(), Compression::Gzip).expect("encoder");
    let zeros = vec![0u8; 1 << 20];
    encoder
        .write_all(&Tar::new().file("z", "").done()[..512])
        .expect("write");
    for _ in 0..64 {
        encoder.write_all(&zeros).expect("write");
    }
    let packed = encoder.finish().expect("finish");
    let small = Options {
        limits: Limits {
            bytes: 1 << 20,
            ..Limits::default()
        },
        ..Options::default()
    };
    let error = layer::apply(&packed[..], dir.path(), &small).expect_err("too large");
    assert!(error.to_string().contains("uncompressed"), "{error}");
    let many = (0..20)
        .fold(Tar::new(), |tar, n| tar.file(&format!("f{n}"), ""))
        .done();
    let few = Options {
        limits: Limits {
            entries: 10,
            ..Limits::default()
        },
        ..Options::default()
    };
    assert!(layer::apply(&many[..], dir.path(), &few).is_err());
    assert!(
        layer::apply(
            &Tar::new().file(&"d/".repeat(40), "").done()[..],
            dir.path(),
            &Options {
                limits: Limits {
                    depth: 10,
                    ..Limits::default()
                },
                ..Options::default()
            }
        )
        .is_err()
    );
}

#[test]
fn cut_off_and_broken_archives_are_errors() {
    let tar = Tar::new().file("f", &"x".repeat(2000)).done();
    for end in [100, 512, 900, 1500] {
        let dir = tempfile::tempdir().expect("dir");
        let error = layer::apply(&tar[..end], dir.path(), &remove()).expect_err("cut");
        assert!(format!("{error:?}").contains("cut off"), "{end}: {error:?}");
    }
    let dir = tempfile::tempdir().expect("dir");
    assert!(layer::apply(&b"this is no archive at all, but it is long enough to be a header block ".repeat(10)[..], dir.path(), &remove()).is_err());
}

fn tree(root: &Path) {
    fs::create_dir_all(root.join("b/c")).expect("dir");
    fs::write(root.join("b/c/file"), "content").expect("write");
    fs::write(root.join("b/tool"), "#!").expect("write");
    fs::set_permissions(root.join("b/tool"), fs::Permissions::from_mode(0o4755)).expect("mode");
    fs::hard_link(root.join("b/tool"), root.join("b/tool2")).expect("link");
    symlink("../nowhere", root.join("a")).expect("link");
    fs::write(root.join("n".repeat(150)), "long name").expect("write");
    fs::write(root.join("grüße"), "not ascii").expect("write");
    xattr::set(root.join("b/tool"), "user.note", b"kept").expect("xattr");
    std::os::unix::fs::chown(root.join("b/c/file"), Some(3_000_000), Some(5)).expect("chown");
}

#[test]
fn a_tree_goes_out_and_in_again_and_gives_the_same_bytes_twice() {
    let (one, two, three) = (
        tempfile::tempdir().expect("dir"),
        tempfile::tempdir().expect("dir"),
        tempfile::tempdir().expect("dir"),
    );
    tree(one.path());
    tree(two.path());
    let options = diff::Options {
        compression: Compression::Zstd,
        clamp_mtime: Some(1_700_000_000),
    };
    let (mut a, mut b, mut c) = (Vec::new(), Vec::new(), Vec::new());
    let first = diff::diff(one.path(), &mut a, &options).expect("diff");
    let second = diff::diff(two.path(), &mut b, &options).expect("diff");
    assert_eq!(first, second);
    assert_eq!(a, b);
    assert_eq!(first.bytes, a.len() as u64);
    let applied = layer::apply(&a[..], three.path(), &remove()).expect("apply");
    assert_eq!(applied.diff_id, first.diff_id);
    assert_eq!(
        diff::diff(three.path(), &mut c, &options).expect("diff"),
        first
    );
    let stat = fs::metadata(three.path().join("b/tool")).expect("stat");
    assert_eq!(
        (stat.mode() & 0o7777, stat.nlink(), stat.mtime()),
        (0o4755, 2, 1_700_000_000)
    );
    assert_eq!(
        xattr::get(three.path().join("b/tool2"), "user.note")
            .expect("get")
            .as_deref(),
        Some(&b"kept"[..])
    );
    assert_eq!(
        fs::metadata(three.path().join("b/c/file"))
            .expect("stat")
            .uid(),
        3_000_000
    );
    assert_eq!(read(&three.path().join("n".repeat(150))), "long name");
    assert_eq!(read(&three.path().join("grüße")), "not ascii");
}

#[test]
fn a_pair_of_snapshots_becomes_what_changed() {
    let (lower, upper) = (
        tempfile::tempdir().expect("dir"),
        tempfile::tempdir().expect("dir"),
    );
    for root in [lower.path(), upper.path()] {
        fs::create_dir_all(root.join("d/same")).expect("dir");
        fs::write(root.join("d/same/f"), "1").expect("write");
        fs::write(
            root.join("d/changed"),
            if root == lower.path() { "1" } else { "22" },
        )
        .expect("write");
        fs::File::open(root.join("d/same/f"))
            .expect("open")
            .set_modified(std::time::UNIX_EPOCH)
            .expect("time");
    }
    fs::write(lower.path().join("removed"), "1").expect("write");
    fs::create_dir(upper.path().join("new")).expect("dir");
    fs::write(upper.path().join("new/f"), "1").expect("write");
    let mut out = Vec::new();
    let options = diff::Options {
        compression: Compression::None,
        clamp_mtime: None,
    };
    layer::diff_trees(lower.path(), upper.path(), &mut out, &options).expect("diff");
    layer::apply(&out[..], lower.path(), &remove()).expect("apply");
    assert!(!lower.path().join("removed").exists());
    assert_eq!(read(&lower.path().join("d/changed")), "22");
    assert_eq!(read(&lower.path().join("new/f")), "1");
    let mut again = Vec::new();
    assert_eq!(
        layer::diff_trees(lower.path(), upper.path(), &mut again, &options)
            .expect("diff")
            .entries,
        0
    );
}

//! Images that the tests name, made here from the suite's own sources on one Debian root, and
//! loaded into Towpath's registry under their original names.

use super::server::Server;
use super::suite::Suite;
use crate::step;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

const DOCKERFILES: &str = "tests/peers/e2e/images";

/// Dockerfile and the references that the suite asks for; in order of dependence.
const IMAGES: &[(&str, &[&str])] = &[
    ("debian", &[]),
    (
        "agnhost",
        &[
            "e2e-test-images/agnhost:2.63.0",
            "e2e-test-images/agnhost:2.55",
        ],
    ),
    ("busybox", &["e2e-test-images/busybox:1.37.0-1"]),
    ("pause", &["pause:3.10.2"]),
    (
        "nginx",
        &[
            "e2e-test-images/nginx:1.15-4",
            "e2e-test-images/nginx:1.27-0",
        ],
    ),
    ("nautilus", &["e2e-test-images/nautilus:1.8"]),
    ("kitten", &["e2e-test-images/kitten:1.8"]),
    ("nonroot", &["e2e-test-images/nonroot:1.5"]),
    ("nonewprivs", &["e2e-test-images/nonewprivs:1.4"]),
    (
        "glibc-dns-testing",
        &["e2e-test-images/glibc-dns-testing:2.0.0"],
    ),
    (
        "sample-apiserver",
        &["e2e-test-images/sample-apiserver:1.29.2"],
    ),
    ("etcd", &["etcd:3.6.8-0"]),
];

/// Distribution packages of the root, beside the essential ones.
const PACKAGES: &str = "bash,bind9-dnsutils,curl,netcat-openbsd,iproute2,iperf,util-linux,nginx-light,iputils-ping,ca-certificates";

/// Built images, as archives.
pub(super) struct Images {
    dir: PathBuf,
}

/// Makes what is missing.
pub(super) fn build(suite: &Suite) -> Result<Images> {
    let dir = suite.dir.join("images");
    std::fs::create_dir_all(&dir)?;
    let images = Images { dir };
    if IMAGES
        .iter()
        .all(|(name, references)| references.is_empty() || images.archive(name).exists())
    {
        return Ok(images);
    }
    images.context(suite)?;
    for (name, references) in IMAGES {
        images.make(name, references.is_empty())?;
    }
    // Layers are in the archives now.
    step::run(images.buildah("rmi").args(["--all", "--force"]))?;
    Ok(images)
}

impl Images {
    fn archive(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.oci.tar"))
    }

    // Everything that a Dockerfile copies, in one directory.
    fn context(&self, suite: &Suite) -> Result<()> {
        for name in ["agnhost", "nnp", "sample-apiserver", "etcd"] {
            copy(&suite.dir.join(name), &self.dir.join(name))?;
        }
        let sources = suite.source.join("test/images");
        for file in ["localhost.crt", "localhost.key"] {
            copy(
                &sources.join("agnhost/porter").join(file),
                &self.dir.join(file),
            )?;
        }
        for name in ["nautilus", "kitten"] {
            std::fs::create_dir_all(self.dir.join(name).join("html"))?;
            for file in [format!("{name}.jpg"), "data.json".into()] {
                let file = format!("{name}/html/{file}");
                copy(&sources.join(&file), &self.dir.join(&file))?;
            }
        }
        let mut gcc = step::program("gcc");
        gcc.args(["-static", "-Os", "-s", "-o"])
            .arg(self.dir.join("pause"));
        step::run(gcc.arg(format!("{DOCKERFILES}/pause.c")))?;
        self.busybox()?;
        self.debian()
    }

    fn debian(&self) -> Result<()> {
        let file = self.dir.join("debian.tar");
        if file.exists() {
            return Ok(());
        }
        let part = self.dir.join("debian.part.tar");
        let mut mmdebstrap = step::program("mmdebstrap");
        mmdebstrap.args(["--variant=minbase", "--mode=root", "--quiet"]);
        mmdebstrap.arg(format!("--include={PACKAGES}"));
        for path in ["doc", "man", "locale"] {
            mmdebstrap.arg(format!("--dpkgopt=path-exclude=/usr/share/{path}/*"));
        }
        step::run(mmdebstrap.arg("bookworm").arg(&part))?;
        Ok(std::fs::rename(part, file)?)
    }

    // A root of links to one program.
    fn busybox(&self) -> Result<()> {
        let root = self.dir.join("busybox");
        for dir in [
            "bin",
            "etc",
            "tmp",
            "root",
            "home",
            "var/spool/mail",
            "usr/sbin",
            "dev",
        ] {
            std::fs::create_dir_all(root.join(dir))?;
        }
        copy(Path::new("/bin/busybox"), &root.join("bin/busybox"))?;
        std::fs::write(
            root.join("etc/passwd"),
            "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n",
        )?;
        std::fs::write(root.join("etc/group"), "root:x:0:\nnobody:x:65534:\n")?;
        let applets = step::output(step::program("/bin/busybox").arg("--list"))?;
        for applet in applets.lines().filter(|applet| *applet != "busybox") {
            let link = root.join("bin").join(applet);
            if !link.is_symlink() {
                std::os::unix::fs::symlink("busybox", link)?;
            }
        }
        let mut tar = step::program("tar");
        tar.args([
            "--create",
            "--sort=name",
            "--mtime=@0",
            "--owner=0",
            "--group=0",
        ]);
        tar.arg("--numeric-owner")
            .arg("--file")
            .arg(self.dir.join("busybox.tar"));
        // Whoever runs in the image may write there.
        step::run(step::program("chmod").arg("1777").arg(root.join("tmp")))?;
        step::run(tar.arg("--directory").arg(&root).arg("."))
    }

    fn buildah(&self, command: &str) -> std::process::Command {
        let mut buildah = step::program("buildah");
        for (flag, dir) in [("--root", "storage"), ("--runroot", "run")] {
            buildah.arg(flag).arg(self.dir.join(dir));
        }
        buildah.args(["--storage-driver", "overlay", command]);
        buildah
    }

    fn make(&self, name: &str, only_a_base: bool) -> Result<()> {
        let mut build = self.buildah("build");
        build.args(["--isolation", "chroot", "--timestamp", "0", "--quiet"]);
        build.args(["--tag", &format!("localhost/e2e/{name}"), "--file"]);
        build.arg(format!("{DOCKERFILES}/{name}.Dockerfile"));
        step::run(build.arg(&self.dir))?;
        if only_a_base {
            return Ok(());
        }
        let (archive, part) = (self.archive(name), self.dir.join("part.oci.tar"));
        let _ = std::fs::remove_file(&part);
        let mut push = self.buildah("push");
        push.args(["--quiet", &format!("localhost/e2e/{name}")]);
        step::run(push.arg(format!("oci-archive:{}", part.display())))?;
        Ok(std::fs::rename(part, archive)?)
    }

    /// Loads them into a server's registry.
    pub(super) fn load(&self, server: &Server) -> Result<()> {
        for (name, references) in IMAGES {
            for reference in *references {
                let mut skopeo = step::program("skopeo");
                skopeo.args(["copy", "--quiet", "--dest-tls-verify=false", "--dest-creds"]);
                skopeo.arg(format!("admin:{}", server.token));
                skopeo.arg(format!("oci-archive:{}", self.archive(name).display()));
                skopeo.arg(format!(
                    "docker://{}/registry.k8s.io/{reference}",
                    server.registry
                ));
                step::output(&mut skopeo)?;
            }
        }
        Ok(())
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::copy(from, to).with_context(|| format!("copy {}", from.display()))?;
    Ok(())
}

//! Pushing and pulling 1 GiB, beside Debian's docker-registry.

use super::report::Row;
use super::server::Server;
use super::stats::median;
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use xtask::step;

const LAYERS: usize = 4;
const LAYER_BYTES: usize = 256 << 20;

/// skopeo in both directions, interleaved.
pub fn bench(repeats: usize) -> Result<Vec<Row>> {
    let server = Server::start("registry")?;
    let image = server.dir().join("image");
    make(&image)?;
    let peer = Peer::start(server.dir())?;
    let host = server.url.trim_start_matches("http://");
    let credentials = format!("admin:{}", server.token);
    let (mut push, mut pull) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for round in 0..repeats.min(3) {
        for side in [1, 0] {
            let (reference, login) = match side {
                0 => (
                    format!("docker://{host}/demo/big{round}:1"),
                    Some(credentials.as_str()),
                ),
                _ => (format!("docker://{}/demo/big{round}:1", peer.host), None),
            };
            // A fresh image each round, or the registries would skip known layers.
            if side == 1 {
                make(&image)?;
            }
            let from = format!("oci:{}:1", image.display());
            push[side].push(copy(
                &["--dest-tls-verify=false"],
                "--dest-creds",
                login,
                &from,
                &reference,
            )?);
            let target = server.dir().join(format!("pulled-{side}"));
            let to = format!("oci:{}:1", target.display());
            pull[side].push(copy(
                &["--src-tls-verify=false"],
                "--src-creds",
                login,
                &reference,
                &to,
            )?);
            std::fs::remove_dir_all(&target)?;
        }
    }
    let row = |what: &str, sides: &[Vec<f64>; 2]| {
        let (ours, theirs) = (median(sides[0].clone()), median(sides[1].clone()));
        let ratio = theirs / ours;
        let rate = |seconds: f64| (LAYERS * LAYER_BYTES) as f64 / 1e6 / seconds;
        Row::new(
            what,
            format!("{ours:.1} s, {:.0} MB/s (**{ratio:.2}×**)", rate(ours)),
            format!("{theirs:.1} s, {:.0} MB/s (docker-registry)", rate(theirs)),
            "≥ 1×",
            ratio >= 1.0,
        )
    };
    Ok(vec![
        row("registry push of 1 GiB with skopeo", &push),
        row("registry pull of 1 GiB with skopeo", &pull),
    ])
}

fn copy(
    flags: &[&str],
    login_flag: &str,
    login: Option<&str>,
    from: &str,
    to: &str,
) -> Result<f64> {
    let mut skopeo = step::program("skopeo");
    skopeo.arg("copy").arg("--quiet").args(flags);
    if let Some(login) = login {
        skopeo.args([login_flag, login]);
    }
    let begin = Instant::now();
    step::output(skopeo.args([from, to]))?;
    Ok(begin.elapsed().as_secs_f64())
}

/// An OCI layout of random, uncompressed layers: nothing but transfer and digest is measured.
fn make(dir: &Path) -> Result<()> {
    use std::io::{Read, Write};
    let _ = std::fs::remove_dir_all(dir);
    let blobs = dir.join("blobs/sha256");
    std::fs::create_dir_all(&blobs)?;
    let digest = |path: &Path| -> Result<String> {
        let text = step::output(step::program("sha256sum").arg(path))?;
        Ok(text.split(' ').next().unwrap_or_default().to_string())
    };
    let put = |bytes: &[u8]| -> Result<(String, usize)> {
        let path = dir.join("new");
        std::fs::write(&path, bytes)?;
        let name = digest(&path)?;
        std::fs::rename(path, blobs.join(&name))?;
        Ok((name, bytes.len()))
    };
    let (mut layers, mut ids) = (Vec::new(), Vec::new());
    for _ in 0..LAYERS {
        let path = dir.join("layer");
        let mut file = std::fs::File::create(&path)?;
        let mut random = std::fs::File::open("/dev/urandom")?.take(LAYER_BYTES as u64);
        std::io::copy(&mut random, &mut file)?;
        file.flush()?;
        let name = digest(&path)?;
        std::fs::rename(path, blobs.join(&name))?;
        layers.push(format!(r#"{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"sha256:{name}","size":{LAYER_BYTES}}}"#));
        ids.push(format!("\"sha256:{name}\""));
    }
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","config":{{}},"rootfs":{{"type":"layers","diff_ids":[{}]}}}}"#,
        ids.join(",")
    );
    let (config, size) = put(config.as_bytes())?;
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:{config}","size":{size}}},"layers":[{}]}}"#,
        layers.join(",")
    );
    let (manifest, size) = put(manifest.as_bytes())?;
    let index = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:{manifest}","size":{size},"annotations":{{"org.opencontainers.image.ref.name":"1"}}}}]}}"#
    );
    std::fs::write(dir.join("index.json"), index)?;
    std::fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
    Ok(())
}

struct Peer {
    child: Child,
    host: String,
}

impl Peer {
    fn start(dir: &Path) -> Result<Self> {
        let port = 29_000 + std::process::id() % 1000;
        let host = format!("127.0.0.1:{port}");
        let config = dir.join("registry.yml");
        let storage = dir.join("registry");
        std::fs::write(
            &config,
            format!(
                "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: {host}}}\n",
                storage.display()
            ),
        )?;
        let mut command = step::program("docker-registry");
        command
            .arg("serve")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = command.spawn().context("docker-registry")?;
        let peer = Self { child, host };
        for _ in 0..50 {
            if std::net::TcpStream::connect(&peer.host).is_ok() {
                return Ok(peer);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        bail!("docker-registry did not start");
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

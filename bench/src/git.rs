//! Cloning a 50 MB repository eight times at once, beside git http-backend.

use super::report::Row;
use super::server::Server;
use super::stats::median;
use anyhow::{Context, Result};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;
use xtask::step;

const CLONES: usize = 8;

/// Eight parallel clones, interleaved.
pub fn bench(repeats: usize) -> Result<Vec<Row>> {
    let server = Server::start("git")?;
    server.towpath(&["repo", "create", "demo/big"])?;
    let source = server.dir().join("source");
    make(&source)?;
    let ours = server
        .towpath(&["repo", "url", "demo/big"])?
        .trim()
        .to_string();
    step::output(step::program("git").arg("-C").arg(&source).args([
        "push",
        "--quiet",
        &ours,
        "main:refs/heads/main",
    ]))?;
    let bare = server.dir().join("peer");
    step::output(
        step::program("git")
            .args(["clone", "--quiet", "--bare"])
            .arg(&source)
            .arg(bare.join("big.git")),
    )?;
    let peer = Backend::start(bare)?;
    let (mut mine, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..repeats.min(3) {
        theirs.push(clones(&peer.url, server.dir())?);
        mine.push(clones(&ours, server.dir())?);
    }
    let (mine, theirs) = (median(mine), median(theirs));
    let ratio = theirs / mine;
    Ok(vec![Row::new(
        "clone of a 50 MB repository × 8",
        format!("{mine:.2} s (**{ratio:.2}×**)"),
        format!("{theirs:.2} s (git http-backend)"),
        "≥ 0.9×",
        ratio >= 0.9,
    )])
}

fn make(dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir)?;
    let git = |arguments: &[&str]| {
        let identity = [
            "-c",
            "user.name=Bench",
            "-c",
            "user.email=bench@example.org",
        ];
        step::output(
            step::program("git")
                .arg("-C")
                .arg(dir)
                .args(identity)
                .args(arguments),
        )
    };
    git(&["init", "--quiet", "--initial-branch", "main"])?;
    let mut random = std::fs::File::open("/dev/urandom")?;
    for number in 0..50 {
        let mut bytes = vec![0u8; 1 << 20];
        random.read_exact(&mut bytes)?;
        std::fs::write(dir.join(format!("file-{number}")), bytes)?;
    }
    git(&["add", "--all"])?;
    git(&["commit", "--quiet", "--message", "Fifty megabytes"])?;
    Ok(())
}

fn clones(url: &str, dir: &Path) -> Result<f64> {
    let begin = Instant::now();
    let mut children = Vec::new();
    for number in 0..CLONES {
        let target = dir.join(format!("clone-{number}"));
        let _ = std::fs::remove_dir_all(&target);
        let mut git = step::program("git");
        git.args(["clone", "--quiet", "--bare", url])
            .arg(&target)
            .stdout(Stdio::null());
        children.push(git.spawn()?);
    }
    for mut child in children {
        anyhow::ensure!(child.wait()?.success(), "a clone failed");
    }
    Ok(begin.elapsed().as_secs_f64())
}

/// git's own CGI program behind the smallest HTTP server that can carry it.
struct Backend {
    url: String,
}

impl Backend {
    fn start(root: PathBuf) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let url = format!("http://{}/big.git", listener.local_addr()?);
        let exec = step::output(step::program("git").arg("--exec-path"))?;
        let program = Path::new(exec.trim()).join("git-http-backend");
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (program, root) = (program.clone(), root.clone());
                std::thread::spawn(move || serve(stream, &program, &root));
            }
        });
        Ok(Self { url })
    }
}

fn serve(stream: TcpStream, program: &Path, root: &Path) -> Result<()> {
    let mut reader = BufReader::with_capacity(64 << 10, stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split(' ');
    let (method, target) = (
        words.next().context("method")?.to_string(),
        words.next().context("path")?.to_string(),
    );
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let mut cgi = step::program(&program.to_string_lossy());
    cgi.env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REQUEST_METHOD", &method);
    cgi.env("PATH_INFO", path)
        .env("QUERY_STRING", query)
        .env("GIT_CONFIG_COUNT", "1");
    cgi.env("GIT_CONFIG_KEY_0", "safe.directory")
        .env("GIT_CONFIG_VALUE_0", "*");
    let mut length = 0u64;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let Some((name, value)) = header.trim_end().split_once(": ") else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse()?,
            "content-type" => drop(cgi.env("CONTENT_TYPE", value)),
            "content-encoding" => drop(cgi.env("HTTP_CONTENT_ENCODING", value)),
            "git-protocol" => drop(cgi.env("GIT_PROTOCOL", value)),
            _ => {}
        }
    }
    cgi.env("CONTENT_LENGTH", length.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = cgi.spawn()?;
    let mut stdin = child.stdin.take().context("stdin")?;
    std::io::copy(&mut reader.take(length), &mut stdin)?;
    drop(stdin);
    let mut stdout = BufReader::with_capacity(64 << 10, child.stdout.take().context("stdout")?);
    let mut out = stream;
    let mut head = String::from("HTTP/1.1 200 OK\r\nConnection: close\r\n");
    loop {
        let mut header = String::new();
        stdout.read_line(&mut header)?;
        if header.trim_end().is_empty() {
            break;
        }
        head.push_str(header.trim_end());
        head.push_str("\r\n");
    }
    out.write_all(head.as_bytes())?;
    out.write_all(b"\r\n")?;
    std::io::copy(&mut stdout, &mut out)?;
    child.wait()?;
    Ok(())
}

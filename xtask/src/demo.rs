//! From a fresh clone to the sample answering in `dev`.

use crate::{packages, step, web};
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Folders below `examples/images` and the tags that the sample names.
pub const IMAGES: [(&str, &str); 2] = [("postgres", "postgres:15"), ("redis", "redis:7")];

/// Flags for `towpath up` may follow after `--`, e.g. `-- --data-dir ./state --http 127.0.0.1:9090`.
#[derive(clap::Args)]
pub struct Args {
    /// Flags for towpath
    #[arg(last = true)]
    flags: Vec<String>,
}

/// Runs the whole way; a second call reuses everything.
pub fn run(args: Args) -> Result<()> {
    packages::install(&[packages::DEMO])?;
    web::build()?;
    step::run(step::cargo().args(["build", "--locked", "--package", "towpath"]))?;
    let demo = Demo { flags: args.flags };
    step::run(&mut demo.towpath(&["up"]))?;
    step::run(&mut demo.towpath(&["apply", "-f", "examples/hello/towpath.yaml"]))?;
    for (folder, tag) in IMAGES {
        demo.image(folder, tag)?;
    }
    let work = demo.working_copy()?;
    let work = work.to_string_lossy().into_owned();
    step::run(&mut demo.towpath(&[
        "push", "-C", &work, "--repo", "hello", "--to", "dev", "--wait",
    ]))?;
    demo.answer()?;
    demo.summary()
}

struct Demo {
    flags: Vec<String>,
}

impl Demo {
    fn towpath(&self, arguments: &[&str]) -> Command {
        // CARGO_TARGET_DIR may point elsewhere; the build above put the program there.
        let target = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".into());
        let mut command = step::program(&format!("{target}/debug/towpath"));
        command.args(arguments).args(&self.flags);
        command
    }

    fn url(&self) -> Result<String> {
        Ok(step::output(
            self.towpath(&["up", "--quiet"])
                .stderr(std::process::Stdio::inherit()),
        )?
        .trim()
        .to_string())
    }

    fn image(&self, folder: &str, tag: &str) -> Result<()> {
        let context = format!("examples/images/{folder}");
        step::run(&mut self.towpath(&["build", &context, "--tag", tag, "--if-missing"]))
    }

    /// A git repository with the sample in it, outside the checkout so that it is a user's own.
    fn working_copy(&self) -> Result<std::path::PathBuf> {
        let dir = std::env::temp_dir().join("towpath-demo/hello");
        std::fs::create_dir_all(&dir)?;
        let git = |arguments: &[&str]| -> Command {
            let mut git = step::program("git");
            git.arg("-C").arg(&dir).args([
                "-c",
                "user.name=Demo",
                "-c",
                "user.email=demo@example.org",
            ]);
            git.args(arguments);
            git
        };
        if !dir.join(".git").exists() {
            step::run(&mut git(&["init", "--quiet", "--initial-branch", "main"]))?;
        }
        copy(Path::new("examples/hello"), &dir)?;
        step::run(&mut git(&["add", "--all"]))?;
        if !step::output(&mut git(&["status", "--porcelain"]))?
            .trim()
            .is_empty()
        {
            step::run(&mut git(&[
                "commit",
                "--quiet",
                "--message",
                "The sample service",
            ]))?;
        }
        Ok(dir)
    }

    fn answer(&self) -> Result<()> {
        let begin = Instant::now();
        loop {
            if let Ok(text) = http_get("127.0.0.1:30253") {
                eprintln!("hello answers: {}", text.trim());
                return Ok(());
            }
            if begin.elapsed() > Duration::from_secs(60) {
                bail!("hello does not answer on 127.0.0.1:30253; see towpath status");
            }
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    fn summary(&self) -> Result<()> {
        let url = self.url()?;
        let token = step::output(&mut self.towpath(&["token"]))?;
        println!("\nhello runs in dev: http://127.0.0.1:30253");
        println!("web UI:            {url}");
        println!("login token:       {}", token.trim());
        println!("next:");
        println!("  towpath status                          what runs where");
        println!("  towpath promote @dev stg --wait         bring it to stg");
        println!(
            "  towpath promote @stg prd                ask for prd; then: towpath approve prd"
        );
        println!("  towpath rollback stg -m \"trying it\"     restore the release before");
        println!(
            "  towpath why dev                         what is wrong there, and since which change"
        );
        println!("  {url}/observe/explore    its metrics, logs and traces");
        println!("  towpath kubeconfig > ~/.kube/config     use kubectl");
        Ok(())
    }
}

/// Copies the files of a folder that git knows.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    let files =
        step::output(step::program("git").args(["ls-files", "--", &from.to_string_lossy()]))?;
    for file in files.lines() {
        let target = to.join(Path::new(file).strip_prefix(from)?);
        if let Some(parent) = target.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::copy(file, &target).with_context(|| format!("copy {file}"))?;
    }
    Ok(())
}

fn http_get(address: &str) -> Result<String> {
    use std::io::{Read, Write};
    let mut stream =
        std::net::TcpStream::connect_timeout(&address.parse()?, Duration::from_secs(2))?;
    stream.set_read_timeout(Some(Duration::from_secs(3)))?;
    write!(
        stream,
        "GET / HTTP/1.1\r\nHost: hello\r\nConnection: close\r\n\r\n"
    )?;
    let mut text = String::new();
    stream.take(64 << 10).read_to_string(&mut text)?;
    if !text.starts_with("HTTP/1.1 200") {
        bail!("{}", text.lines().next().unwrap_or_default());
    }
    Ok(text
        .split("\r\n\r\n")
        .nth(1)
        .unwrap_or_default()
        .to_string())
}

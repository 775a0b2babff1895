//! `towpath build DIR`: the same builder as in pipelines, from a directory.

use super::reference::Project;
use crate::cli::Context;
use crate::connection::Connection;
use crate::exit::{Exit, Problem};
use base64::Engine;
use futures::StreamExt;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Build an image from a Dockerfile, as a pipeline would
///
/// Examples:
///   towpath build . --tag demo/hello:dev
///   towpath build services/api -f Dockerfile.prod --build-arg VERSION=3 --tag demo/api:3
///   towpath build . --target test
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// Build context
    #[arg(default_value = ".")]
    directory: PathBuf,
    /// Dockerfile, relative to the context
    #[arg(short, long, default_value = "Dockerfile")]
    file: String,
    /// Reference to push to, e.g. demo/hello:1
    #[arg(short, long = "tag")]
    tags: Vec<String>,
    /// NAME=VALUE
    #[arg(long = "build-arg", value_name = "NAME=VALUE")]
    build_args: Vec<String>,
    /// NAME=FILE whose content a RUN may mount as secret NAME
    #[arg(long = "secret", value_name = "NAME=FILE")]
    secrets: Vec<String>,
    /// Stage to stop at
    #[arg(long, default_value = "")]
    target: String,
    /// Do nothing where the first tag is there already
    #[arg(long)]
    if_missing: bool,
    #[command(flatten)]
    project: Project,
}

/// Builds and prints the digest.
pub async fn run(context: Context, args: Args) -> Result<Exit, Problem> {
    let connection = Connection::open(&context.config).await?;
    if args.if_missing && present(&connection, &args).await? {
        eprintln!("{} is there already", args.tags[0]);
        return Ok(Exit::Reached);
    }
    let (query, secrets) = parameters(&args)?;
    let archive = pack(&args.directory).await?;
    let mut request = connection
        .request(reqwest::Method::POST, "/api/v1/builds")
        .query(&query);
    if !secrets.is_empty() {
        let text = serde_json::to_vec(&secrets).unwrap_or_default();
        let header = base64::engine::general_purpose::STANDARD.encode(text);
        request = request.header("towpath-build-secrets", header);
    }
    let lost = |e: reqwest::Error| {
        Problem::new(
            Exit::Unreachable,
            "server",
            "the build could not be followed",
        )
        .why(crate::exit::chain(&e))
    };
    let body = reqwest::Body::wrap_stream(tokio_util::io::ReaderStream::new(archive));
    let response = request.body(body).send().await.map_err(lost)?;
    if !response.status().is_success() {
        let status = response.status();
        let text = response.text().await.unwrap_or_default();
        return Err(Problem::new(
            Exit::Failed,
            "refused",
            format!("the server answered {status}"),
        )
        .why(text.trim()));
    }
    follow(&context, response).await
}

async fn present(connection: &Connection, args: &Args) -> Result<bool, Problem> {
    let Some((name, tag)) = args.tags.first().and_then(|t| t.rsplit_once(':')) else {
        return Ok(false);
    };
    let name = if name.contains('/') {
        name.to_string()
    } else {
        format!("library/{name}")
    };
    let path = format!("/v2/{name}/manifests/{tag}");
    let answer = connection
        .request(reqwest::Method::HEAD, &path)
        .send()
        .await;
    Ok(answer.is_ok_and(|r| r.status().is_success()))
}

type Parameters = (Vec<(&'static str, String)>, BTreeMap<String, String>);

// The query of the build API, and the secrets, which go in a header that no log shows.
fn parameters(args: &Args) -> Result<Parameters, Problem> {
    let project = args.project.project.as_str();
    let repository = match args.tags.first() {
        Some(tag) => {
            let name = tag.rsplit_once(':').map_or(tag.as_str(), |(name, _)| name);
            if name.contains('/') {
                name.to_string()
            } else {
                format!("library/{name}")
            }
        }
        None => project.to_string(),
    };
    let mut query = vec![
        ("repository", repository),
        ("dockerfile", args.file.clone()),
        ("target", args.target.clone()),
    ];
    query.extend(args.tags.iter().map(|tag| ("tag", tag.clone())));
    query.extend(args.build_args.iter().map(|pair| ("arg", pair.clone())));
    let mut secrets = BTreeMap::new();
    for pair in &args.secrets {
        let (name, file) = pair.split_once('=').ok_or_else(|| {
            Problem::new(
                Exit::Failed,
                "bad-argument",
                format!("{pair:?} is not NAME=FILE"),
            )
        })?;
        let bytes = towpath_stdx::bounded::read_file(Path::new(file), 1 << 20).map_err(|e| {
            Problem::new(
                Exit::NotFound,
                "no-secret",
                format!("secret {name}: {file}: {e}"),
            )
        })?;
        secrets.insert(
            name.to_string(),
            String::from_utf8_lossy(&bytes).into_owned(),
        );
    }
    Ok((query, secrets))
}

// The archive goes through an unnamed temporary file: its length is known and a slow server
// holds no memory.
async fn pack(directory: &Path) -> Result<tokio::fs::File, Problem> {
    let directory = directory.to_path_buf();
    let bad = |e: std::io::Error| {
        Problem::new(
            Exit::NotFound,
            "no-context",
            "the build context cannot be read",
        )
        .why(e.to_string())
    };
    let file = tokio::task::spawn_blocking(move || -> std::io::Result<std::fs::File> {
        use std::io::Seek;
        let temporary = std::env::temp_dir();
        let flags =
            rustix::fs::OFlags::TMPFILE | rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC;
        let file = rustix::fs::open(&temporary, flags, rustix::fs::Mode::from_raw_mode(0o600))?;
        let mut archive = tar::Builder::new(std::fs::File::from(file));
        archive.follow_symlinks(false);
        // Not every reader knows the sparse form.
        archive.sparse(false);
        archive.append_dir_all(".", &directory)?;
        let mut file = archive.into_inner()?;
        file.rewind()?;
        Ok(file)
    });
    Ok(tokio::fs::File::from_std(
        file.await.map_err(|e| bad(e.into()))?.map_err(bad)?,
    ))
}

/// One line of the build API's answer.
#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Line {
    log: Option<String>,
    digest: Option<String>,
    bytes: u64,
    cached: u32,
    steps: u32,
    error: Option<String>,
    findings: Vec<towpath_kit::kinds::Finding>,
}

async fn follow(context: &Context, response: reqwest::Response) -> Result<Exit, Problem> {
    let mut buffer = Vec::new();
    let mut body = response.bytes_stream();
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|e| {
            Problem::new(
                Exit::Unreachable,
                "server",
                "the server went away during the build",
            )
            .why(e.to_string())
        })?;
        buffer.extend_from_slice(&chunk);
        while let Some(end) = buffer.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = buffer.drain(..=end).collect();
            let line: Line = serde_json::from_slice(&line).unwrap_or_default();
            if let Some(text) = line.log.filter(|_| !context.quiet) {
                eprintln!("{text}");
            }
            if let Some(digest) = line.digest {
                let mib = line.bytes >> 20;
                eprintln!(
                    "built: {} of {} steps from the cache, {mib} MiB",
                    line.cached, line.steps
                );
                println!("{digest}");
                return Ok(Exit::Reached);
            }
            if let Some(message) = line.error {
                for f in &line.findings {
                    eprintln!("{}:{}:{}: {}", f.file, f.line, f.column, f.message);
                }
                return Err(
                    Problem::new(Exit::Failed, "build", message).state("no image was pushed")
                );
            }
        }
    }
    Err(Problem::new(
        Exit::Unreachable,
        "server",
        "the server ended the build without a result",
    ))
}

//! `towpath apply -f FILE`: server-side apply of manifests, so that the first steps need no
//! other program.

use crate::cli::Context;
use crate::connection::Connection;
use crate::exit::{Exit, Problem};
use kube::ResourceExt;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::discovery::Scope;
use std::path::{Path, PathBuf};

/// Apply manifests (server-side) from files
///
/// Examples:
///   towpath apply -f towpath.yaml
///   towpath apply -f namespace.yaml -f app.yaml
///   kustomize build overlays/dev | towpath apply -f -
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// File with one or more documents; - for standard input
    #[arg(short, long = "filename", required = true)]
    files: Vec<PathBuf>,
    /// Namespace for objects that name none
    #[arg(short, long, default_value = "default")]
    namespace: String,
}

/// Largest input, bytes.
const INPUT_BYTES_MAX: u64 = 16 << 20;

/// Applies all documents in order.
pub async fn run(context: Context, args: Args) -> Result<Exit, Problem> {
    let connection = Connection::open(&context.config).await?;
    // What is no object is said before anything is applied.
    let mut all = Vec::new();
    for path in &args.files {
        all.extend(documents(path)?);
    }
    for (object, gvk) in all {
        let words = apply(&connection, object, &gvk, &args.namespace).await?;
        if !context.quiet {
            println!("{words} applied");
        }
    }
    Ok(Exit::Reached)
}

fn documents(path: &Path) -> Result<Vec<(DynamicObject, GroupVersionKind)>, Problem> {
    let bad = |why: String| {
        Problem::new(
            Exit::Failed,
            "bad-manifest",
            format!("{} is not usable", path.display()),
        )
        .why(why)
        .state("nothing was applied")
    };
    let bytes = if path.as_os_str() == "-" {
        towpath_stdx::bounded::read_all(std::io::stdin(), INPUT_BYTES_MAX)
    } else {
        towpath_stdx::bounded::read_file(path, INPUT_BYTES_MAX)
    };
    let bytes = bytes.map_err(|e| bad(e.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|e| bad(e.to_string()))?;
    let values: Vec<serde_json::Value> =
        serde_saphyr::from_multiple(&text).map_err(|e| bad(e.to_string()))?;
    let mut found = Vec::new();
    for (number, value) in values.into_iter().enumerate() {
        if !value.is_null() {
            let place = format!("document {}", number + 1);
            found.push(object(value).map_err(|why| bad(format!("{place}: {why}")))?);
        }
    }
    Ok(found)
}

fn object(value: serde_json::Value) -> Result<(DynamicObject, GroupVersionKind), String> {
    let text = |at: &str| value.pointer(at).and_then(|v| v.as_str()).unwrap_or("");
    for (at, name) in [
        ("/apiVersion", "apiVersion"),
        ("/kind", "kind"),
        ("/metadata/name", "metadata.name"),
    ] {
        if text(at).is_empty() {
            return Err(format!("it has no {name}, so it is no Kubernetes object"));
        }
    }
    let object: DynamicObject = serde_json::from_value(value).map_err(|e| e.to_string())?;
    let types = object.types.clone().unwrap_or_default();
    let gvk = GroupVersionKind::try_from(&types).map_err(|e| e.to_string())?;
    Ok((object, gvk))
}

async fn apply(
    connection: &Connection,
    object: DynamicObject,
    gvk: &GroupVersionKind,
    namespace: &str,
) -> Result<String, Problem> {
    let (resource, capabilities) = kube::discovery::pinned_kind(&connection.client, gvk).await?;
    let api: Api<DynamicObject> = match capabilities.scope {
        Scope::Cluster => Api::all_with(connection.client.clone(), &resource),
        Scope::Namespaced => {
            let target = object.namespace().unwrap_or_else(|| namespace.to_string());
            Api::namespaced_with(connection.client.clone(), &target, &resource)
        }
    };
    let name = object.name_any();
    api.patch(
        &name,
        &PatchParams::apply("towpath").force(),
        &Patch::Apply(&object),
    )
    .await?;
    Ok(format!("{}/{name}", resource.plural))
}

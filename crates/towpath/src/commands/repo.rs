//! `towpath repo …`.

use crate::cli::Context;
use crate::connection::Connection;
use crate::exit::{Exit, Problem};
use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt;
use kube::api::{Api, ListParams, ObjectMeta, PostParams};
use towpath_kit::kinds::{Repository, RepositorySpec};

/// Create and list repositories
///
/// Examples:
///   towpath repo create demo/hello
///   towpath repo list
///   git remote add towpath "$(towpath repo url demo/hello)"
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Create a repository and, where missing, its project
    Create {
        /// PROJECT/NAME
        name: String,
    },
    /// List repositories
    List,
    /// Print the URL to push to, with the login token in it
    Url {
        /// PROJECT/NAME
        name: String,
    },
}

/// Runs the subcommand.
pub async fn run(context: Context, args: Args) -> Result<Exit, Problem> {
    let connection = Connection::open(&context.config).await?;
    match args.command {
        Command::Create { name } => create(&connection, &name).await,
        Command::List => list(&context, &connection).await,
        Command::Url { name } => {
            let (project, repository) = split(&name)?;
            let url = connection.url.replacen(
                "://",
                &format!("://admin:{}@", connection.token().reveal_secret()),
                1,
            );
            println!("{url}/git/{project}/{repository}.git");
            Ok(Exit::Reached)
        }
    }
}

fn split(name: &str) -> Result<(&str, &str), Problem> {
    name.split_once('/')
        .filter(|(project, repository)| {
            !project.is_empty() && !repository.is_empty() && !repository.contains('/')
        })
        .ok_or_else(|| {
            Problem::new(
                Exit::Failed,
                "bad-name",
                format!("{name:?} is not PROJECT/NAME"),
            )
        })
}

async fn create(connection: &Connection, name: &str) -> Result<Exit, Problem> {
    let (project, repository) = split(name)?;
    let namespaces: Api<Namespace> = Api::all(connection.client.clone());
    if namespaces.get_opt(project).await?.is_none() {
        let metadata = ObjectMeta {
            name: Some(project.into()),
            ..ObjectMeta::default()
        };
        namespaces
            .create(
                &PostParams::default(),
                &Namespace {
                    metadata,
                    ..Namespace::default()
                },
            )
            .await?;
    }
    let api: Api<Repository> = Api::namespaced(connection.client.clone(), project);
    let object = Repository::new(
        repository,
        RepositorySpec {
            default_branch: "main".into(),
            ..Default::default()
        },
    );
    if api.get_opt(repository).await?.is_none() {
        api.create(&PostParams::default(), &object).await?;
    }
    println!("{}/git/{project}/{repository}.git", connection.url);
    Ok(Exit::Reached)
}

async fn list(context: &Context, connection: &Connection) -> Result<Exit, Problem> {
    let all = Api::<Repository>::all(connection.client.clone())
        .list(&ListParams::default())
        .await?;
    super::print::objects(context, &all.items, &["NAME", "BRANCH", "URL"], |r| {
        let url = r
            .status
            .as_ref()
            .map(|s| s.clone_url.clone())
            .unwrap_or_default();
        vec![
            format!("{}/{}", r.namespace().unwrap_or_default(), r.name_any()),
            r.spec.default_branch.clone(),
            url,
        ]
    });
    Ok(Exit::Reached)
}

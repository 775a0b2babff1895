//! `towpath metrics labels` and `towpath metrics series`.

use super::ask::ask;
use crate::cli::Context;
use crate::commands::ask::as_data;
use crate::commands::print;
use crate::exit::{Exit, Problem};

/// List names of labels, or the values of one
///
/// Examples:
///   towpath metrics labels
///   towpath metrics labels __name__
///   towpath metrics labels pod --match 'up{job="demo"}'
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct LabelsArgs {
    /// Label whose values are wanted
    #[arg(value_name = "LABEL")]
    label: Option<String>,
    /// Only of series that match
    #[arg(long = "match", value_name = "SELECTOR")]
    matching: Vec<String>,
}

/// List the series that match selectors
///
/// Examples:
///   towpath metrics series up
///   towpath metrics series '{namespace="hello-prd"}' -o json
///   towpath metrics series up 'kube_pod_info{namespace="hello-prd"}'
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct SeriesArgs {
    /// Selectors, e.g. up{job="demo"}
    #[arg(value_name = "SELECTOR", required = true)]
    selectors: Vec<String>,
}

fn matching(selectors: &[String]) -> Vec<(&'static str, String)> {
    let selectors = selectors.iter();
    selectors
        .map(|selector| ("match[]", selector.clone()))
        .collect()
}

/// Prints names or values.
pub(super) async fn labels(context: Context, args: LabelsArgs) -> Result<Exit, Problem> {
    let parameters = matching(&args.matching);
    let data = match &args.label {
        None => ask(&context, "labels", &parameters).await?,
        Some(label) => {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
            // A name that does not fit into a path goes in the form for such names.
            let label = if label.bytes().all(plain) {
                label.clone()
            } else {
                let escaped = |c: char| match c {
                    '_' => "__".to_string(),
                    c if c.is_ascii_alphanumeric() => c.to_string(),
                    c => format!("_{:x}_", c as u32),
                };
                format!("U__{}", label.chars().map(escaped).collect::<String>())
            };
            ask(&context, &format!("label/{label}/values"), &parameters).await?
        }
    };
    if !as_data(&context, &data) {
        for name in data.as_array().into_iter().flatten() {
            println!("{}", name.as_str().unwrap_or_default());
        }
    }
    Ok(Exit::Reached)
}

/// Prints series.
pub(super) async fn series(context: Context, args: SeriesArgs) -> Result<Exit, Problem> {
    let data = ask(&context, "series", &matching(&args.selectors)).await?;
    if !as_data(&context, &data) {
        for labels in data.as_array().into_iter().flatten() {
            println!("{}", print::series(labels));
        }
    }
    Ok(Exit::Reached)
}

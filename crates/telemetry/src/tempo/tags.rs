//! Names of attributes and their values.

use super::Tempo;
use super::answer::{self, Failure};
use super::params::{Params, decode};
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};
use towpath_query::traceql::{
    AttributeScope, Expr, Field, Intrinsic, Node, Query, Search, Stage, TextPlace, Value, parse,
    search,
};
use towpath_signals::traces::TagValue;

/// Values that an answer has, unless more are asked for, and at most.
const VALUES: (usize, usize) = (1000, 10_000);
/// Traces in which values are looked for, where a query says in which.
const TRACES: usize = 5000;

type Scopes = BTreeMap<AttributeScope, BTreeSet<String>>;

async fn names(tempo: &Tempo, params: &Params) -> Result<Scopes, Failure> {
    let (start, end) = params.range(&*tempo.clock).map_err(Failure::bad)?;
    let tags = tempo.run(move |store, _| {
        let tags = store.tags(start, end);
        tags.map_err(|e| Failure::internal(e.to_string()))
    });
    tags.await
}

/// Intrinsics under the names that the language prefers.
fn intrinsics() -> Vec<&'static str> {
    let mut names: Vec<&str> = Intrinsic::ALL.iter().map(|i| i.name()).collect();
    names.sort_unstable();
    names
}

pub(super) async fn names_v1(
    State(tempo): State<Tempo>,
    RawQuery(raw): RawQuery,
) -> Result<Response, Failure> {
    let params = Params::read(raw.as_deref());
    let scopes = names(&tempo, &params).await?;
    let wanted = params.get("scope").and_then(AttributeScope::named);
    let chosen = scopes
        .into_iter()
        .filter(|(own, _)| wanted.is_none_or(|scope| scope == *own));
    let names: BTreeSet<String> = chosen.flat_map(|(_, names)| names).collect();
    Ok(answer::json(&json!({"tagNames": names, "metrics": {}})))
}

pub(super) async fn names_v2(
    State(tempo): State<Tempo>,
    RawQuery(raw): RawQuery,
) -> Result<Response, Failure> {
    let params = Params::read(raw.as_deref());
    let wanted = params
        .get("scope")
        .filter(|scope| *scope != "none")
        .map(str::to_string);
    let scopes = names(&tempo, &params).await?;
    let mut told: Vec<Json> = Vec::new();
    let mut tell = |name: &str, tags: Json| {
        if wanted.as_deref().is_none_or(|wanted| wanted == name) {
            told.push(json!({"name": name, "tags": tags}));
        }
    };
    for (scope, names) in scopes {
        tell(scope.name(), names.into_iter().collect());
    }
    tell("intrinsic", intrinsics().into());
    Ok(answer::json(&json!({"scopes": told, "metrics": {}})))
}

/// A field by its name in a path. Names without a scope are attributes of any.
fn field(tag: &str) -> Result<Field, Failure> {
    // Grafana encodes names twice.
    let tag = decode(tag);
    let wrong = || Failure::bad(format!("{tag:?} is no name of an attribute"));
    let query = parse(&format!("{{ {tag} != nil }}"));
    let bare = || {
        Some(Field::Attribute {
            parent: false,
            scope: AttributeScope::Any,
            name: tag.clone(),
        })
    };
    let read = query.ok().and_then(|query| first_field(&query));
    let read = read.or_else(|| bare().filter(|_| !tag.is_empty()));
    read.ok_or_else(wrong)
}

fn first_field(query: &Query) -> Option<Field> {
    use towpath_query::traceql::Spanset;
    let Some(Stage::Spanset(Spanset::Filter(Some(filter)))) = query.pipeline.stages.first() else {
        return None;
    };
    match &filter.node {
        Node::Binary(_, lhs, _) => match &lhs.node {
            Node::Field(field) => Some(field.clone()),
            _ => None,
        },
        _ => None,
    }
}

async fn values(tempo: &Tempo, tag: &str, params: &Params) -> Result<Vec<TagValue>, Failure> {
    let field = field(tag)?;
    let (start_ns, end_ns) = params.range(&*tempo.clock).map_err(Failure::bad)?;
    let limit = params
        .number("limit", VALUES.0, VALUES.1)
        .map_err(Failure::bad)?;
    let within = params.get("q").map(parse).and_then(Result::ok);
    let within = within.filter(|query| query.metrics.is_none() && query.to_string() != "{ }");
    let found = tempo.run(move |store, budget| {
        let Some(query) = within else {
            let found = store.tag_values(&field, start_ns, end_ns);
            return found
                .map(|f| f.0)
                .map_err(|e| Failure::internal(e.to_string()));
        };
        let options = Search {
            start_ns,
            end_ns,
            limit: TRACES,
            spans_per_set: TRACES,
            budget,
        };
        let query = selecting(query, &field);
        let found = search(store, &query, &options).map_err(Failure::from)?;
        let name = match &field {
            Field::Intrinsic(intrinsic) => intrinsic.name(),
            Field::Attribute { name, .. } => name,
        };
        let spans = found
            .traces
            .iter()
            .flat_map(|t| &t.sets)
            .flat_map(|s| &s.spans);
        let mut values: BTreeSet<TagValue> = BTreeSet::new();
        for span in spans {
            if field == Field::Intrinsic(Intrinsic::Name) {
                values.extend(tag_value(&Value::Text(span.name.clone())));
            }
            let own = span.attributes.iter().filter(|(own, _)| own == name);
            values.extend(own.filter_map(|(_, value)| tag_value(value)));
        }
        Ok(values.into_iter().collect())
    });
    let mut found = found.await?;
    found.truncate(limit);
    Ok(found)
}

fn selecting(mut query: Query, field: &Field) -> Query {
    let select = Expr {
        place: TextPlace::default(),
        node: Node::Field(field.clone()),
    };
    query.pipeline.stages.push(Stage::Select(vec![select]));
    query
}

fn tag_value(value: &Value) -> Option<TagValue> {
    let text = match value {
        Value::Text(text) => text.to_string(),
        Value::Bool(_) | Value::Int(_) | Value::Status(_) | Value::Kind(_) => value.to_string(),
        Value::Float(n) => n.to_string(),
        _ => return None,
    };
    Some(TagValue {
        kind: value.type_name(),
        text,
    })
}

pub(super) async fn values_v1(
    State(tempo): State<Tempo>,
    Path(tag): Path<String>,
    RawQuery(raw): RawQuery,
) -> Result<Response, Failure> {
    let params = Params::read(raw.as_deref());
    let found = values(&tempo, &tag, &params).await?;
    let texts: BTreeSet<String> = found.into_iter().map(|value| value.text).collect();
    Ok(answer::json(&json!({"tagValues": texts, "metrics": {}})))
}

pub(super) async fn values_v2(
    State(tempo): State<Tempo>,
    Path(tag): Path<String>,
    RawQuery(raw): RawQuery,
) -> Result<Response, Failure> {
    let params = Params::read(raw.as_deref());
    let found = values(&tempo, &tag, &params).await?;
    let told = found
        .iter()
        .map(|value| json!({"type": value.kind, "value": value.text}));
    let told: Vec<Json> = told.collect();
    Ok(answer::json(&json!({"tagValues": told, "metrics": {}})))
}

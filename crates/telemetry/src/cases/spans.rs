//! Errors of a workload's spans since a change that there were none of before: types of exceptions,
//! and of operations that failed without one what they said.

use super::case::News;
use super::measure;
use super::proof::Proof;
use crate::ledger::Object;
use crate::own::Beside;
use regex::Regex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use towpath_query::promql::quote;
use towpath_query::traceql::{
    AttributeScope, Condition, Field, Intrinsic, Op, Resource, Span, SpanSource, Status, Value,
    Wanted, find,
};
use towpath_signals::logs::template;
use towpath_stdx::Clock;

/// How far back an error counts as known.
const BEFORE_MS: i64 = 24 * 3_600_000;
/// The most spans that are looked at on each side of the change.
const SPANS: usize = 200_000;
/// For both sides.
const LIMIT: Duration = Duration::from_secs(5);
/// The most errors that are told apart.
const KINDS: usize = 2_000;
/// The most that are told.
const TOLD: usize = 10;
/// Nothing is told longer than this, in letters.
const CHARACTERS: usize = 300;

/// Spans, asked for what is new. Cheap to clone.
#[derive(Clone)]
pub struct Spans {
    store: Arc<Beside>,
    clock: Arc<dyn Clock>,
}

/// What an error is known by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// The type of an exception.
    Exception(String),
    /// An operation, and the form of what it said.
    Failure(String, String),
}

#[derive(Debug, Default)]
struct Seen {
    count: u64,
    first: i64,
    service: String,
}

type Errors = BTreeMap<Kind, Seen>;

impl Spans {
    /// Over the store of traces, once it is open.
    pub fn new(store: Arc<Beside>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock }
    }

    /// Errors of a workload's spans since `cut` that there were none of in the day before, off the
    /// reactor. Times are milliseconds since the epoch.
    ///
    /// # Errors
    /// Spans cannot be read, or not in time.
    pub async fn news(&self, workload: Object, cut: i64, now: i64) -> Result<Vec<News>, String> {
        let Some(store) = self.store.traces.get().cloned() else {
            return Ok(Vec::new());
        };
        let clock = self.clock.clone();
        let end = clock.monotonic() + LIMIT;
        let look = move || look(&store, &workload, (cut, now), &|| clock.monotonic() > end);
        let done = tokio::task::spawn_blocking(look);
        done.await.map_err(|error| error.to_string())?
    }
}

/// Whose spans are looked for.
struct Whose<'a> {
    workload: &'a Object,
    pods: Regex,
}

impl<'a> Whose<'a> {
    fn new(workload: &'a Object) -> Result<Self, String> {
        let pods = format!("^(?:{})$", measure::pods(workload));
        let pods = Regex::new(&pods).map_err(|error| error.to_string())?;
        Ok(Self { workload, pods })
    }

    /// Whether who sent a span is one of the workload's pods, or calls itself by its name.
    fn has(&self, resource: &Resource) -> bool {
        let text = |name: &str| match find(&resource.attributes, name) {
            Some(Value::Text(text)) => &**text,
            _ => "",
        };
        let namespace = text("k8s.namespace.name");
        if !namespace.is_empty() && namespace != self.workload.namespace {
            return false;
        }
        match text("k8s.pod.name") {
            "" => resource.service() == self.workload.name,
            pod => self.pods.is_match(pod),
        }
    }
}

fn look(
    source: &dyn SpanSource,
    workload: &Object,
    (cut, now): (i64, i64),
    late: &dyn Fn() -> bool,
) -> Result<Vec<News>, String> {
    let whose = Whose::new(workload)?;
    let mut fresh = Errors::new();
    scan(source, &whose, (cut, now), late, &mut |kind, span| {
        let at = i64::try_from(span.start_ns / 1_000_000).unwrap_or(i64::MAX);
        if fresh.len() >= KINDS && !fresh.contains_key(&kind) {
            return true;
        }
        let seen = fresh.entry(kind).or_insert_with(|| Seen {
            first: at,
            service: span.resource.service().to_owned(),
            ..Seen::default()
        });
        seen.count += 1;
        seen.first = seen.first.min(at);
        true
    })?;
    if fresh.is_empty() {
        return Ok(Vec::new());
    }
    let before = (cut - BEFORE_MS, cut);
    scan(source, &whose, before, late, &mut |kind, _| {
        fresh.remove(&kind);
        !fresh.is_empty()
    })?;
    let mut news: Vec<News> = fresh
        .into_iter()
        .map(|(kind, seen)| told(kind, seen))
        .collect();
    news.sort_by_key(|new| std::cmp::Reverse(new.count));
    news.truncate(TOLD);
    Ok(news)
}

/// Tells the errors of a workload in an interval, until there are too many or nobody listens.
fn scan(
    source: &dyn SpanSource,
    whose: &Whose<'_>,
    (from, to): (i64, i64),
    late: &dyn Fn() -> bool,
    take: &mut dyn FnMut(Kind, &Span) -> bool,
) -> Result<(), String> {
    let nanoseconds = |ms: i64| u64::try_from(ms).unwrap_or(0).saturating_mul(1_000_000);
    let (start_ns, end_ns) = (nanoseconds(from), nanoseconds(to));
    let failed = (Intrinsic::Status, Value::Status(Status::Error));
    let raised = (Intrinsic::EventName, Value::Text("exception".into()));
    for (at, (intrinsic, value)) in [failed, raised].into_iter().enumerate() {
        let wanted = Wanted {
            intrinsics: [
                Intrinsic::Name,
                Intrinsic::Status,
                Intrinsic::StatusMessage,
                Intrinsic::EventName,
            ]
            .into(),
            attributes: [
                (AttributeScope::Resource, "service.name".to_owned()),
                (AttributeScope::Event, "exception.type".to_owned()),
            ]
            .into(),
            conditions: vec![Condition {
                field: Field::Intrinsic(intrinsic),
                op: Op::Eq,
                value,
            }],
            start_ns,
            end_ns,
            all: false,
        };
        let mut spans = 0;
        for trace in source.traces(&wanted)? {
            if late() {
                return Err(format!("not all were read within {LIMIT:?}"));
            }
            let trace = trace?;
            spans += trace.spans.len();
            if spans > SPANS {
                break;
            }
            // What failed was told the first time.
            let own = trace.spans.iter().filter(|span| {
                (span.status == Status::Error) == (at == 0)
                    && span.start_ns >= start_ns
                    && span.start_ns < end_ns
                    && whose.has(&span.resource)
            });
            for span in own {
                for kind in kinds(span) {
                    if !take(kind, span) {
                        return Ok(());
                    }
                }
            }
        }
    }
    Ok(())
}

/// What went wrong in a span.
fn kinds(span: &Span) -> Vec<Kind> {
    let exceptions = span
        .events
        .iter()
        .filter(|event| &*event.name == "exception");
    let types = exceptions.filter_map(|event| match find(&event.attributes, "exception.type") {
        Some(Value::Text(name)) if !name.is_empty() => {
            Some(Kind::Exception(name.chars().take(CHARACTERS).collect()))
        }
        _ => None,
    });
    let mut kinds: Vec<Kind> = types.collect();
    kinds.sort();
    kinds.dedup();
    if kinds.is_empty() && span.status == Status::Error {
        let cut = |text: &str| text.chars().take(CHARACTERS).collect::<String>();
        let said = template(&cut(&span.status_message));
        kinds.push(Kind::Failure(template(&cut(&span.name)), said));
    }
    kinds
}

fn told(kind: Kind, seen: Seen) -> News {
    let of = format!("resource.service.name = {}", quote(&seen.service));
    let (kind, text, what) = match kind {
        Kind::Exception(name) => {
            let what = format!("event.exception.type = {}", quote(&name));
            ("errorType", name, what)
        }
        Kind::Failure(name, said) => {
            // A name that holds what changes is found by what failed.
            let what = match name.contains("<_>") {
                true => "status = error".to_owned(),
                false => format!("status = error && name = {}", quote(&name)),
            };
            let text = match said.is_empty() {
                true => format!("{name} fails"),
                false => format!("{name}: {said}"),
            };
            ("spanError", text, what)
        }
    };
    News {
        kind: kind.into(),
        text: text.chars().take(CHARACTERS).collect(),
        count: seen.count,
        at: seen.first,
        query: Some(Proof::new("traceql", format!("{{ {of} && {what} }}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use towpath_query::traceql::{Event, Trace, TraceId, parse};

    /// Traces of one span each.
    struct Kept(Vec<Span>);

    impl SpanSource for Kept {
        fn traces<'a>(
            &'a self,
            _: &Wanted,
        ) -> Result<Box<dyn Iterator<Item = Result<Trace, String>> + 'a>, String> {
            let each = self.0.iter().map(|span| {
                let spans = vec![span.clone()];
                Ok(Trace { id: [1; 16], spans })
            });
            Ok(Box::new(each))
        }

        fn trace(&self, _: &TraceId) -> Result<Option<Trace>, String> {
            Ok(None)
        }
    }

    fn span(at: i64, sender: &[(&str, &str)], name: &str, status: Status, said: &str) -> Span {
        let attributes = sender.iter().map(|(name, value)| {
            let value = Value::Text((*value).into());
            (Arc::from(*name), value)
        });
        Span {
            name: name.into(),
            start_ns: at as u64 * 1_000_000,
            status,
            status_message: said.into(),
            resource: Arc::new(Resource {
                attributes: attributes.collect(),
                ..Resource::default()
            }),
            ..Span::default()
        }
    }

    fn raised(mut span: Span, exception: &str) -> Span {
        span.events.push(Event {
            name: "exception".into(),
            attributes: vec![("exception.type".into(), Value::Text(exception.into()))],
            ..Event::default()
        });
        span
    }

    #[test]
    fn errors_that_there_were_none_of_before_are_told() {
        let web = [("service.name", "web")];
        let pod = [
            ("service.name", "shop-frontend"),
            ("k8s.namespace.name", "shop"),
            ("k8s.pod.name", "web-6c9f-x2k4p"),
        ];
        let other = [("service.name", "web"), ("k8s.namespace.name", "elsewhere")];
        let bad = Status::Error;
        let now = 200 * 3_600_000;
        let cut = now - 60_000;
        let spans = Kept(vec![
            // Of long ago, of the day before, and of now.
            span(now - 100 * 3_600_000, &web, "GET /old", bad, ""),
            span(cut - 5_000, &web, "GET /cart", bad, "timeout after 12ms"),
            raised(span(cut - 5_000, &web, "GET /", bad, ""), "KeyError"),
            span(cut + 1_000, &web, "GET /cart", bad, "timeout after 99ms"),
            raised(span(cut + 1_000, &web, "GET /", bad, "x"), "KeyError"),
            span(cut + 2_000, &web, "GET /old", bad, ""),
            raised(
                span(cut + 3_000, &pod, "GET /", Status::Unset, ""),
                "TypeError",
            ),
            raised(span(cut + 2_500, &pod, "GET /", bad, "y"), "TypeError"),
            span(cut + 4_000, &web, "GET /ok", Status::Ok, ""),
            span(cut + 4_000, &other, "GET /else", bad, ""),
        ]);
        let workload = Object::new("Deployment", "shop", "web");
        let news = look(&spans, &workload, (cut, now), &|| false).expect("read");
        let told: Vec<_> = news
            .iter()
            .map(|new| {
                (
                    new.kind.as_str(),
                    new.text.as_str(),
                    new.count,
                    new.at - cut,
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                ("errorType", "TypeError", 2, 2_500),
                ("spanError", "GET /old fails", 1, 2_000),
            ]
        );
        for new in &news {
            let proof = new.query.as_ref().expect("a query");
            assert_eq!(proof.language, "traceql");
            parse(&proof.text).unwrap_or_else(|error| panic!("{}: {error}", proof.text));
        }
        let late = look(&spans, &workload, (cut, now), &|| true);
        assert!(late.expect_err("late").contains("5s"));
    }
}

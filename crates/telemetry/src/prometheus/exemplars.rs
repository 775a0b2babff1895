//! `query_exemplars`: exemplars of the series that an expression selects.

use towpath_query::promql;

use super::Call;
use super::fault::Fault;
use super::json;
use super::reply::Reply;
use super::syntax::selectors;

/// Exemplars of all selectors of an expression.
pub(super) fn query(call: &Call, reply: &mut Reply) -> Result<(), Fault> {
    let (start, end) = call.form.interval()?;
    if end < start {
        return Err(Fault::bad_data(
            "end timestamp must not be before start timestamp",
        ));
    }
    let expr = promql::parse(call.form.get("query"))
        .map_err(|error| Fault::bad_data(error.to_string()))?;
    let sets = selectors(&expr);
    if sets.is_empty() {
        return Ok(());
    }
    let found = call.api.read.exemplars(&sets, start.ms(), end.ms())?;
    reply.data().push(b'[');
    for (at, series) in found.iter().enumerate() {
        let out = reply.out();
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(b"{\"seriesLabels\":");
        json::labels(out, &series.labels);
        out.extend_from_slice(b",\"exemplars\":");
        json::list(out, &series.exemplars, |out, one| {
            out.extend_from_slice(b"{\"labels\":");
            json::labels(out, &one.labels);
            out.extend_from_slice(b",\"value\":");
            json::value(out, one.value);
            out.extend_from_slice(b",\"timestamp\":");
            json::timestamp(out, one.at);
            out.push(b'}');
        });
        out.push(b'}');
        reply.checkpoint()?;
    }
    reply.out().push(b']');
    Ok(())
}

//! `admin/tsdb/*`: what is deleted, and what is left out on purpose.

use towpath_query::promql::{Matcher, parse_selector};

use super::Call;
use super::fault::{Fault, Kind};
use super::reply::Reply;

/// Takes samples away. Implemented by the store.
pub trait Remove: Send + Sync {
    /// Takes the samples of all series that match away, both ends of the interval included.
    ///
    /// # Errors
    /// Why they stay.
    fn remove(&self, matchers: &[Matcher], start: i64, end: i64) -> Result<(), String>;
    /// Gives the room of what was removed back.
    ///
    /// # Errors
    /// Why it is not free.
    fn reclaim(&self) -> Result<(), String>;
}

fn store(call: &Call) -> Result<&dyn Remove, Fault> {
    let store = call.api.remove.as_deref();
    store.ok_or_else(|| Fault::new(Kind::Unavailable, "admin APIs disabled"))
}

/// Deletes series.
pub(super) fn delete_series(call: &Call, _: &mut Reply) -> Result<(), Fault> {
    let store = store(call)?;
    if let Some(fault) = call.form.fault() {
        return Err(Fault::bad_data(format!(
            "error parsing form values: {fault}"
        )));
    }
    if call.form.all("match[]").next().is_none() {
        return Err(Fault::bad_data("no match[] parameter provided"));
    }
    let (start, end) = call.form.interval()?;
    for text in call.form.all("match[]") {
        let matchers = parse_selector(text)
            .map_err(|error| Fault::parameter("match[]", &error.to_string()))?;
        store
            .remove(&matchers, start.ms(), end.ms())
            .map_err(Fault::internal)?;
    }
    Ok(())
}

/// Frees the room of what was deleted.
pub(super) fn clean_tombstones(call: &Call, _: &mut Reply) -> Result<(), Fault> {
    store(call)?.reclaim().map_err(Fault::internal)
}

/// Upstream answers this one so, too.
pub(super) fn drop_series(_: &Call, _: &mut Reply) -> Result<(), Fault> {
    Err(Fault::internal("not implemented"))
}

//! `admin/tsdb/*`: what is deleted, and what is left out on purpose.

use towpath_query::promql::{parse_selector, quote};
use towpath_signals::Delete;

use super::Call;
use super::fault::{Fault, Kind};
use super::reply::Reply;

fn store(call: &Call) -> Result<&dyn Delete, Fault> {
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
    let read = |text| {
        parse_selector(text).map_err(|error| Fault::parameter("match[]", &error.to_string()))
    };
    let sets = call.form.all("match[]").map(read);
    let sets: Vec<_> = sets.collect::<Result<_, _>>()?;
    store
        .delete(&sets, start.ms(), end.ms())
        .map_err(Fault::internal)
}

/// Frees the room of what was deleted.
pub(super) fn clean_tombstones(call: &Call, _: &mut Reply) -> Result<(), Fault> {
    let freed = store(call)?.clean().map_err(Fault::internal)?;
    tracing::info!(freed, "deleted samples are cleaned away");
    Ok(())
}

/// A backup is made of the whole data directory; half of one would be taken for it.
pub(super) fn snapshot(call: &Call, _: &mut Reply) -> Result<(), Fault> {
    store(call)?;
    let flag = call.form.get("skip_head");
    let known = ["", "1", "t", "T", "TRUE", "true", "True"];
    let unset = ["0", "f", "F", "FALSE", "false", "False"];
    if !known.contains(&flag) && !unset.contains(&flag) {
        return Err(Fault::parameter(
            "skip_head",
            &format!(
                "unable to parse boolean: strconv.ParseBool: parsing {}: invalid syntax",
                quote(flag)
            ),
        ));
    }
    let why = "snapshots are not made here: copy the data directory while the server is stopped";
    Err(Fault::new(Kind::Unavailable, why))
}

/// Upstream answers this one so, too.
pub(super) fn drop_series(_: &Call, _: &mut Reply) -> Result<(), Fault> {
    Err(Fault::internal("not implemented"))
}

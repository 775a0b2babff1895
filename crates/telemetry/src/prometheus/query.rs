//! `query` and `query_range`.
//!
//! An evaluation ends early when its time is over, when its client went away, and at the limit of
//! samples in memory.

use std::cell::Cell;
use std::time::Instant;

use towpath_query::promql::{
    self, Answer, EvalError, Expr, Hints, Matcher, Series, Settings, Source, Stop, ValueType, quote,
};

use super::Call;
use super::fault::{Fault, Kind};
use super::json::Object;
use super::params::{Moment, duration};
use super::reply::Reply;
use super::result;

/// The most points of a series in one reply.
const POINTS: i64 = 11_000;

/// How the caller wants it evaluated.
struct Wishes {
    deadline: Instant,
    lookback_ms: i64,
    statistics: bool,
}

/// When an evaluation must be done: the server's limit, or what is left of the caller's.
fn deadline(call: &Call) -> Result<Instant, Fault> {
    let most = call.api.settings.query_timeout;
    let text = call.form.get("timeout");
    if text.is_empty() {
        return Ok(call.arrived + most);
    }
    let wanted = duration(text).map_err(|why| Fault::parameter("timeout", &why))?;
    let wanted = std::time::Duration::from_nanos(u64::try_from(wanted).unwrap_or(0));
    Ok(call.arrived + wanted.min(most))
}

fn wishes(call: &Call) -> Result<Wishes, Fault> {
    let deadline = deadline(call)?;
    let mut lookback_ms = call.api.settings.lookback_ms;
    let text = call.form.get("lookback_delta");
    if !text.is_empty() {
        let delta = duration(text).map_err(|why| {
            Fault::bad_data(format!("error parsing lookback delta duration: {why}"))
        })?;
        if delta > 0 {
            lookback_ms = delta / 1_000_000;
        }
    }
    Ok(Wishes {
        deadline,
        lookback_ms,
        statistics: !call.form.get("stats").is_empty(),
    })
}

fn parsed(call: &Call) -> Result<Expr, Fault> {
    promql::parse(call.form.get("query"))
        .map_err(|error| Fault::parameter("query", &error.to_string()))
}

/// Runs an evaluation within its limits.
fn evaluate(
    call: &Call,
    reply: &Reply,
    wishes: &Wishes,
    run: impl FnOnce(&dyn Source, &Settings<'_>) -> Result<Answer, EvalError>,
) -> Result<(Answer, u64), Fault> {
    let clock = &call.api.clock;
    let over = || clock.monotonic() >= wishes.deadline;
    if over() {
        return Err(Fault::new(
            Kind::Timeout,
            "query timed out in query execution",
        ));
    }
    let stop = || {
        if reply.canceled() {
            Some(Stop::Canceled)
        } else {
            over().then_some(Stop::TimedOut)
        }
    };
    let settings = Settings {
        lookback_ms: wishes.lookback_ms,
        max_samples: call.api.settings.max_samples,
        stop: Some(&stop),
        ..Settings::default()
    };
    let source = Counted {
        source: call.api.read.as_ref(),
        samples: Cell::new(0),
    };
    let answer = run(&source, &settings)?;
    call.api.asked.samples(source.samples.get());
    Ok((answer, source.samples.get()))
}

/// Evaluates at one time.
pub(super) fn instant(call: &Call, reply: &mut Reply) -> Result<(), Fault> {
    let limit = call.form.limit()?;
    let at = call.form.moment_or("time", call.now)?.ms();
    let wishes = wishes(call)?;
    let expr = parsed(call)?;
    let prepared = promql::prepared(&expr, at, at, 0);
    prepared.map_err(|error| Fault::parameter("query", &error.to_string()))?;
    let evaluated = evaluate(call, reply, &wishes, |source, settings| {
        promql::instant(&expr, at, source, settings)
    })?;
    write(call, reply, evaluated, &wishes, at, limit)
}

/// Evaluates at every step.
pub(super) fn range(call: &Call, reply: &mut Reply) -> Result<(), Fault> {
    let limit = call.form.limit()?;
    let start = call.form.moment("start")?;
    let end = call.form.moment("end")?;
    if end < start {
        let why = "end timestamp must not be before start time";
        return Err(Fault::parameter("end", why));
    }
    let step = step(call, start, end)?;
    let wishes = wishes(call)?;
    let expr = parsed(call)?;
    let of = expr.value_type();
    if !matches!(of, ValueType::Scalar | ValueType::Vector) {
        let why = format!(
            "invalid expression type {} for range query, must be Scalar or instant Vector",
            quote(of.documented())
        );
        return Err(Fault::parameter("query", &why));
    }
    let (start, end) = (start.ms(), end.ms());
    // Steps are whole milliseconds, and there is no step of none.
    let step = (step / 1_000_000).max(1);
    let prepared = promql::prepared(&expr, start, end, step);
    prepared.map_err(|error| Fault::parameter("query", &error.to_string()))?;
    let evaluated = evaluate(call, reply, &wishes, |source, settings| {
        promql::range(&expr, start, end, step, source, settings)
    })?;
    write(call, reply, evaluated, &wishes, start, limit)
}

/// The distance of steps in nanoseconds.
fn step(call: &Call, start: Moment, end: Moment) -> Result<i64, Fault> {
    let step = duration(call.form.get("step")).map_err(|why| Fault::parameter("step", &why))?;
    if step <= 0 {
        let why = "zero or negative query resolution step widths are not accepted. Try a \
                   positive integer";
        return Err(Fault::parameter("step", why));
    }
    if end.since(start) / step > POINTS {
        return Err(Fault::bad_data(
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the \
             query resolution (?step=XX)",
        ));
    }
    Ok(step)
}

fn write(
    call: &Call,
    reply: &mut Reply,
    (answer, samples): (Answer, u64),
    wishes: &Wishes,
    at: i64,
    limit: usize,
) -> Result<(), Fault> {
    result::write(reply, &answer, call.form.get("query"), at, limit)?;
    let out = reply.out();
    if wishes.statistics {
        out.extend_from_slice(b",\"stats\":");
        statistics(call, out, &answer, samples);
    }
    out.push(b'}');
    Ok(())
}

/// What the evaluation took. Sorting and preparing are not told apart from it.
fn statistics(call: &Call, out: &mut Vec<u8>, answer: &Answer, read: u64) {
    let total = call.api.clock.monotonic() - call.started;
    let waited = call.started - call.arrived;
    let mut stats = Object::begin(out);
    let mut timings = Object::begin(stats.field("timings"));
    timings.number("evalTotalTime", total.as_secs_f64());
    timings.number("resultSortTime", 0.0);
    timings.number("queryPreparationTime", 0.0);
    timings.number("innerEvalTime", total.as_secs_f64());
    timings.number("execQueueTime", waited.as_secs_f64());
    timings.number("execTotalTime", (total + waited).as_secs_f64());
    timings.end();
    let mut samples = Object::begin(stats.field("samples"));
    samples.raw("totalQueryableSamples", read);
    samples.raw("peakSamples", answer.peak_samples);
    samples.end();
    stats.end();
}

/// Counts the samples that an evaluation reads.
struct Counted<'a> {
    source: &'a dyn towpath_signals::Read,
    samples: Cell<u64>,
}

impl Source for Counted<'_> {
    fn select<'a>(
        &'a self,
        matchers: &[Matcher],
        hints: &Hints<'_>,
    ) -> Result<Box<dyn Iterator<Item = Result<Series, String>> + 'a>, String> {
        let found = self.source.select(matchers, hints)?;
        Ok(Box::new(found.inspect(|one| {
            if let Ok(one) = one {
                let read = one.floats.len() + one.histograms.len();
                self.samples.set(self.samples.get() + read as u64);
            }
        })))
    }
}

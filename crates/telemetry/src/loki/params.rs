//! Parameters of requests.

use towpath_query::logql::Direction;

use super::fault::Fault;

const SECOND: i64 = 1_000_000_000;

/// The parameters of one request: those of the body stand before those of the query.
pub(super) struct Params(Vec<(String, String)>);

impl Params {
    pub(super) fn parse(query: &str, form: &str) -> Self {
        let pairs = form.split('&').chain(query.split('&'));
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name), decoded(value))
        };
        Self(pairs.filter(|text| !text.is_empty()).map(pair).collect())
    }

    /// The first value, empty where there is none.
    pub(super) fn get(&self, name: &str) -> &str {
        self.all(name).next().unwrap_or("")
    }

    pub(super) fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        let named = self.0.iter().filter(move |pair| pair.0 == name);
        named.map(|pair| pair.1.as_str())
    }

    pub(super) fn count(&self, name: &str, default: usize, most: usize) -> Result<usize, Fault> {
        let text = self.get(name);
        if text.is_empty() {
            return Ok(default);
        }
        let value: usize = text
            .parse()
            .map_err(|_| Fault::bad(format!("{name} must be a positive number: {text:?}")))?;
        if value > most {
            return Err(Fault::bad(format!(
                "max entries limit per query exceeded, limit > max_entries_limit_per_query \
                 ({value} > {most})"
            )));
        }
        Ok(if value == 0 { default } else { value })
    }

    pub(super) fn direction(&self) -> Result<Direction, Fault> {
        match self.get("direction").to_ascii_lowercase().as_str() {
            "" | "backward" => Ok(Direction::Backward),
            "forward" => Ok(Direction::Forward),
            other => Err(Fault::bad(format!("invalid direction '{other}'"))),
        }
    }

    /// A time in nanoseconds since the epoch.
    pub(super) fn time(&self, name: &str) -> Result<Option<i64>, Fault> {
        let text = self.get(name);
        if text.is_empty() {
            return Ok(None);
        }
        let time = time(text);
        let fault = || Fault::bad(format!("could not parse '{name}' parameter: {text:?}"));
        time.map(Some).ok_or_else(fault)
    }

    /// Start and end; the last hour unless said otherwise.
    pub(super) fn span(&self, now: i64) -> Result<(i64, i64), Fault> {
        let end = self.time("end")?.unwrap_or(now);
        let since = match self.get("since") {
            "" => 3600 * SECOND,
            text => duration(text).ok_or_else(|| {
                Fault::bad(format!("could not parse 'since' parameter: {text:?}"))
            })?,
        };
        let start = self.time("start")?.unwrap_or(end.saturating_sub(since));
        if end < start {
            return Err(Fault::bad(
                "end timestamp must not be before or equal to start time",
            ));
        }
        Ok((start, end))
    }

    /// How far apart lines are at least, in nanoseconds; 0 unless said.
    pub(super) fn interval(&self) -> Result<i64, Fault> {
        let text = self.get("interval");
        if text.is_empty() {
            return Ok(0);
        }
        match duration(text) {
            Some(ns) if ns >= 0 => Ok(ns),
            Some(_) => Err(Fault::bad("interval must be >= 0")),
            None => Err(Fault::bad(format!(
                "cannot parse {text:?} to a valid duration"
            ))),
        }
    }

    /// The step in milliseconds; one that gives about 250 of them unless said otherwise.
    pub(super) fn step_ms(&self, (start, end): (i64, i64)) -> Result<i64, Fault> {
        let text = self.get("step");
        let step = if text.is_empty() {
            let seconds = end.saturating_sub(start) / SECOND / 250;
            seconds.max(1) * 1000
        } else {
            let ns = duration(text);
            let ns =
                ns.ok_or_else(|| Fault::bad(format!("cannot parse {text:?} to a valid duration")))?;
            ns / 1_000_000
        };
        if step <= 0 {
            return Err(Fault::bad(
                "zero or negative query resolution step widths are not accepted. Try a positive integer",
            ));
        }
        if end.saturating_sub(start) / 1_000_000 / step > 11_000 {
            return Err(Fault::bad(
                "exceeded maximum resolution of 11,000 points per time series. Try increasing the \
                 value of the step parameter",
            ));
        }
        Ok(step)
    }
}

/// Nanoseconds of a number of seconds or of a duration.
fn duration(text: &str) -> Option<i64> {
    if let Ok(seconds) = text.parse::<f64>() {
        return seconds
            .is_finite()
            .then_some((seconds * SECOND as f64) as i64);
    }
    towpath_query::go_duration::parse(text).or_else(|| {
        let ms = towpath_query::promql::parse_duration(text).ok()?;
        ms.checked_mul(1_000_000)
    })
}

/// Whole seconds of up to ten digits, nanoseconds of more, fractions of seconds, or RFC 3339.
fn time(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        let value: i64 = text.parse().ok()?;
        return if digits.len() <= 10 {
            value.checked_mul(SECOND)
        } else {
            Some(value)
        };
    }
    if let Ok(seconds) = text.parse::<f64>() {
        return seconds
            .is_finite()
            .then_some((seconds * SECOND as f64) as i64);
    }
    rfc3339(text)
}

pub(super) fn rfc3339(text: &str) -> Option<i64> {
    let (date, rest) = text.split_at_checked(19)?;
    let fraction_end = rest
        .find(|c: char| c != '.' && !c.is_ascii_digit())
        .unwrap_or(rest.len());
    let (fraction, zone) = rest.split_at(fraction_end);
    let mut nanos = 0;
    if let Some(digits) = fraction.strip_prefix('.') {
        let padded = format!("{:0<9}", digits.get(..digits.len().min(9))?);
        nanos = padded.parse::<i64>().ok()?;
    }
    let offset = match zone {
        "Z" | "z" => 0,
        zone => {
            let sign = if zone.starts_with('-') { -1 } else { 1 };
            let (hours, minutes) = zone.get(1..)?.split_once(':')?;
            sign * (hours.parse::<i64>().ok()? * 3600 + minutes.parse::<i64>().ok()? * 60)
        }
    };
    let seconds = towpath_stdx::clock::parse_rfc3339(&format!("{date}Z"))?;
    let seconds = i64::try_from(seconds).ok()? - offset;
    seconds.checked_mul(SECOND)?.checked_add(nanos)
}

/// The name in `label/{name}/values`.
pub(super) fn last_but_one(path: &str) -> String {
    decoded(&path.rsplit('/').nth(1).unwrap_or("").replace('+', "%2B"))
}

fn decoded(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let bytes = text.as_bytes();
    let digit = |at: usize| {
        bytes
            .get(at)
            .and_then(|byte| char::from(*byte).to_digit(16))
    };
    let mut at = 0;
    while at < bytes.len() {
        match (bytes[at], digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 2;
            }
            (b'+', ..) => out.push(b' '),
            (byte, ..) => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        assert_eq!(time("1700000000"), Some(1_700_000_000 * SECOND));
        assert_eq!(time("1700000000123456789"), Some(1_700_000_000_123_456_789));
        assert_eq!(time("1700000000.5"), Some(1_700_000_000_500_000_000));
        let zoned = time("2023-11-14T23:13:20.25+01:00");
        assert_eq!(zoned, Some(1_700_000_000_250_000_000));
        assert_eq!(time("yesterday"), None);
    }

    #[test]
    fn pairs() {
        let params = Params::parse("query=%7Ba%3D%22b%22%7D&limit=5", "x=1+2");
        assert_eq!(params.get("query"), "{a=\"b\"}");
        assert_eq!(params.get("x"), "1 2");
        assert_eq!(last_but_one("/loki/api/v1/label/a%2Fb/values"), "a/b");
        assert!(params.count("limit", 100, 4).is_err());
    }
}

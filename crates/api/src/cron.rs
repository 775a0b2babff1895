//! The schedule of a CronJob: five fields, a name such as `@hourly`, or `@every 90s`.
//!
//! What is read, and how it is refused, is what upstream's parser reads and says.

mod times;

use crate::{field, time};

/// When something is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// At every minute that matches.
    At(Minutes),
    /// This many seconds after the last time, at least one.
    Every(i64),
}

/// Minutes of the calendar, one bit for each value of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Minutes {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Day of the month or day of the week is any: then both must match, else one is enough.
    any_day: bool,
}

impl Minutes {
    /// Whether a minute of an hour (0 to 59) matches.
    pub fn has_minute(&self, minute: u8) -> bool {
        has(self.minutes, minute)
    }

    /// Whether an hour (0 to 23) matches.
    pub fn has_hour(&self, hour: u8) -> bool {
        has(self.hours, hour)
    }

    /// Whether a month (1 to 12) matches.
    pub fn has_month(&self, month: u8) -> bool {
        has(self.months, month)
    }

    /// Whether a day of the month (1 to 31) that is this day of the week (0 is Sunday) matches.
    pub fn has_day(&self, day: u8, weekday: u8) -> bool {
        let (day, weekday) = (has(self.days, day), has(self.weekdays, weekday));
        match self.any_day {
            true => day && weekday,
            false => day || weekday,
        }
    }
}

fn has(bits: u64, value: u8) -> bool {
    value < 64 && bits >> value & 1 == 1
}

struct Bounds {
    low: i64,
    high: i64,
    names: &'static [&'static str],
}

const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const BOUNDS: [Bounds; 5] = [
    bounds(0, 59, &[]),
    bounds(0, 23, &[]),
    bounds(1, 31, &[]),
    bounds(1, 12, &MONTHS),
    bounds(0, 6, &WEEKDAYS),
];

const fn bounds(low: i64, high: i64, names: &'static [&'static str]) -> Bounds {
    Bounds { low, high, names }
}

/// Reads a schedule; the error says what is wrong with it.
pub fn parse(schedule: &str) -> Result<Schedule, String> {
    if let Some(name) = schedule.strip_prefix('@') {
        return descriptor(schedule, name);
    }
    let fields: Vec<&str> = schedule.split_whitespace().collect();
    if fields.len() != BOUNDS.len() {
        return Err(format!(
            "expected exactly 5 fields, found {}: [{}]",
            fields.len(),
            fields.join(" ")
        ));
    }
    let mut bits = [0; 5];
    let mut any = [false; 5];
    for (at, (field, bounds)) in fields.iter().zip(&BOUNDS).enumerate() {
        for part in field.split(',') {
            let read = range(part, bounds)?;
            bits[at] |= read.bits;
            any[at] |= read.any;
        }
    }
    let [minutes, hours, days, months, weekdays] = bits;
    Ok(Schedule::At(Minutes {
        minutes,
        hours,
        days,
        months,
        weekdays,
        any_day: any[2] || any[4],
    }))
}

fn descriptor(schedule: &str, name: &str) -> Result<Schedule, String> {
    let fields = match name {
        "yearly" | "annually" => "0 0 1 1 *",
        "monthly" => "0 0 1 * *",
        "weekly" => "0 0 * * 0",
        "daily" | "midnight" => "0 0 * * *",
        "hourly" => "0 * * * *",
        _ => {
            let Some(span) = name.strip_prefix("every ") else {
                return Err(format!("unrecognized descriptor: {schedule}"));
            };
            let Some(nanos) = time::parse_go_duration(span) else {
                return Err(format!(
                    "failed to parse duration {schedule}: time: invalid duration {}",
                    field::quote(span)
                ));
            };
            return Ok(Schedule::Every((nanos / 1_000_000_000).max(1)));
        }
    };
    parse(fields)
}

struct Range {
    bits: u64,
    any: bool,
}

fn range(part: &str, bounds: &Bounds) -> Result<Range, String> {
    let mut halves = part.split('/');
    let (values, step) = (halves.next().unwrap_or_default(), halves.next());
    let mut ends = values.split('-');
    let (first, last) = (ends.next().unwrap_or_default(), ends.next());
    let any = first == "*" || first == "?";
    let (from, mut to) = if any {
        (bounds.low, bounds.high)
    } else {
        let from = named_or_number(first, bounds)?;
        let to = match last {
            Some(last) => named_or_number(last, bounds)?,
            None => from,
        };
        if ends.next().is_some() {
            return Err(format!("too many hyphens: {part}"));
        }
        (from, to)
    };
    let step_size = match step {
        None => 1,
        Some(step) => {
            if halves.next().is_some() {
                return Err(format!("too many slashes: {part}"));
            }
            // `5/10` means from 5 to the end.
            if last.is_none() && !any {
                to = bounds.high;
            }
            number(step)?
        }
    };
    let (low, high) = (bounds.low, bounds.high);
    let wrong = if from < low {
        format!("beginning of range ({from}) below minimum ({low}): {part}")
    } else if to > high {
        format!("end of range ({to}) above maximum ({high}): {part}")
    } else if from > to {
        format!("beginning of range ({from}) beyond end of range ({to}): {part}")
    } else if step_size == 0 {
        format!("step of range should be a positive number: {part}")
    } else {
        let step = usize::try_from(step_size).unwrap_or(usize::MAX);
        let bits = (from..=to).step_by(step).fold(0, |bits, at| bits | 1 << at);
        return Ok(Range {
            bits,
            any: any && step_size == 1,
        });
    };
    Err(wrong)
}

fn named_or_number(text: &str, bounds: &Bounds) -> Result<i64, String> {
    let named = bounds
        .names
        .iter()
        .position(|name| name.eq_ignore_ascii_case(text));
    match named {
        // Months count from one, weekdays from zero: the lower bound says which.
        Some(at) => Ok(at as i64 + bounds.low),
        None => number(text),
    }
}

fn number(text: &str) -> Result<i64, String> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!(
            "failed to parse int from {text}: strconv.Atoi: parsing {}: invalid syntax",
            field::quote(text)
        ));
    }
    match text.parse::<i64>() {
        Ok(number) if number < 0 => Err(format!("negative number ({number}) not allowed: {text}")),
        Ok(number) => Ok(number),
        Err(_) => Err(format!(
            "failed to parse int from {text}: strconv.Atoi: parsing {}: value out of range",
            field::quote(text)
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn minutes(schedule: &str) -> Minutes {
        match parse(schedule) {
            Ok(Schedule::At(minutes)) => minutes,
            other => panic!("{schedule}: {other:?}"),
        }
    }

    #[test]
    fn fields_lists_ranges_steps_and_names() {
        let schedule = minutes("5-20/5,59 3/10 1 Feb,oct-DEC ?");
        let chosen = |test: &dyn Fn(u8) -> bool| (0..60).filter(|&n| test(n)).collect::<Vec<u8>>();
        assert_eq!(chosen(&|n| schedule.has_minute(n)), [5, 10, 15, 20, 59]);
        assert_eq!(chosen(&|n| schedule.has_hour(n)), [3, 13, 23]);
        assert_eq!(chosen(&|n| schedule.has_month(n)), [2, 10, 11, 12]);
    }

    #[test]
    fn two_days_are_alternatives_unless_one_is_any() {
        assert!(minutes("0 0 13 * 5").has_day(13, 1) && minutes("0 0 13 * 5").has_day(1, 5));
        assert!(!minutes("0 0 13 * *").has_day(1, 5) && !minutes("0 0 * * 5").has_day(13, 1));
        // A step makes a star into a list.
        assert!(minutes("0 0 */2 * 5").has_day(3, 1));
    }

    #[test]
    fn names_and_spans() {
        assert_eq!(parse("@daily"), parse("0 0 * * *"));
        assert_eq!(parse("@every 1h30m"), Ok(Schedule::Every(5400)));
        assert_eq!(parse("@every 1ms"), Ok(Schedule::Every(1)));
    }

    #[test]
    fn refusals_say_what_is_wrong() {
        for (schedule, words) in [
            ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
            ("60 * * * *", "end of range (60) above maximum (59): 60"),
            ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
            (
                "5-2 * * * *",
                "beginning of range (5) beyond end of range (2): 5-2",
            ),
            (
                "*/0 * * * *",
                "step of range should be a positive number: */0",
            ),
            ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
            ("1/2/3 * * * *", "too many slashes: 1/2/3"),
            ("@noon", "unrecognized descriptor: @noon"),
            (
                "@every day",
                "failed to parse duration @every day: time: invalid duration \"day\"",
            ),
            (
                "x * * * *",
                "failed to parse int from x: strconv.Atoi: parsing \"x\": invalid syntax",
            ),
        ] {
            assert_eq!(parse(schedule), Err(words.to_string()), "{schedule}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[-0-9*/,@? a-z]{0,24}") {
            let _ = parse(&text);
        }
    }
}

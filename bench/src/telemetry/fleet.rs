//! Many nodes like the recorded one: each series goes on with steps drawn from its own recorded
//! ones, so that what is constant, whole or in hundredths stays so.

use super::protobuf::{Message, snappy};
use super::random::Random;
use super::record::Line;
use anyhow::Result;
use bytes::Bytes;

/// Series in one request, as senders of remote write pack them.
const BATCH: usize = 2000;
/// Labels by which nodes and objects of one node differ from those of another.
const OWN: &[&str] = &[
    "instance",
    "node",
    "pod",
    "uid",
    "replicaset",
    "deployment",
    "id",
    "name",
];

/// How a series goes on.
struct Course {
    steps: Vec<f64>,
    /// Powers of ten that make its values whole; none where there are none such.
    decimals: Option<i32>,
    bounds: (f64, f64),
    counter: bool,
}

impl Course {
    fn of(line: &Line) -> Self {
        let steps: Vec<f64> = line
            .values
            .windows(2)
            .map(|pair| pair[1] - pair[0])
            .collect();
        let whole = |decimals: &i32| {
            line.values.iter().all(|value| {
                let scaled = value * 10f64.powi(*decimals);
                scaled.abs() < 9e15
                    && (scaled - scaled.round()).abs() < 1e-6 * scaled.abs().max(1.0)
            })
        };
        let (low, high) = line
            .values
            .iter()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
                (low.min(*value), high.max(*value))
            });
        let margin = high - low;
        Self {
            counter: steps.iter().all(|step| *step >= 0.0),
            decimals: (0..=9).find(whole),
            bounds: (low - margin, high + margin),
            steps,
        }
    }

    fn next(&self, value: f64, random: &mut Random) -> f64 {
        if self.steps.is_empty() {
            return value;
        }
        let step = self.steps[random.below(self.steps.len())];
        if step == 0.0 {
            return value;
        }
        let mut next = value + step;
        // A gauge turns back where it leaves what is usual for it.
        if !self.counter && (next < self.bounds.0 || next > self.bounds.1) {
            next = value - step;
        }
        match self.decimals {
            Some(decimals) => {
                let scale = 10f64.powi(decimals);
                (next * scale).round() / scale
            }
            None => next,
        }
    }
}

struct Series {
    labels: Box<[u8]>,
    course: u32,
    offset_ms: u32,
    value: f64,
}

/// All series, at a time that moves on.
pub struct Fleet {
    courses: Vec<Course>,
    series: Vec<Series>,
    random: Random,
    /// How many nodes there are.
    pub nodes: usize,
}

impl Fleet {
    /// So many series.
    pub fn new(lines: &[Line], count: usize) -> Self {
        let mut fleet = Self {
            courses: lines.iter().map(Course::of).collect(),
            series: Vec::with_capacity(count),
            random: Random::new(5),
            nodes: count.div_ceil(lines.len()),
        };
        // Of a single node some of every kind.
        let stride = (lines.len() / count.max(1)).max(1);
        for number in 0..count {
            let (node, at) = (number / lines.len(), number * stride % lines.len());
            let line = &lines[at];
            let mut message = Message::default();
            for (name, value) in &line.labels {
                let mut label = Message::default();
                label.text(1, name);
                if OWN.contains(&name.as_str()) && !value.is_empty() {
                    label.text(2, &format!("{value}-{node}"));
                } else {
                    label.text(2, value);
                }
                message.message(1, &label);
            }
            fleet.series.push(Series {
                labels: message.0.into(),
                course: at as u32,
                offset_ms: (node * 7919 % 15_000) as u32,
                value: line.values.last().copied().unwrap_or_default(),
            });
        }
        fleet
    }

    /// How many series there are.
    pub fn len(&self) -> usize {
        self.series.len()
    }

    /// How many samples there are from `begin` on, before `end`, of scrapes that begin every `step`.
    pub fn between(&self, begin: i64, end: i64, step: i64) -> u64 {
        let of = |series: &Series| (end - begin - i64::from(series.offset_ms) + step - 1) / step;
        self.series
            .iter()
            .map(|series| of(series).max(0) as u64)
            .sum()
    }

    /// One sample of each series at the scrape that begins at `time`, as bodies of remote write.
    pub fn bodies(&mut self, time: i64) -> Result<Vec<Bytes>> {
        let mut bodies = Vec::with_capacity(self.series.len().div_ceil(BATCH));
        let (mut request, mut inner, mut sample) =
            (Message::default(), Message::default(), Message::default());
        for batch in self.series.chunks_mut(BATCH) {
            request.0.clear();
            for series in batch {
                let course = &self.courses[series.course as usize];
                series.value = course.next(series.value, &mut self.random);
                sample.0.clear();
                let at = time + i64::from(series.offset_ms);
                sample.fixed(1, series.value.to_bits()).number(2, at as u64);
                inner.0.clear();
                inner.0.extend_from_slice(&series.labels);
                inner.message(2, &sample);
                request.message(1, &inner);
            }
            bodies.push(snappy(&request.0)?);
        }
        Ok(bodies)
    }
}

//! Exemplars in a bounded buffer: with a new one the oldest of all goes.

use std::collections::{HashMap, VecDeque};

use towpath_stdx::keyed::Quick;

use crate::{Exemplar, Refused};

/// The most letters the labels of an exemplar may have, as OpenMetrics has it.
const LETTERS: usize = 128;

pub(crate) struct Exemplars {
    capacity: usize,
    of: HashMap<u32, VecDeque<Exemplar>, Quick>,
    /// Whose is the oldest, the next, and so on.
    order: VecDeque<u32>,
}

impl Exemplars {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            of: HashMap::default(),
            order: VecDeque::new(),
        }
    }

    pub(crate) fn add(&mut self, series: u32, exemplar: Exemplar) -> Result<(), Refused> {
        let letters = exemplar
            .labels
            .iter()
            .map(|(name, value)| name.chars().count() + value.chars().count());
        if letters.sum::<usize>() > LETTERS {
            return Err(Refused::Labels(format!(
                "label length for exemplar exceeds maximum of {LETTERS} UTF-8 characters"
            )));
        }
        if self.capacity == 0 {
            return Ok(());
        }
        let own = self.of.entry(series).or_default();
        if let Some(last) = own.back() {
            if *last == exemplar {
                return Err(Refused::Duplicate);
            }
            if exemplar.at < last.at || (exemplar.at == last.at && exemplar.value < last.value) {
                return Err(Refused::OutOfOrder);
            }
        }
        own.push_back(exemplar);
        self.order.push_back(series);
        while self.order.len() > self.capacity {
            let Some(oldest) = self.order.pop_front() else {
                break;
            };
            if let Some(of) = self.of.get_mut(&oldest) {
                of.pop_front();
                if of.is_empty() {
                    self.of.remove(&oldest);
                }
            }
        }
        Ok(())
    }

    /// The exemplars of a series from `start` to `end`.
    pub(crate) fn read(&self, series: u32, start: i64, end: i64) -> Vec<Exemplar> {
        let own = self.of.get(&series).into_iter().flatten();
        own.filter(|exemplar| (start..=end).contains(&exemplar.at))
            .cloned()
            .collect()
    }

    /// All exemplars, the oldest of each series first.
    pub(crate) fn all(&self) -> Vec<(u32, Exemplar)> {
        let each = self.of.iter();
        each.flat_map(|(series, own)| own.iter().map(|exemplar| (*series, exemplar.clone())))
            .collect()
    }

    /// Forgets the exemplars of series that are gone.
    pub(crate) fn remove(&mut self, gone: impl Fn(u32) -> bool) {
        self.of.retain(|series, _| !gone(*series));
        self.order.retain(|series| !gone(*series));
    }
}

//! Where exporters put what they read, family after family.

use crate::family::{Family, Kind, Sample, Text};

/// Families in the order in which they were begun.
#[derive(Debug, Default)]
pub struct Sink {
    families: Vec<Family>,
}

impl Sink {
    /// What was put in; families without a sample are left out.
    pub fn finish(mut self) -> Vec<Family> {
        self.families.retain(|family| !family.samples.is_empty());
        self.families
    }

    /// Takes over all families of another.
    pub fn take(&mut self, other: Self) {
        self.families.extend(other.families);
    }

    /// A whole family.
    pub fn put(&mut self, family: Family) {
        self.families.push(family);
    }

    /// Begins a family; the samples that follow are its own.
    pub fn family(&mut self, name: impl Into<Text>, kind: Kind, help: impl Into<Text>) {
        self.families.push(Family::new(kind, name, help));
    }

    /// One sample of the family begun last.
    pub fn sample(&mut self, labels: &[(&'static str, &str)], value: f64) {
        self.labelled(owned(labels), value);
    }

    /// The same for labels whose names are only known at run time.
    pub fn labelled(&mut self, labels: Vec<(Text, Text)>, value: f64) {
        if let Some(family) = self.families.last_mut() {
            family.samples.push(Sample {
                suffix: "",
                labels,
                value,
                at: None,
            });
        }
    }

    /// A classic histogram of the family begun last; see [`Family::histogram`].
    pub fn histogram(
        &mut self,
        labels: &[(&'static str, &str)],
        buckets: impl IntoIterator<Item = (f64, u64)>,
        sum: f64,
        count: u64,
    ) {
        if let Some(family) = self.families.last_mut() {
            family.histogram(&owned(labels), buckets, sum, count);
        }
    }

    /// A family of one sample without labels.
    pub fn single(&mut self, name: impl Into<Text>, kind: Kind, help: impl Into<Text>, value: f64) {
        self.family(name, kind, help);
        self.sample(&[], value);
    }
}

fn owned(labels: &[(&'static str, &str)]) -> Vec<(Text, Text)> {
    labels
        .iter()
        .map(|(name, value)| (Text::Borrowed(*name), Text::Owned((*value).to_string())))
        .collect()
}

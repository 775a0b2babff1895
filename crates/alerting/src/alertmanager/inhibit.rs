//! Alerts that make others superfluous.

use std::collections::BTreeMap;

use towpath_query::promql::Matcher;

use super::route::pass;

/// While there is a source, targets with the same labels are not told.
#[derive(Clone, Debug)]
pub struct InhibitRule {
    /// What a source must be.
    pub source: Vec<Matcher>,
    /// What a target must be.
    pub target: Vec<Matcher>,
    /// Labels that must be the same; one that both lack is the same.
    pub equal: Vec<String>,
}

type Labels = BTreeMap<String, String>;

impl InhibitRule {
    /// The first of the firing alerts that makes `target` superfluous.
    pub fn source_of<'a>(
        &self,
        target: &Labels,
        firing: impl IntoIterator<Item = &'a Labels>,
    ) -> Option<&'a Labels> {
        if !pass(&self.target, target) {
            return None;
        }
        // An alert that is both does not keep others that are both quiet.
        let both = pass(&self.source, target);
        firing.into_iter().find(|source| {
            pass(&self.source, source)
                && self
                    .equal
                    .iter()
                    .all(|name| source.get(name) == target.get(name))
                && !(both && pass(&self.target, source))
        })
    }
}

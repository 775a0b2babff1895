//! Conditions on labels.

use super::ip::IpPattern;
use super::{ERROR, ERROR_DETAILS, LineLabels};
use crate::logql::amount;
use crate::logql::ast::{Amount, Comparison, LabelFilter};
use crate::promql::Matcher;

pub(super) enum Condition {
    Text(Matcher),
    Amount(String, Comparison, Amount),
    Ip(String, bool, IpPattern),
    And(Box<Condition>, Box<Condition>),
    Or(Box<Condition>, Box<Condition>),
}

impl Condition {
    pub(super) fn new(filter: &LabelFilter) -> Result<Self, String> {
        let both = |a, b| Ok::<_, String>((Box::new(Self::new(a)?), Box::new(Self::new(b)?)));
        Ok(match filter {
            LabelFilter::Text(matcher) => Self::Text(matcher.clone()),
            LabelFilter::Amount { label, op, amount } => Self::Amount(label.clone(), *op, *amount),
            LabelFilter::Ip {
                label,
                negated,
                pattern,
            } => Self::Ip(label.clone(), *negated, IpPattern::parse(pattern)?),
            LabelFilter::And(a, b) => {
                let (a, b) = both(a, b)?;
                Self::And(a, b)
            }
            LabelFilter::Or(a, b) => {
                let (a, b) = both(a, b)?;
                Self::Or(a, b)
            }
            LabelFilter::Paren(inner) => Self::new(inner)?,
        })
    }

    pub(super) fn passes(&self, labels: &mut LineLabels) -> bool {
        match self {
            Self::Text(matcher) => matcher.matches(labels.text(&matcher.name)),
            Self::Amount(label, ..) | Self::Ip(label, ..)
                if labels.has_error() && label != ERROR && label != ERROR_DETAILS =>
            {
                true
            }
            Self::Amount(label, op, amount) => {
                let Some(text) = labels.get(label) else {
                    return false;
                };
                match read(text, *amount) {
                    Some((own, wanted)) => op.holds(own, wanted),
                    None => {
                        let details = format!("cannot compare {label}={text:?}");
                        labels.fail("LabelFilterErr", &details);
                        true
                    }
                }
            }
            Self::Ip(label, negated, pattern) => match labels.get(label) {
                Some(text) => pattern.matches(text) != *negated,
                None => false,
            },
            Self::And(a, b) => a.passes(labels) && b.passes(labels),
            Self::Or(a, b) => a.passes(labels) || b.passes(labels),
        }
    }
}

/// The amount in a label and the one it is compared with, in the same unit.
fn read(text: &str, amount: Amount) -> Option<(f64, f64)> {
    Some(match amount {
        Amount::Number(wanted) => (text.trim().parse().ok()?, wanted),
        Amount::Duration(wanted) => (amount::parse_duration(text)? as f64, wanted as f64),
        Amount::Bytes(wanted) => (amount::parse_bytes(text)?, wanted as f64),
    })
}

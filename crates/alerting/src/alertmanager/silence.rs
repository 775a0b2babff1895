//! Silences: alerts about which nobody wants to hear for a while.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use towpath_query::promql::{MatchOp, Matcher};

use super::interval::{self, TimeInterval};
use super::route::pass;

/// A silence. Times are in milliseconds since the epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Silence {
    /// Its id.
    pub id: String,
    /// What an alert must be: name, `=` and its kin, value.
    pub matchers: Vec<(String, String, String)>,
    /// From when.
    pub starts_at: i64,
    /// Until when.
    pub ends_at: i64,
    /// When it was last changed.
    pub updated_at: i64,
    /// Who made it.
    pub created_by: String,
    /// Why.
    pub comment: String,
    /// What else is said: tickets, [`DURING`] and [`UNTIL`].
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// Whether an alert was silenced that it waits for.
    #[serde(default)]
    pub matched: bool,
}

/// The annotation with the times at which a silence counts: time intervals as the configuration
/// has them, in YAML or JSON.
pub const DURING: &str = "towpath.dev/during";
/// The annotation that ends a silence before its time: with `resolved`, once nothing fires any
/// more that it was made for.
pub const UNTIL: &str = "towpath.dev/until";

/// How long nothing fires before it counts as over, in milliseconds.
const CALM_MS: i64 = 300_000;
/// The most annotations, and the longest, in bytes.
const ANNOTATIONS: (usize, usize) = (64, 16 << 10);

/// Where a silence stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SilenceState {
    /// It has not begun.
    Pending,
    /// It counts.
    Active,
    /// It is over.
    Expired,
}

/// Why a silence is not taken. The texts are upstream's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SilenceError {
    /// There is none with this id.
    #[error("silence not found")]
    NotFound,
    /// It contradicts itself.
    #[error("invalid silence: {0}")]
    Invalid(String),
}

fn operator(text: &str) -> Option<MatchOp> {
    [
        MatchOp::Equal,
        MatchOp::NotEqual,
        MatchOp::Regex,
        MatchOp::NotRegex,
    ]
    .into_iter()
    .find(|op| op.text() == text)
}

impl Silence {
    /// Where it stands at a time.
    pub fn state(&self, now: i64) -> SilenceState {
        match now {
            now if now < self.starts_at => SilenceState::Pending,
            now if now >= self.ends_at => SilenceState::Expired,
            _ => SilenceState::Active,
        }
    }

    /// Its conditions, ready to use.
    ///
    /// # Errors
    /// What is wrong with one.
    pub fn compiled(&self) -> Result<Vec<Matcher>, String> {
        let each = self.matchers.iter().map(|(name, op, value)| {
            let op = operator(op).ok_or_else(|| format!("unknown operator {op}"))?;
            Matcher::new(name.clone(), op, value.clone())
        });
        each.collect()
    }

    fn until_resolved(&self) -> bool {
        self.annotations.contains_key(UNTIL)
    }

    /// The only times at which it counts; none where it always does.
    fn during(&self) -> Result<Vec<TimeInterval>, String> {
        let Some(text) = self.annotations.get(DURING) else {
            return Ok(Vec::new());
        };
        let raw: Vec<interval::Raw> =
            crate::yaml::read(text).map_err(|finding| format!("{DURING}: {finding}"))?;
        if raw.is_empty() {
            return Err(format!("{DURING} names no time"));
        }
        let each = raw.into_iter().map(TimeInterval::read);
        each.collect::<Result<_, _>>()
            .map_err(|why| format!("{DURING}: {why}"))
    }

    pub(super) fn check(&self) -> Result<Vec<Matcher>, SilenceError> {
        let invalid = |why: &str| Err(SilenceError::Invalid(why.to_owned()));
        if self.matchers.is_empty() {
            return invalid("at least one matcher required");
        }
        if let Some((name, ..)) = self.matchers.iter().find(|m| m.0.is_empty()) {
            return invalid(&format!(
                "invalid label matcher 0: invalid label name {name:?}"
            ));
        }
        let compiled = self.compiled().map_err(SilenceError::Invalid)?;
        if compiled.iter().all(|matcher| matcher.matches("")) {
            return invalid("at least one matcher must not match the empty string");
        }
        if self.starts_at >= self.ends_at {
            return invalid("end time must not be before start time");
        }
        let (most, longest) = ANNOTATIONS;
        if self.annotations.len() > most || self.annotations.values().any(|a| a.len() > longest) {
            return invalid("its annotations are too many or too long");
        }
        if let Some(until) = self.annotations.get(UNTIL).filter(|u| *u != "resolved") {
            return invalid(&format!("{UNTIL} must be resolved, not {until}"));
        }
        Ok(compiled)
    }
}

/// A silence with what it needs at work.
#[derive(Clone, Debug)]
struct Kept {
    silence: Silence,
    matchers: Vec<Matcher>,
    /// The only times at which it counts, where it recurs.
    during: Vec<TimeInterval>,
    /// Since when nothing fires that it was made for.
    calm_since: Option<i64>,
}

impl Kept {
    fn counts(&self, now: i64) -> bool {
        self.silence.state(now) == SilenceState::Active
            && (self.during.is_empty() || self.during.iter().any(|one| one.contains(now)))
    }
}

/// Silences with their conditions compiled.
#[derive(Clone, Debug, Default)]
pub(super) struct Silences(BTreeMap<String, Kept>);

impl Silences {
    /// Takes up what was kept; what cannot be read any more is left out.
    pub(super) fn restore(&mut self, silence: Silence) {
        if let (Ok(matchers), Ok(during)) = (silence.compiled(), silence.during()) {
            self.insert(silence, matchers, during);
        }
    }

    fn insert(&mut self, silence: Silence, matchers: Vec<Matcher>, during: Vec<TimeInterval>) {
        let kept = Kept {
            matchers,
            during,
            calm_since: None,
            silence: silence.clone(),
        };
        self.0.insert(silence.id, kept);
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Silence> {
        self.0.values().map(|kept| &kept.silence)
    }

    /// Makes a silence, or changes the one with its id; the id it has then.
    pub(super) fn put(
        &mut self,
        mut silence: Silence,
        fresh_id: String,
        now: i64,
    ) -> Result<String, SilenceError> {
        silence.updated_at = now;
        let compiled = silence.check()?;
        let during = silence.during().map_err(SilenceError::Invalid)?;
        let known = match silence.id.as_str() {
            "" => None,
            id => {
                let known = self.0.get(id).ok_or(SilenceError::NotFound)?;
                Some(known.silence.clone())
            }
        };
        match known {
            Some(old) if can_change(&old, &silence, now) => {
                if old.state(now) == SilenceState::Active {
                    silence.starts_at = old.starts_at;
                }
                silence.matched = old.matched;
            }
            known => {
                if silence.ends_at <= now {
                    let why = "end time must not be in the past";
                    return Err(SilenceError::Invalid(why.to_owned()));
                }
                if let Some(old) = known {
                    // It becomes another one, and the old one is over.
                    let _ = self.expire(&old.id, now);
                }
                silence.id = fresh_id;
                silence.matched = false;
                silence.starts_at = silence.starts_at.max(now);
            }
        }
        let id = silence.id.clone();
        self.insert(silence, compiled, during);
        Ok(id)
    }

    pub(super) fn expire(&mut self, id: &str, now: i64) -> Result<(), SilenceError> {
        let silence = &mut self.0.get_mut(id).ok_or(SilenceError::NotFound)?.silence;
        match silence.state(now) {
            SilenceState::Expired => {
                let why = format!("silence {id} already expired");
                return Err(SilenceError::Invalid(why));
            }
            SilenceState::Active => silence.ends_at = now,
            SilenceState::Pending => {
                silence.starts_at = now;
                silence.ends_at = now;
            }
        }
        silence.updated_at = now;
        Ok(())
    }

    /// Lets go of those that were over before a time.
    pub(super) fn forget(&mut self, before: i64) {
        self.0.retain(|_, kept| kept.silence.ends_at > before);
    }

    /// Ends silences whose alerts are over, where that is what they wait for.
    pub(super) fn watch<'a>(
        &mut self,
        firing: impl Iterator<Item = &'a BTreeMap<String, String>> + Clone,
        now: i64,
    ) {
        for kept in self.0.values_mut() {
            let silence = &mut kept.silence;
            if !silence.until_resolved() || silence.state(now) != SilenceState::Active {
                continue;
            }
            if firing.clone().any(|labels| pass(&kept.matchers, labels)) {
                silence.matched = true;
                kept.calm_since = None;
                continue;
            }
            // After a restart alerts take a while to come back; and some flap.
            let since = *kept.calm_since.get_or_insert(now);
            if silence.matched && now - since >= CALM_MS {
                silence.ends_at = now;
                silence.updated_at = now;
            }
        }
    }

    /// When one of them may end by itself.
    pub(super) fn next(&self) -> Option<i64> {
        let waiting = self.0.values().filter(|kept| {
            let silence = &kept.silence;
            silence.matched && silence.ends_at > silence.updated_at
        });
        let calm = waiting.filter_map(|kept| kept.calm_since.map(|since| since + CALM_MS));
        calm.min()
    }

    /// Whether one counts for an alert.
    pub(super) fn any(&self, labels: &BTreeMap<String, String>, now: i64) -> bool {
        let mut kept = self.0.values();
        kept.any(|kept| kept.counts(now) && pass(&kept.matchers, labels))
    }

    /// Ids of those that count for an alert.
    pub(super) fn of(&self, labels: &BTreeMap<String, String>, now: i64) -> Vec<String> {
        self.0
            .values()
            .filter(|kept| kept.counts(now) && pass(&kept.matchers, labels))
            .map(|kept| kept.silence.id.clone())
            .collect()
    }
}

/// Whether a silence can become another without becoming a new one.
fn can_change(old: &Silence, new: &Silence, now: i64) -> bool {
    if old.matchers != new.matchers || old.annotations != new.annotations {
        return false;
    }
    match old.state(now) {
        SilenceState::Active => new.starts_at / 1000 == old.starts_at / 1000 && new.ends_at >= now,
        SilenceState::Pending => new.starts_at >= now,
        SilenceState::Expired => false,
    }
}

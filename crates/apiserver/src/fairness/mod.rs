//! Priority and fairness: each request belongs to a flow (a user, a namespace) of a priority
//! level, and each level has seats of its own, so that neither a flow nor a level can keep
//! others from being served.
//!
//! What levels and flows there are, objects say (`FlowSchema`, `PriorityLevelConfiguration`);
//! they are read from the store's present state, so that a change takes effect at once. Seats
//! that a level may lend are lent while they are free. Streams are not counted, watches only
//! until they have begun.

mod classify;
mod keep;
mod level;

use crate::rbac::Ask;
use crate::record;
use classify::Schema;
pub(crate) use keep::{begin, run};
use level::{Entry, Level, Queue, Rules, Seat};
use parking_lot::Mutex;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use towpath_kit::traits::Principal;
use towpath_store::{Snapshot, Table};

pub(crate) const GROUP: &str = "flowcontrol.apiserver.k8s.io";
const SCHEMAS: &str = "flowcontrol.apiserver.k8s.io/flowschemas";
const LEVELS: &str = "flowcontrol.apiserver.k8s.io/prioritylevelconfigurations";
/// Seats of all levels together.
const SEATS: usize = 512;
/// Most requests that wait at one level, whatever its object says.
const WAITING: usize = 2048;
/// How long a request waits for a seat, as upstream's quarter of a minute.
const PATIENCE: Duration = Duration::from_secs(15);

/// Facts of upstream's bootstrap configuration: name and `spec` of each object.
fn facts(of: &str) -> Vec<Value> {
    let all: Value =
        serde_json::from_str(include_str!("../../facts/flowcontrol.json")).unwrap_or_default();
    all[of].as_array().cloned().unwrap_or_default()
}

/// All levels and schemas as they are now.
#[derive(Default)]
struct Plan {
    schemas: Vec<Arc<Schema>>,
    levels: BTreeMap<String, Arc<Level>>,
    total: usize,
}

#[derive(Default)]
struct Known {
    schemas: Table,
    levels: Table,
    plan: Arc<Plan>,
}

/// What the server remembers of flows.
#[derive(Default)]
pub(crate) struct Fairness(Mutex<Known>);

/// A request that may run.
pub(crate) struct Pass {
    seat: Option<Seat>,
    level: Arc<Level>,
    plan: Arc<Plan>,
    schema: String,
}

impl Drop for Pass {
    fn drop(&mut self) {
        drop(self.seat.take());
        // A seat that was lent may be what another level waits for.
        for level in self.plan.levels.values() {
            level.fill(|| self.plan.spare());
        }
    }
}

impl Pass {
    /// UIDs of the schema and the level, for the answer's headers.
    pub(crate) fn uids(&self) -> (&str, &str) {
        (&self.schema, &self.level.uid)
    }
}

/// A request that may not run now.
pub(crate) struct Refused {
    schema: String,
    level: String,
}

impl Refused {
    pub(crate) fn uids(&self) -> (&str, &str) {
        (&self.schema, &self.level)
    }
}

impl Plan {
    // Whether a seat beyond a level's own is free: what others keep for themselves is not.
    fn spare(&self) -> bool {
        let levels = self.levels.values().filter(|level| !level.is_exempt());
        let taken: usize = levels
            .map(|level| level.counts().0 + level.reserved())
            .sum();
        taken < self.total
    }
}

impl Fairness {
    fn present(&self, state: &Snapshot) -> Arc<Plan> {
        let (schemas, levels) = (state.table(SCHEMAS), state.table(LEVELS));
        let mut known = self.0.lock();
        if known.schemas.ptr_eq(&schemas) && known.levels.ptr_eq(&levels) {
            return known.plan.clone();
        }
        let plan = Arc::new(read(&known.plan, &schemas, &levels));
        *known = Known {
            schemas,
            levels,
            plan: plan.clone(),
        };
        plan
    }

    /// Waits for a seat where that is needed. Without any schema for it, a request just runs.
    pub(crate) async fn enter(
        &self,
        state: &Snapshot,
        who: &Principal,
        ask: &Ask<'_>,
    ) -> Result<Option<Pass>, Refused> {
        let plan = self.present(state);
        let known = |schema: &&Arc<Schema>| plan.levels.contains_key(&schema.level);
        let mut schemas = plan.schemas.iter().filter(known);
        let Some(schema) = schemas.find(|schema| schema.matches(who, ask)).cloned() else {
            return Ok(None);
        };
        let Some(level) = plan.levels.get(&schema.level).cloned() else {
            return Ok(None);
        };
        let flow = format!("{}/{}", schema.name, schema.flow(who, ask));
        let refused = || Refused {
            schema: schema.uid.clone(),
            level: level.uid.clone(),
        };
        let seat = match level.enter(&flow, plan.spare()) {
            Entry::Now(seat) => seat,
            Entry::Refused => return Err(refused()),
            Entry::Later(mut told) => {
                let waited = tokio::time::timeout(PATIENCE, &mut told).await;
                // A seat that is given at the last moment is taken.
                let given = waited
                    .ok()
                    .and_then(Result::ok)
                    .or_else(|| told.try_recv().ok());
                let Some(seat) = given else {
                    level.late.fetch_add(1, Ordering::Relaxed);
                    return Err(refused());
                };
                seat
            }
        };
        Ok(Some(Pass {
            seat: Some(seat),
            level,
            schema: schema.uid.clone(),
            plan,
        }))
    }

    /// Figures in the form of Prometheus, with upstream's names.
    pub(crate) fn metrics(&self) -> String {
        let plan = self.0.lock().plan.clone();
        let mut out = String::new();
        let mut family = |name: &str, kind: &str, of: &dyn Fn(&Level) -> Vec<(String, u64)>| {
            let _ = writeln!(out, "# TYPE apiserver_flowcontrol_{name} {kind}");
            for level in plan.levels.values() {
                for (labels, value) in of(level) {
                    let label = format!("priority_level=\"{}\"{labels}", level.name);
                    let _ = writeln!(out, "apiserver_flowcontrol_{name}{{{label}}} {value}");
                }
            }
        };
        let one = |value: usize| vec![(String::new(), value as u64)];
        family("current_executing_requests", "gauge", &|l| {
            one(l.counts().0)
        });
        family("current_inqueue_requests", "gauge", &|l| one(l.counts().1));
        family("nominal_limit_seats", "gauge", &|l| one(l.counts().2));
        family("dispatched_requests_total", "counter", &|l| {
            vec![(String::new(), l.dispatched.load(Ordering::Relaxed))]
        });
        family("rejected_requests_total", "counter", &|l| {
            let count = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
            vec![
                (",reason=\"queue-full\"".into(), count(&l.full)),
                (",reason=\"time-out\"".into(), count(&l.late)),
            ]
        });
        out
    }
}

// Levels keep their seats and queues when their objects change.
fn read(before: &Plan, schemas: &Table, levels: &Table) -> Plan {
    let mut all: Vec<Arc<Schema>> = schemas
        .values()
        .map(|rec| Arc::new(Schema::read(&record::decode(rec))))
        .collect();
    all.sort_by(|a, b| (a.precedence, &a.name).cmp(&(b.precedence, &b.name)));
    let objects: Vec<Value> = levels.values().map(|rec| record::decode(rec)).collect();
    let shares: u64 = objects.iter().map(|object| parts(object).0).sum();
    let mut found = BTreeMap::new();
    let mut total = 0;
    for object in &objects {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let uid = object["metadata"]["uid"].as_str().unwrap_or_default();
        let kept = before.levels.get(name).filter(|level| level.uid == uid);
        let level = kept
            .cloned()
            .unwrap_or_else(|| Arc::new(Level::new(name, uid)));
        let rules = rules(object, shares);
        if !rules.exempt {
            total += rules.seats;
        }
        level.set(rules);
        found.insert(name.to_string(), level);
    }
    Plan {
        schemas: all,
        levels: found,
        total,
    }
}

// Shares, and how many of a hundred may be lent.
fn parts(object: &Value) -> (u64, u64) {
    let spec = &object["spec"];
    let part = match spec["type"] == "Exempt" {
        true => &spec["exempt"],
        false => &spec["limited"],
    };
    let number = |key: &str| part[key].as_u64().unwrap_or(0);
    (
        number("nominalConcurrencyShares"),
        number("lendablePercent"),
    )
}

fn rules(object: &Value, all: u64) -> Rules {
    let spec = &object["spec"];
    let (shares, lendable) = parts(object);
    let seats = (SEATS as u64 * shares).div_ceil(all.max(1)) as usize;
    let response = &spec["limited"]["limitResponse"];
    let queue = (response["type"] == "Queue").then(|| {
        let number = |key: &str, other: u64| {
            let given = response["queuing"][key].as_u64();
            given.unwrap_or(other).max(1) as usize
        };
        let (queues, length) = (number("queues", 64), number("queueLengthLimit", 50));
        Queue {
            flow: number("handSize", 8)
                .min(queues)
                .saturating_mul(length)
                .min(WAITING),
            all: queues.saturating_mul(length).min(WAITING),
        }
    });
    Rules {
        exempt: spec["type"] == "Exempt",
        seats,
        lendable: seats * lendable as usize / 100,
        most: match spec["limited"]["borrowingLimitPercent"].as_u64() {
            None => SEATS,
            Some(percent) => seats + seats.saturating_mul(percent as usize) / 100,
        },
        queue,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn seats_follow_shares() {
        let of =
            |kind: &str, part: Value| json!({"spec": {"type": kind, (kind.to_lowercase()): part}});
        let level = of(
            "Limited",
            json!({"nominalConcurrencyShares": 20, "lendablePercent": 50, "limitResponse": {"type": "Queue", "queuing": {"queues": 128, "handSize": 6, "queueLengthLimit": 50}}}),
        );
        let rules = rules(&level, 245);
        assert_eq!((rules.seats, rules.lendable), (42, 21));
        assert_eq!(
            rules.queue,
            Some(Queue {
                flow: 300,
                all: 2048
            })
        );
        let reject = of(
            "Limited",
            json!({"nominalConcurrencyShares": 0, "limitResponse": {"type": "Reject"}}),
        );
        let rules = super::rules(&reject, 245);
        assert_eq!((rules.seats, rules.queue), (0, None));
    }

    #[test]
    fn the_facts_are_all_there() {
        assert_eq!((facts("flowschemas").len(), facts("levels").len()), (11, 8));
    }
}

//! Random histories against a map: results, state, revisions, events, reopening.

use crate::support::{Dice, RESOURCE, body, delete, put, value};
use std::collections::BTreeMap;
use std::sync::Arc;
use towpath_store::{Class, Expect, Op, Options, Refused, Store, Txn};

#[derive(Default)]
struct Model {
    objects: BTreeMap<String, (u64, String)>,
    revision: u64,
    /// Revision, key, value (none for a deletion).
    log: Vec<(u64, String, Option<String>)>,
    /// Objects as they were after each transaction.
    past: BTreeMap<u64, BTreeMap<String, (u64, String)>>,
}

impl Model {
    fn holds(&self, key: &str, expect: &Expect) -> bool {
        let current = self.objects.get(key);
        expect.present.is_none_or(|p| p == current.is_some())
            && expect
                .revision
                .is_none_or(|r| current.is_some_and(|c| c.0 == r))
            && expect
                .uid
                .as_deref()
                .is_none_or(|u| current.is_some() && u == "u")
    }

    /// Index of the operation that is refused, if any.
    fn commit(&mut self, ops: &[(String, Option<String>, Expect)]) -> Result<(), usize> {
        let (objects, revision, length) = (self.objects.clone(), self.revision, self.log.len());
        for (index, (key, new, expect)) in ops.iter().enumerate() {
            if !self.holds(key, expect) {
                self.objects = objects;
                self.revision = revision;
                self.log.truncate(length);
                return Err(index);
            }
            match new {
                Some(new) if self.objects.get(key).is_some_and(|(_, old)| old == new) => {}
                Some(new) => {
                    self.revision += 1;
                    self.objects
                        .insert(key.clone(), (self.revision, new.clone()));
                    self.log
                        .push((self.revision, key.clone(), Some(new.clone())));
                }
                None if self.objects.remove(key).is_some() => {
                    self.revision += 1;
                    self.log.push((self.revision, key.clone(), None));
                }
                None => {}
            }
        }
        Ok(())
    }
}

fn random_expect(dice: &mut Dice, model: &Model, key: &str) -> Expect {
    match dice.roll(6) {
        0 => Expect::absent(),
        1 => Expect::revision(model.objects.get(key).map_or(1, |o| o.0)),
        2 => Expect::revision(model.revision.saturating_sub(dice.roll(20))),
        3 => Expect {
            uid: Some("u".into()),
            ..Expect::any()
        },
        _ => Expect::any(),
    }
}

fn check_state(store: &Store, model: &Model) {
    let state = store.snapshot();
    assert_eq!(state.revision(), model.revision);
    let found: Vec<(String, u64, String)> = state
        .range(RESOURCE, "", None)
        .map(|rec| {
            let (revision, text) = value(&rec.json());
            assert_eq!(revision, rec.revision);
            (rec.key.to_string(), revision, text)
        })
        .collect();
    let wanted: Vec<_> = model
        .objects
        .iter()
        .map(|(k, (r, v))| (k.clone(), *r, v.clone()))
        .collect();
    assert_eq!(found, wanted);
    let namespace: Vec<_> = state
        .range(RESOURCE, "n1", None)
        .map(|rec| rec.key.to_string())
        .collect();
    let in_model: Vec<_> = model
        .objects
        .keys()
        .filter(|k| k.starts_with("n1/"))
        .cloned()
        .collect();
    assert_eq!(namespace, in_model);
}

fn check_watch(store: &Store, model: &Model, from: u64) {
    let mut watch = store.watch(RESOURCE, from);
    let mut seen = Vec::new();
    loop {
        match watch.ready(7) {
            Ok(events) if events.is_empty() => break,
            Ok(events) => seen.extend(events),
            // Legal only where the oldest kept is really younger.
            Err(gone) => {
                assert!(gone.asked < gone.oldest);
                return;
            }
        }
    }
    let wanted: Vec<_> = model.log.iter().filter(|(r, ..)| *r > from).collect();
    assert_eq!(seen.len(), wanted.len());
    for (event, (revision, key, new)) in seen.iter().zip(wanted) {
        assert_eq!(event.revision, *revision);
        let rec = event
            .new
            .as_ref()
            .or(event.old.as_ref())
            .expect("one state");
        assert_eq!(&*rec.key, key.as_str());
        assert_eq!(event.new.as_ref().map(|rec| value(&rec.json()).1), *new);
    }
}

// A past state is the one that was, or it is said to be gone.
fn check_past(store: &Store, model: &Model, revision: u64) {
    let (Some(wanted), Ok(state)) = (model.past.get(&revision), store.past(RESOURCE, revision))
    else {
        return;
    };
    assert_eq!(state.revision(), revision);
    let found: BTreeMap<String, (u64, String)> = state
        .range(RESOURCE, "", None)
        .map(|rec| (rec.key.to_string(), value(&rec.json())))
        .collect();
    assert_eq!(found, *wanted, "at {revision}");
}

fn history(seed: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("runtime");
    let dir = tempfile::tempdir().expect("directory");
    let options = Options {
        ring_events: 60,
        ring_bytes: 1 << 20,
    };
    let mut dice = Dice(seed);
    let mut store = Store::open(dir.path(), options).expect("store");
    let mut model = Model {
        revision: store.revision(),
        ..Model::default()
    };
    for _ in 0..300 {
        if dice.roll(60) == 0 {
            store.close();
            drop(store);
            store = Store::open(dir.path(), options).expect("store");
            model.log.clear();
            // Nothing before the restart can be watched.
            let mut watch = store.watch(RESOURCE, model.revision.saturating_sub(1));
            assert!(model.revision <= 1 || watch.ready(1).is_err());
        }
        let count = 1 + dice.roll(3);
        let ops: Vec<(String, Option<String>, Expect)> = (0..count)
            .map(|_| {
                let key = format!("n{}/k{}", dice.roll(3), dice.roll(6));
                let new = (dice.roll(3) > 0).then(|| format!("v{}", dice.roll(4)));
                let expect = random_expect(&mut dice, &model, &key);
                (key, new, expect)
            })
            .collect();
        let txn = Txn {
            ops: ops
                .iter()
                .map(|(key, new, expect)| match new {
                    Some(new) => put(key, new, expect.clone()),
                    None => delete(key, expect.clone()),
                })
                .collect(),
            class: if dice.roll(4) == 0 {
                Class::Relaxed
            } else {
                Class::Normal
            },
        };
        let wanted = model.commit(&ops);
        match runtime.block_on(store.commit(txn)) {
            Ok(done) => {
                assert_eq!(wanted, Ok(()), "seed {seed}");
                assert_eq!(done.revision, model.revision);
            }
            Err(Refused::Conflict { index, .. }) => assert_eq!(wanted, Err(index), "seed {seed}"),
            Err(other) => panic!("seed {seed}: {other}"),
        }
        check_state(&store, &model);
        model.past.insert(model.revision, model.objects.clone());
        let from = model.revision.saturating_sub(dice.roll(40));
        if model
            .log
            .first()
            .is_some_and(|(first, ..)| *first <= from + 1)
        {
            check_watch(&store, &model, from);
            assert!(store.past(RESOURCE, from).is_ok());
        }
        check_past(&store, &model, from);
    }
}

#[test]
fn random_histories() {
    for seed in 1..=12 {
        history(seed * 7919);
    }
}

#[test]
fn many_clients_of_one_key_lose_nothing() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("runtime");
    let dir = tempfile::tempdir().expect("directory");
    let store = Store::open(dir.path(), Options::default()).expect("store");
    let key: Arc<str> = Arc::from("/counter");
    runtime.block_on(async {
        crate::support::one(&store, put(&key, "0", Expect::absent()))
            .await
            .expect("create");
        let mut watch = store.watch(RESOURCE, store.revision());
        let clients: Vec<_> = (0..16)
            .map(|_| {
                let (store, key) = (store.clone(), key.clone());
                async move {
                    for _ in 0..10 {
                        loop {
                            let state = store.snapshot();
                            let rec = state.get(RESOURCE, &key).expect("counter").clone();
                            let next: u64 =
                                value(&rec.json()).1.parse::<u64>().expect("number") + 1;
                            let op = Op::Put {
                                resource: RESOURCE.into(),
                                key: key.clone(),
                                expect: Expect::revision(rec.revision),
                                new: body(&next.to_string()),
                            };
                            match crate::support::one(&store, op).await {
                                Ok(_) => break,
                                Err(Refused::Conflict { .. }) => {}
                                Err(other) => panic!("{other}"),
                            }
                        }
                    }
                }
            })
            .collect();
        futures::future::join_all(clients).await;
        let last = store
            .snapshot()
            .get(RESOURCE, &key)
            .expect("counter")
            .json();
        assert_eq!(value(&last).1, "160");
        let mut values = Vec::new();
        while values.len() < 160 {
            for event in watch.next(50).await.expect("events") {
                values.push(value(&event.new.as_ref().expect("state").json()).1);
            }
        }
        assert_eq!(values, (1..=160).map(|n| n.to_string()).collect::<Vec<_>>());
    });
}

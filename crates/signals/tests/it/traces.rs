//! How long traces are kept, that bytes are freed, and what happens when the disk is damaged or
//! full.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use towpath_query::promql::Matcher;
use towpath_query::traceql::{Resource, Span, SpanSource, Trace, TraceId, Value, Wanted};
use towpath_signals::traces::{NotTaken, Options, Rule, Store};
use towpath_stdx::Clock;

use crate::disk::{Mounted, fill, goes_on};
use crate::{Set, folder, wait};

const DAY: i64 = 86_400_000;
const START: i64 = 19_676 * DAY;

fn open(dir: &Path, clock: &Arc<Set>, change: impl FnOnce(&mut Options)) -> Store {
    let mut options = Options::new(dir.to_path_buf());
    change(&mut options);
    Store::open(options, Arc::clone(clock) as Arc<dyn Clock>)
        .unwrap()
        .0
}

fn id(number: u64) -> TraceId {
    let mut id = [7; 16];
    id[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    id
}

fn trace(service: &str, number: u64, at: i64) -> Trace {
    let resource = Arc::new(Resource {
        attributes: vec![("service.name".into(), Value::text(service))],
        ..Resource::default()
    });
    let spans = (0..5u8).map(|span| Span {
        id: [span + 1; 8],
        parent_id: [span; 8],
        name: format!("operation {number}").into(),
        start_ns: at as u64 * 1_000_000 + u64::from(span),
        duration_ns: 1000,
        attributes: vec![("url".into(), Value::text(format!("/{number:x}/{span}")))],
        resource: Arc::clone(&resource),
        ..Span::default()
    });
    Trace {
        id: id(number),
        spans: spans.collect(),
    }
}

fn blocks(dir: &Path) -> Vec<PathBuf> {
    let all = std::fs::read_dir(dir.join("blocks")).unwrap();
    let mut all: Vec<_> = all.map(|entry| entry.unwrap().path()).collect();
    all.sort();
    all
}

/// When the oldest trace of a service was.
fn oldest(store: &Store, service: &str) -> Option<i64> {
    let all = store.traces(&Wanted::everything(0, u64::MAX)).unwrap();
    let own = all.map(Result::unwrap).filter(|trace| {
        let attributes = &trace.spans[0].resource.attributes;
        attributes[0].1 == Value::text(service)
    });
    own.map(|trace| trace.spans[0].start_ns as i64 / 1_000_000)
        .min()
}

#[test]
fn rules_keep_traces_shorter_and_longer() {
    let dir = folder();
    let clock = Set::new(START);
    let rule = |service: &str, days: u64| Rule {
        matchers: vec![Matcher::equal("service", service)],
        keep: Duration::from_secs(days * 86_400),
    };
    let store = open(dir.path(), &clock, |options| {
        options.retention = Duration::from_secs(6 * 86_400);
        options.rules = vec![rule("short", 2), rule("long", 60)];
    });
    let mut end = START;
    for hour in (0..20 * 24u64).step_by(6) {
        end = START + hour as i64 * 3_600_000;
        clock.0.store(end, Ordering::SeqCst);
        for (place, service) in ["short", "long", "usual"].into_iter().enumerate() {
            let traces = (0..20).map(|n| trace(service, hour * 1000 + place as u64 * 100 + n, end));
            store.append(&traces.collect::<Vec<_>>()).unwrap();
        }
        clock.0.store(end + 301_000, Ordering::SeqCst);
        store.upkeep().unwrap();
    }
    let kept = |service: &str| end - oldest(&store, service).unwrap();
    assert_eq!(oldest(&store, "long"), Some(START), "as a rule says");
    assert!(
        (2 * DAY..=3 * DAY + DAY / 2).contains(&kept("short")),
        "{}",
        kept("short")
    );
    assert!(
        (6 * DAY - DAY / 2..8 * DAY).contains(&kept("usual")),
        "{}",
        kept("usual")
    );
    let statistics = store.statistics();
    let bytes = |path: &PathBuf| std::fs::metadata(path).unwrap().len();
    let on_disk: u64 = blocks(dir.path()).iter().map(bytes).sum();
    assert_eq!(statistics.block_bytes, on_disk);
    assert!(statistics.freed[0].1 > 10_000, "{:?}", statistics.freed);
}

#[test]
fn a_flipped_bit_is_named_and_the_rest_goes_on() {
    let dir = folder();
    let clock = Set::new(START);
    {
        let store = open(dir.path(), &clock, |_| {});
        for part in 0..3u64 {
            let at = START - 10_000_000 + part as i64 * 1_000_000;
            let all: Vec<Trace> = (0..50).map(|n| trace("a", part * 100 + n, at)).collect();
            store.append(&all).unwrap();
            store.flush().unwrap();
        }
    }
    let damaged = blocks(dir.path())[1].clone();
    let mut bytes = std::fs::read(&damaged).unwrap();
    bytes[200] ^= 4;
    std::fs::write(&damaged, bytes).unwrap();
    let store = open(dir.path(), &clock, |_| {});
    let why = store.trace(&id(101)).unwrap_err();
    assert!(
        why.contains(damaged.to_str().unwrap()) && why.contains("checksum"),
        "{why}"
    );
    // Few of the others look as if they could be in it.
    let others = (0..50).chain(200..250);
    let found = others.filter(|n| store.trace(&id(*n)).is_ok_and(|found| found.is_some()));
    assert!(found.count() > 90);
    // The others are still made one; only the first time is it told.
    let mut failed = 0;
    for round in 0..30u64 {
        store.append(&[trace("a", 1000 + round, START)]).unwrap();
        store.flush().unwrap();
        failed += u32::from(store.upkeep().is_err());
    }
    assert_eq!(failed, 1);
    assert!(store.statistics().blocks < 12, "{:?}", store.statistics());
    assert!(damaged.exists());
    // What is too old goes all the same.
    clock.0.fetch_add(8 * DAY, Ordering::SeqCst);
    store.upkeep().unwrap();
    assert_eq!(blocks(dir.path()), Vec::<PathBuf>::new());
}

/// Whatever byte the disk loses: the traces are found, or it is told that something is damaged.
#[test]
fn no_damage_hides_traces_in_silence() {
    let dir = folder();
    let clock = Set::new(START);
    {
        let store = open(dir.path(), &clock, |_| {});
        let all: Vec<Trace> = (0..10).map(|n| trace("a", n, START - 60_000)).collect();
        store.append(&all).unwrap();
        store.flush().unwrap();
    }
    let ask = |store: &Store| -> Result<(usize, Option<Trace>, usize), String> {
        let all = store.traces(&Wanted::everything(0, u64::MAX))?;
        let all = all.collect::<Result<Vec<_>, _>>()?;
        let text = "{ span.url = \"/4/2\" }";
        let query = towpath_query::traceql::parse(text).map_err(|error| error.to_string())?;
        let found = store.traces(&Wanted::of(&query, 0, u64::MAX))?;
        let found = found.collect::<Result<Vec<_>, _>>()?;
        Ok((all.len(), store.trace(&id(7))?, found.len()))
    };
    let known = ask(&open(dir.path(), &clock, |_| {})).unwrap();
    assert!(
        known.0 == 10 && known.1.is_some() && known.2 >= 1,
        "{known:?}"
    );
    let file = blocks(dir.path())[0].clone();
    let whole = std::fs::read(&file).unwrap();
    let mut told = 0;
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] = if bytes[at] == 0 { 0xff } else { 0 };
        std::fs::write(&file, bytes).unwrap();
        let store = open(dir.path(), &clock, |_| {});
        match ask(&store) {
            Ok(answers) if answers == known => {}
            Ok(answers) => {
                assert!(store.statistics().damaged > 0, "byte {at}: {answers:?}");
                told += 1;
            }
            Err(why) => {
                assert!(why.contains(file.to_str().unwrap()), "byte {at}: {why}");
                assert_eq!(store.statistics().damaged, 1, "byte {at}: {why}");
                told += 1;
            }
        }
    }
    assert!(told * 10 > whole.len() * 9, "{told} of {}", whole.len());
}

#[test]
fn a_full_disk_refuses_traces_and_goes_on_when_there_is_room() {
    let Some(mounted) = Mounted::new() else {
        return;
    };
    let dir = mounted.0.path().join("traces");
    let clock = Set::new(START);
    let store = open(&dir, &clock, |_| {});
    let mut next = 0u64;
    let mut taken = Vec::new();
    let mut append = |store: &Store| {
        let all: Vec<Trace> = (0..200).map(|n| trace("a", next + n, START)).collect();
        next += 200;
        let done = store.append(&all);
        if done.is_ok() {
            taken.extend(all.iter().map(|trace| trace.id));
        }
        (done, taken.len())
    };
    append(&store).0.unwrap();
    wait(store.sync()).unwrap();
    let filler = mounted.0.path().join("filler");
    fill(&filler, 300_000);
    let mut refused = None;
    for _ in 0..200 {
        if let Err(why) = append(&store).0 {
            refused = Some(why);
            break;
        }
        let _ = wait(store.sync());
    }
    let refused = refused.unwrap();
    assert!(
        matches!(&refused, NotTaken::Busy(why) if why.contains("disk full")),
        "{refused}"
    );
    // Upkeep may fail and does not hang; reads go on.
    let _ = store.flush();
    assert!(store.trace(&id(0)).unwrap().is_some());
    std::fs::remove_file(&filler).unwrap();
    goes_on(|| append(&store).0.is_ok());
    wait(store.sync()).unwrap();
    store.flush().unwrap();
    drop(store);
    let store = open(&dir, &clock, |_| {});
    for id in &taken {
        assert!(store.trace(id).unwrap().is_some(), "nothing taken is lost");
    }
}

//! Where alerts become cases: hears what rules tell, explains, keeps, and closes what is quiet.
//!
//! Everything that matters is kept before the next alert is taken, and names come from causes: a
//! server that is killed finds its open cases again and opens none twice. Rules tell again and
//! again what fires, so what is lost between two of them is told once more.

use super::book::{self, Book, Heard};
use super::case::{Alike, Case, CaseAlert, State, Subject, Verdict};
use super::hearing::{Inbox, Word};
use super::shelf::Shelf;
use super::subject::subject;
use super::why::{Explanation, Question, Why};
use super::{judge, present};
use crate::ledger::{ChangeKind, Object, Place};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use towpath_daemon::Service;

/// A case that was closed is taken up again within this time.
const REOPEN_MS: i64 = 3_600_000;
/// Cases of before that a case names.
const ALIKE: usize = 5;
/// Closed cases that are looked through for those.
const PAST: usize = 500;
const PRUNE_MS: i64 = 3_600_000;

/// How cases are kept.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How long nothing must fire before a case is closed.
    pub quiet: Duration,
    /// How long cases are kept.
    pub retention: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            quiet: Duration::from_secs(300),
            retention: Duration::from_secs(365 * 86_400),
        }
    }
}

/// Takes alerts from the inbox.
struct Desk {
    why: Why,
    shelf: Shelf,
    settings: Settings,
    book: Book,
    /// Subjects of cases that were closed a while ago.
    closed: Vec<(Object, String, i64)>,
    pruned_at: i64,
}

/// Opens and closes cases until it is cancelled, once the services in `after` are ready.
pub fn service(
    why: Why,
    shelf: Shelf,
    inbox: Inbox,
    settings: Settings,
    after: &[&'static str],
) -> Service {
    Service::new("cases", after, move |mut context| async move {
        let mut desk = Desk {
            why,
            shelf,
            settings,
            book: Book::default(),
            closed: Vec::new(),
            pruned_at: 0,
        };
        desk.resume().await;
        context.ready();
        desk.run(inbox, context.cancel).await;
        Ok(())
    })
}

/// The environment of a subject.
fn place(why: &Why, of: &Object) -> Option<Place> {
    match of.kind.as_str() {
        "Namespace" => why.observed.place(&of.name),
        _ => why.observed.place(&of.namespace),
    }
}

impl Desk {
    fn quiet_ms(&self) -> i64 {
        i64::try_from(self.settings.quiet.as_millis()).unwrap_or(i64::MAX)
    }

    fn place(&self, of: &Object) -> Option<Place> {
        place(&self.why, of)
    }

    /// Takes up what was open when the server ended.
    async fn resume(&mut self) {
        let now = self.why.now();
        let lines = match self.shelf.list(None, "", PAST).await {
            Ok(lines) => lines,
            Err(error) => {
                tracing::error!(%error, "cases of before are not taken up");
                return;
            }
        };
        let mut open = Vec::new();
        for line in lines {
            match (line.state, line.closed_at) {
                (State::Open, _) => match self.shelf.get(&line.id).await {
                    Ok(Some(case)) if case.state == State::Open => open.push(case),
                    Ok(_) => {}
                    Err(error) => tracing::error!(%error, case = line.id, "a case is damaged"),
                },
                (State::Closed, Some(at)) if now - at < REOPEN_MS => {
                    self.closed.push((line.subject.object(), line.id, at));
                }
                (State::Closed, _) => {}
            }
        }
        self.book = Book::new(open, now);
    }

    async fn run(mut self, mut inbox: Inbox, cancel: CancellationToken) {
        let changes = self.why.ledger.noted();
        let mut look = true;
        while !cancel.is_cancelled() {
            let now = self.why.now();
            for case in self.book.tick(now, self.quiet_ms()) {
                self.close(case).await;
            }
            if look {
                self.interventions(now).await;
            }
            self.judge(now);
            self.explain_due().await;
            self.keep().await;
            self.prune(now).await;
            inbox.wait(self.book.waits());
            let next = self.book.next(self.quiet_ms());
            let wait = next.map_or(60_000, |at| (at - self.why.now()).clamp(50, 60_000));
            look = false;
            tokio::select! {
                () = cancel.cancelled() => {}
                heard = inbox.words.recv() => match heard {
                    // Where there are no rules, nothing will ever be told.
                    None => cancel.cancelled().await,
                    Some(first) => {
                        let mut next = Some(first);
                        while let Some(word) = next {
                            match word {
                                Word::Alert(heard) => self.hear(*heard).await,
                                Word::Known(rules) => self.book.settle(&rules),
                            }
                            next = inbox.words.try_recv().ok();
                        }
                    }
                },
                () = changes.notified() => look = true,
                () = tokio::time::sleep(Duration::from_millis(wait.unsigned_abs())) => {}
            }
        }
        self.keep().await;
    }

    async fn hear(&mut self, heard: Heard) {
        let now = self.why.now();
        let print = heard.print();
        if heard.until <= now {
            self.book.end(print, heard.until);
            return;
        }
        if let Some(id) = self.book.holding(print).map(str::to_owned) {
            self.book.join(&id, None, heard, now);
            return;
        }
        let whom = subject(&heard.alert.labels, &self.why.observed);
        if let Some(id) = self.book.of(&whom).map(str::to_owned) {
            self.book.join(&id, Some(&whom), heard, now);
            return;
        }
        if !book::opens(&heard.alert) {
            return;
        }
        if let Some(id) = self.again(&whom, &heard.alert, now).await {
            self.book.join(&id, Some(&whom), heard, now);
            self.keep().await;
            return;
        }
        self.begin(whom, heard, now).await;
    }

    /// A case that was closed and goes on.
    async fn again(&mut self, whom: &Object, alert: &CaseAlert, now: i64) -> Option<String> {
        self.closed.retain(|(_, _, at)| now - at < REOPEN_MS);
        let own = book::name(whom, alert.starts_at);
        let mut found = self.shelf.get(&own).await.ok().flatten();
        if found.is_none() {
            let place = self
                .closed
                .iter()
                .position(|(object, _, _)| object == whom)?;
            let (_, id, at) = self.closed[place].clone();
            let changes = self
                .why
                .ledger
                .between(at, now, &whom.namespace, PAST)
                .await;
            // Another version that fails is another case.
            let new = changes.unwrap_or_default().iter().any(|change| {
                matches!(change.kind, ChangeKind::Deploy | ChangeKind::Config)
                    && (change.object == *whom || change.touched.contains(whom))
            });
            if new {
                return None;
            }
            found = self.shelf.get(&id).await.ok().flatten();
        }
        let mut case = found?;
        let id = case.id.clone();
        self.closed.retain(|(_, closed, _)| *closed != id);
        case.state = State::Open;
        case.closed_at = None;
        case.note(now, "reopened", format!("{} fires again", alert.name), None);
        self.book.open(case, now).then_some(id)
    }

    /// A case that is new, unless what is behind it already has one.
    async fn begin(&mut self, whom: Object, heard: Heard, now: i64) {
        let place = self.place(&whom);
        let subject = Subject {
            kind: whom.kind.clone(),
            namespace: whom.namespace.clone(),
            name: whom.name.clone(),
            ..Subject::default()
        };
        let mut case = book::fresh(subject, &heard.alert);
        let found = self.explain(&whom, &heard.alert).await;
        let calls = found.calls.clone();
        present::take(&mut case, found, place.as_ref(), now);
        if let Some(id) = self.book.like(&case, &calls).map(str::to_owned) {
            self.book.join(&id, Some(&whom), heard, now);
            return;
        }
        case.similar = self.alike(&case).await;
        let words = format!("{} opened it", heard.alert.name);
        case.note(now, "opened", words, None);
        let id = case.id.clone();
        if !self.book.open(case, now) {
            tracing::warn!(subject = %whom, "no case is opened: {} are open", book::OPEN);
            return;
        }
        self.book.join(&id, Some(&whom), heard, now);
        if let Some(open) = self.book.open.get_mut(&id) {
            present::words(&mut open.case, place.as_ref());
        }
        tracing::info!(case = id, subject = %whom, "a case is open");
        self.keep().await;
    }

    async fn explain(&self, whom: &Object, alert: &CaseAlert) -> Explanation {
        let (namespace, workload) = match whom.kind.as_str() {
            "Namespace" => (whom.name.clone(), None),
            _ => (whom.namespace.clone(), Some(whom.clone())),
        };
        let question = Question {
            namespace,
            workload,
            felt: None,
            alert: Some((alert.starts_at, book::felt(alert))),
        };
        self.why.explain(&question).await
    }

    async fn explain_due(&mut self) {
        let now = self.why.now();
        let due: Vec<String> = self
            .book
            .open
            .values()
            .filter(|open| open.due().is_some_and(|due| due <= now))
            .map(|open| open.case.id.clone())
            .collect();
        for id in due {
            let Some(open) = self.book.open.get_mut(&id) else {
                continue;
            };
            open.told(now);
            let whom = open.case.subject.object();
            let firing = open.case.alerts.iter().find(|a| a.ends_at.is_none());
            let Some(alert) = firing.or(open.case.alerts.first()).cloned() else {
                continue;
            };
            let found = self.explain(&whom, &alert).await;
            let place = self.place(&whom);
            if let Some(open) = self.book.open.get_mut(&id) {
                present::take(&mut open.case, found, place.as_ref(), self.why.now());
                open.changed = true;
            }
        }
    }

    async fn interventions(&mut self, now: i64) {
        for open in self.book.open.values_mut() {
            let case = &mut open.case;
            let causes = case.causes.iter().map(|cause| &cause.object);
            let subject = case.subject.object();
            let objects = causes.chain(&case.also).chain([&subject]);
            let spaces: BTreeSet<String> = objects
                .map(|object| match object.kind.as_str() {
                    "Namespace" => object.name.clone(),
                    _ => object.namespace.clone(),
                })
                .filter(|namespace| !namespace.is_empty())
                .collect();
            for space in spaces {
                let changes = self.why.ledger.between(case.opened_at, now, &space, PAST);
                let changes = changes.await.unwrap_or_default();
                open.changed |= judge::record(case, &changes);
            }
        }
    }

    fn judge(&mut self, now: i64) {
        for open in self.book.open.values_mut() {
            let ended = match open.fires() {
                true => None,
                false => open.case.ended(),
            };
            if judge::judge(&mut open.case, ended, now) {
                let place = place(&self.why, &open.case.subject.object());
                present::words(&mut open.case, place.as_ref());
                open.changed = true;
            }
        }
    }

    async fn close(&mut self, mut case: Case) {
        let now = self.why.now();
        let ended = case.ended();
        judge::judge(&mut case, ended, now);
        let place = self.place(&case.subject.object());
        present::words(&mut case, place.as_ref());
        case.updated_at = now;
        tracing::info!(case = case.id, "a case is closed");
        self.closed
            .push((case.subject.object(), case.id.clone(), now));
        if let Err(error) = self.shelf.put(&case).await {
            tracing::error!(%error, case = case.id, "a case is not kept");
        }
    }

    async fn keep(&mut self) {
        let now = self.why.now();
        for open in self.book.open.values_mut().filter(|open| open.changed) {
            open.case.updated_at = now;
            match self.shelf.put(&open.case).await {
                Ok(()) => open.changed = false,
                Err(error) => tracing::error!(%error, case = open.case.id, "a case is not kept"),
            }
        }
    }

    async fn alike(&self, case: &Case) -> Vec<Alike> {
        let lines = self.shelf.list(Some(State::Closed), "", PAST).await;
        let cause = case.causes.first();
        let lines = lines.unwrap_or_default().into_iter();
        let alike = lines.filter(|line| {
            let same = line.cause.as_ref().zip(cause);
            line.subject.object() == case.subject.object()
                || same.is_some_and(|(past, now)| past.words == now.words)
        });
        let told = alike.take(ALIKE).map(|line| {
            let (cause, verdict) = match line.cause {
                Some(cause) => (cause.words, cause.verdict),
                None => (String::new(), Verdict::Suspected),
            };
            Alike {
                id: line.id,
                title: line.title,
                opened_at: line.opened_at,
                closed_at: line.closed_at,
                cause,
                confirmed: verdict == Verdict::Confirmed,
            }
        });
        told.collect()
    }

    async fn prune(&mut self, now: i64) {
        if now - self.pruned_at < PRUNE_MS {
            return;
        }
        self.pruned_at = now;
        let oldest = self.why.clock.since_epoch();
        let oldest = oldest.saturating_sub(self.settings.retention);
        if let Err(error) = self.shelf.prune(oldest).await {
            tracing::warn!(%error, "old cases stay");
        }
    }
}

//! One priority level: so many requests at a time, and queues for the others, one per flow. A
//! seat that becomes free goes to the flow that holds the fewest, in turn where several do, so
//! that who asks a lot waits for itself and nobody else.

use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::oneshot;

/// What a level's object says, and the seats that follow from its shares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Rules {
    pub(super) exempt: bool,
    /// Seats of its own, and how many of them others may use while they are free.
    pub(super) seats: usize,
    pub(super) lendable: usize,
    /// Most seats it uses, with those of others.
    pub(super) most: usize,
    /// None where requests are refused at once.
    pub(super) queue: Option<Queue>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Queue {
    /// Most requests of one flow that wait, and of all.
    pub(super) flow: usize,
    pub(super) all: usize,
}

impl Rules {
    fn has_room(&self, running: usize, spare: impl Fn() -> bool) -> bool {
        self.exempt || running < self.seats || running < self.most && spare()
    }
}

#[derive(Default)]
struct State {
    rules: Rules,
    running: usize,
    waiting: usize,
    flows: BTreeMap<String, Flow>,
    turn: u64,
}

#[derive(Default)]
struct Flow {
    running: usize,
    /// When it was served last.
    served: u64,
    queue: VecDeque<oneshot::Sender<Seat>>,
}

/// A level and its counts.
pub(super) struct Level {
    pub(super) name: String,
    pub(super) uid: String,
    state: Mutex<State>,
    pub(super) dispatched: AtomicU64,
    pub(super) full: AtomicU64,
    pub(super) late: AtomicU64,
}

/// What happens to a request.
pub(super) enum Entry {
    /// It runs.
    Now(Seat),
    /// It runs when this gives a seat.
    Later(oneshot::Receiver<Seat>),
    /// There is no room.
    Refused,
}

impl Level {
    pub(super) fn new(name: &str, uid: &str) -> Self {
        Self {
            name: name.into(),
            uid: uid.into(),
            state: Mutex::default(),
            dispatched: AtomicU64::new(0),
            full: AtomicU64::new(0),
            late: AtomicU64::new(0),
        }
    }

    pub(super) fn set(&self, rules: Rules) {
        self.state.lock().rules = rules;
    }

    pub(super) fn is_exempt(&self) -> bool {
        self.state.lock().rules.exempt
    }

    /// Seats in use, waiting, seats of its own.
    pub(super) fn counts(&self) -> (usize, usize, usize) {
        let state = self.state.lock();
        (state.running, state.waiting, state.rules.seats)
    }

    /// Seats that it keeps for itself and does not use now.
    pub(super) fn reserved(&self) -> usize {
        let state = self.state.lock();
        let kept = state.rules.seats.saturating_sub(state.rules.lendable);
        kept.saturating_sub(state.running)
    }

    /// Takes a seat, a place in the queue, or neither; `spare` tells whether a seat of others may
    /// be used.
    pub(super) fn enter(self: &Arc<Self>, flow: &str, spare: bool) -> Entry {
        let mut state = self.state.lock();
        let rules = state.rules;
        let room = rules.has_room(state.running, || spare);
        let others = state.waiting > 0 && !rules.exempt;
        if room && !others {
            state.start(flow);
            self.dispatched.fetch_add(1, Ordering::Relaxed);
            return Entry::Now(self.seat(flow));
        }
        let Some(queue) = rules.queue else {
            self.full.fetch_add(1, Ordering::Relaxed);
            return Entry::Refused;
        };
        let waiting = state.flows.get(flow).map_or(0, |flow| flow.queue.len());
        if waiting >= queue.flow || state.waiting >= queue.all {
            self.full.fetch_add(1, Ordering::Relaxed);
            return Entry::Refused;
        }
        let (tell, told) = oneshot::channel();
        state
            .flows
            .entry(flow.into())
            .or_default()
            .queue
            .push_back(tell);
        state.waiting += 1;
        if room {
            self.next(&mut state);
        }
        Entry::Later(told)
    }

    fn seat(self: &Arc<Self>, flow: &str) -> Seat {
        Seat {
            level: self.clone(),
            flow: flow.into(),
            held: true,
        }
    }

    // Gives one free seat to whoever it is for.
    fn next(self: &Arc<Self>, state: &mut State) -> bool {
        loop {
            let found = state
                .flows
                .iter()
                .filter(|(_, flow)| !flow.queue.is_empty())
                .min_by_key(|(_, flow)| (flow.running, flow.served))
                .map(|(name, _)| name.clone());
            let Some(name) = found else { return false };
            let Some(flow) = state.flows.get_mut(&name) else {
                return false;
            };
            let Some(tell) = flow.queue.pop_front() else {
                return false;
            };
            state.waiting -= 1;
            state.start(&name);
            // Whoever has given up waiting takes no seat.
            match tell.send(self.seat(&name)) {
                Ok(()) => {
                    self.dispatched.fetch_add(1, Ordering::Relaxed);
                    return true;
                }
                Err(mut seat) => {
                    // The state is held here already.
                    seat.held = false;
                    state.end(&name);
                }
            }
        }
    }

    /// Lets those run that there is room for.
    pub(super) fn fill(self: &Arc<Self>, spare: impl Fn() -> bool) {
        loop {
            let (running, rules) = {
                let state = self.state.lock();
                if state.waiting == 0 {
                    return;
                }
                (state.running, state.rules)
            };
            if !rules.has_room(running, &spare) {
                return;
            }
            if !self.next(&mut self.state.lock()) {
                return;
            }
        }
    }
}

impl State {
    fn start(&mut self, flow: &str) {
        self.turn += 1;
        let turn = self.turn;
        let flow = self.flows.entry(flow.into()).or_default();
        flow.running += 1;
        flow.served = turn;
        self.running += 1;
    }

    fn end(&mut self, name: &str) {
        self.running = self.running.saturating_sub(1);
        if let Some(flow) = self.flows.get_mut(name) {
            flow.running = flow.running.saturating_sub(1);
            if flow.running == 0 && flow.queue.is_empty() {
                self.flows.remove(name);
            }
        }
    }
}

/// A request that runs; its seat is free again when this goes.
pub(super) struct Seat {
    pub(super) level: Arc<Level>,
    flow: String,
    held: bool,
}

impl Drop for Seat {
    fn drop(&mut self) {
        if self.held {
            self.level.state.lock().end(&self.flow);
            self.level.fill(|| false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(seats: usize, flow: usize) -> Arc<Level> {
        let level = Arc::new(Level::new("l", "u"));
        level.set(Rules {
            seats,
            most: 10 * seats,
            queue: Some(Queue { flow, all: 100 }),
            ..Rules::default()
        });
        level
    }

    fn now(entry: Entry) -> Seat {
        match entry {
            Entry::Now(seat) => seat,
            Entry::Later(_) => panic!("it waits"),
            Entry::Refused => panic!("it was refused"),
        }
    }

    fn later(entry: Entry) -> oneshot::Receiver<Seat> {
        match entry {
            Entry::Later(told) => told,
            Entry::Now(_) => panic!("it runs already"),
            Entry::Refused => panic!("it was refused"),
        }
    }

    #[test]
    fn a_flood_waits_for_itself() {
        let level = level(2, 5);
        let (first, _second) = (
            now(level.enter("flood", false)),
            now(level.enter("flood", false)),
        );
        let mut waiting: Vec<_> = (0..5).map(|_| later(level.enter("flood", false))).collect();
        assert!(matches!(level.enter("flood", false), Entry::Refused));
        let mut other = later(level.enter("other", false));
        drop(first);
        let seat = other.try_recv().expect("the other flow holds no seat yet");
        assert!(waiting[0].try_recv().is_err());
        drop(seat);
        let _third = waiting[0].try_recv().expect("its turn");
        assert_eq!(level.counts(), (2, 4, 2));
    }

    #[test]
    fn who_gave_up_takes_no_seat() {
        let level = level(1, 5);
        let first = now(level.enter("a", false));
        drop(later(level.enter("a", false)));
        let mut second = later(level.enter("a", false));
        let third = later(level.enter("a", false));
        drop(first);
        let second = second.try_recv().expect("a seat");
        assert_eq!(level.counts(), (1, 1, 1));
        // Given, but nobody looks any more: it is free again.
        drop(second);
        assert_eq!(level.counts(), (1, 0, 1));
        drop(third);
        assert_eq!(level.counts(), (0, 0, 1));
    }

    #[test]
    fn spare_seats_are_used_and_reserved_ones_are_not_lent() {
        let level = level(1, 5);
        let first = now(level.enter("a", false));
        let _lent = now(level.enter("b", true));
        let _waits = later(level.enter("c", false));
        assert_eq!(level.reserved(), 0);
        drop(first);
        assert_eq!(level.counts(), (1, 1, 1));
    }
}

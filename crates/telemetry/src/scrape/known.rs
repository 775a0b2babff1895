//! What is known of a target from scrape to scrape: its series, and the page it showed last.
//!
//! Most of a page is the page before, line by line, with some other numbers. So the lines are kept
//! in order with what became of them: who compares the next line with the one that came after the
//! last one before needs no parser, no labels and no table for it. The table of all series by what
//! identifies them is made only where pages differ in more than numbers.

use std::collections::HashSet;
use std::ops::Range;

use towpath_query::promql::Labels;
use towpath_signals::SeriesRef;
use towpath_stdx::keyed::{Fingerprint, Ids};

use crate::wire::Kind;

/// What one line was.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum What {
    /// Something about a family, whose name is the name of the line; its kind where it says that.
    Said(Option<Kind>),
    /// A number of a series and nothing else, and the end of the line.
    Plain(u32, f64),
    /// A series, with more than a number.
    Series(u32),
    /// A series behind lines that were left out, which count perhaps next time.
    Behind(u32),
    /// Nothing that could come again.
    Other,
}

/// A line, with all that is skipped before it. It begins where the one before ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Line {
    pub(super) end: u32,
    /// Where the name is: what identifies the series, or the family.
    pub(super) name: (u32, u32),
    pub(super) what: What,
}

impl Line {
    fn slot(&self) -> Option<u32> {
        match self.what {
            What::Plain(slot, _) | What::Series(slot) | What::Behind(slot) => Some(slot),
            What::Said(_) | What::Other => None,
        }
    }

    pub(super) fn name(&self) -> Range<usize> {
        self.name.0 as usize..self.name.1 as usize
    }
}

/// Bytes and the lines in them.
#[derive(Default)]
pub(super) struct Page {
    body: Vec<u8>,
    lines: Vec<Line>,
}

/// Where it is written what identifies a series.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    /// In this line of the page.
    Page(u32),
    /// In this line of the page that is being read.
    Coming(u32),
    /// In the list of those that no page has.
    Loose(u32),
}

/// A series of the target.
struct Slot {
    /// None if rules drop it.
    series: Option<SeriesRef>,
    place: Place,
    /// The round in which it was there last.
    seen: u32,
    /// The list it was put on last, and the one before: see [`Known::list`].
    listed: u32,
    before: u32,
}

/// Everything that is known of one target.
pub(super) struct Known {
    slots: Vec<Slot>,
    /// Labels of the slots, as they are stored.
    labels: Vec<Labels>,
    page: Page,
    coming: Vec<Line>,
    /// The line of the page that is expected next.
    next: usize,
    /// What is read is not the page line by line.
    moved: bool,
    /// Lines about families came again and were not heard.
    passed: bool,
    loose: Vec<(u32, Box<[u8]>)>,
    /// Slots by what identifies them; made when it is needed.
    index: Option<Ids>,
    fingerprint: Fingerprint,
    round: u32,
    /// How many slots were seen in this round.
    seen: usize,
    /// How many slots there were after the last success.
    settled: usize,
    /// The list that is written, and the one that was written before it.
    list: u32,
    previous: u32,
    /// What was on a list of before the start.
    left: HashSet<SeriesRef>,
}

impl Default for Known {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            labels: Vec::new(),
            page: Page::default(),
            coming: Vec::new(),
            next: 0,
            moved: false,
            passed: false,
            loose: Vec::new(),
            index: None,
            fingerprint: Fingerprint::default(),
            round: 1,
            seen: 0,
            settled: 0,
            list: 2,
            previous: 1,
            left: HashSet::new(),
        }
    }
}

impl Known {
    /// A page is read from here on; tells about how many series will be in it.
    pub(super) fn begin(&mut self) -> usize {
        self.coming.clear();
        self.coming.reserve(self.page.lines.len());
        self.next = 0;
        (self.moved, self.passed) = (false, false);
        self.slots.len()
    }

    /// The line that is expected next, with its bytes and where they begin.
    #[inline]
    pub(super) fn expected(&self) -> Option<(Line, &[u8], usize)> {
        let line = self.page.lines.get(self.next)?;
        let begin = match self.next {
            0 => 0,
            next => self.page.lines[next - 1].end,
        };
        let bytes = self.page.body.get(begin as usize..line.end as usize)?;
        Some((*line, bytes, begin as usize))
    }

    /// The expected line has come.
    #[inline]
    pub(super) fn came(&mut self, line: Line) {
        self.next += 1;
        self.passed |= matches!(line.what, What::Said(_));
        self.coming.push(line);
    }

    /// Where families are described in what was read, if that was not heard line by line; nothing
    /// if it is the page before, which says the same of all of them in the end.
    pub(super) fn described(&self) -> Vec<Range<usize>> {
        let same = !self.moved && self.coming.len() == self.page.lines.len();
        if same || !self.passed {
            return Vec::new();
        }
        let begins = std::iter::once(0).chain(self.coming.iter().map(|line| line.end as usize));
        let said = begins.zip(&self.coming);
        let said = said.filter(|(_, line)| line.slot().is_none());
        said.map(|(begin, line)| begin..line.end as usize).collect()
    }

    /// A line has come that was read; a series of it was found or added just before.
    pub(super) fn was_read(&mut self, line: Line) {
        self.moved |= line.slot().is_none();
        self.coming.push(line);
    }

    /// The series that this identifies; after it comes what came after it before. `body` is the one
    /// that is read.
    pub(super) fn find(&mut self, key: &[u8], body: &[u8]) -> Option<u32> {
        if let Some(line) = self.page.lines.get(self.next)
            && let Some(slot) = line.slot()
            && self.page.body.get(line.name()) == Some(key)
        {
            self.next += 1;
            return Some(slot);
        }
        self.moved = true;
        if self.index.is_none() {
            self.index = Some(self.indexed());
        }
        let hash = self.fingerprint.of([key]);
        let index = self.index.as_ref()?;
        let slot = index.get(hash, |slot| self.key(slot, body) == key)?;
        if let Place::Page(line) = self.slots[slot as usize].place {
            self.next = line as usize + 1;
        }
        Some(slot)
    }

    fn indexed(&self) -> Ids {
        let mut index = Ids::default();
        index.reserve(self.slots.len());
        for (at, _) in self.slots.iter().enumerate() {
            let slot = at as u32;
            index.insert(self.fingerprint.of([self.key(slot, &[])]), slot);
        }
        index
    }

    fn key<'k>(&'k self, slot: u32, body: &'k [u8]) -> &'k [u8] {
        let (line, body) = match self.slots[slot as usize].place {
            Place::Page(line) => (self.page.lines.get(line as usize), &self.page.body[..]),
            Place::Coming(line) => (self.coming.get(line as usize), body),
            Place::Loose(at) => return &self.loose[at as usize].1,
        };
        line.and_then(|line| body.get(line.name()))
            .unwrap_or_default()
    }

    /// Adds a series that [`Self::find`] did not find, and which is in the line that comes next.
    pub(super) fn add(&mut self, key: &[u8], series: Option<SeriesRef>, labels: Labels) -> u32 {
        let slot = self.slots.len() as u32;
        let hash = self.fingerprint.of([key]);
        if let Some(index) = &mut self.index {
            index.insert(hash, slot);
        }
        self.slots.push(Slot {
            series,
            place: Place::Coming(self.coming.len() as u32),
            seen: self.round,
            listed: 0,
            before: 0,
        });
        self.labels.push(labels);
        self.seen += 1;
        slot
    }

    /// The series of a slot and whether it was there before in this round.
    #[inline]
    pub(super) fn see(&mut self, slot: u32) -> (Option<SeriesRef>, bool) {
        let own = &mut self.slots[slot as usize];
        let again = std::mem::replace(&mut own.seen, self.round) == self.round;
        self.seen += usize::from(!again);
        (own.series, again)
    }

    /// The end of a series is to be marked when it is not listed next time.
    #[inline]
    pub(super) fn list(&mut self, slot: u32) {
        let own = &mut self.slots[slot as usize];
        if own.listed != self.list {
            own.before = std::mem::replace(&mut own.listed, self.list);
        }
    }

    /// These were listed last time, by somebody before.
    pub(super) fn left(&mut self, series: HashSet<SeriesRef>) {
        self.left = series;
    }

    /// Nothing was listed after all.
    pub(super) fn unlist(&mut self) {
        self.list += 1;
    }

    /// The series that were listed last time and are not now.
    pub(super) fn gone(&self) -> Vec<SeriesRef> {
        let listed = |slot: &&Slot| slot.listed == self.list;
        let gone = self.slots.iter().filter(|slot| {
            !listed(slot) && (slot.listed == self.previous || slot.before == self.previous)
        });
        let gone = gone.filter_map(|slot| slot.series);
        let gone: HashSet<SeriesRef> = gone.chain(self.left.iter().copied()).collect();
        if gone.is_empty() {
            return Vec::new();
        }
        // The same series may have been written in another way.
        let here = self.slots.iter().filter(listed);
        let here: HashSet<SeriesRef> = here.filter_map(|slot| slot.series).collect();
        gone.difference(&here).copied().collect()
    }

    /// Calls `renew` with the labels of every series that is in `lost`: it is another one now.
    pub(super) fn renew(
        &mut self,
        lost: &HashSet<SeriesRef>,
        mut renew: impl FnMut(SeriesRef, &Labels) -> Option<SeriesRef>,
    ) {
        for (slot, labels) in self.slots.iter_mut().zip(&self.labels) {
            if let Some(series) = slot.series.filter(|series| lost.contains(series))
                && let Some(new) = renew(series, labels)
            {
                slot.series = Some(new);
            }
        }
    }

    /// The round is over and was good: the page that was read is what is known. What is not in it
    /// is forgotten. Gives back the bytes of the page before.
    pub(super) fn keep(&mut self, body: Vec<u8>) -> Vec<u8> {
        let count = self.slots.len();
        let same = !self.moved && self.coming.len() == self.page.lines.len();
        std::mem::swap(&mut self.page.lines, &mut self.coming);
        let old = std::mem::replace(&mut self.page.body, body);
        if self.page.body.capacity() > 2 * self.page.body.len() + 4096 {
            self.page.body.shrink_to_fit();
        }
        self.coming = Vec::new();
        if !same {
            for (at, line) in self.page.lines.iter().enumerate() {
                if let Some(slot) = line.slot() {
                    self.slots[slot as usize].place = Place::Page(at as u32);
                }
            }
        }
        if self.seen < count {
            self.forget();
        }
        self.loose = Vec::new();
        if !self.moved {
            self.index = None;
        }
        self.settled = count;
        self.turn();
        old
    }

    /// The round is over and brought nothing: the page before is what is known, and the series
    /// that came new in the one that was read.
    pub(super) fn leave(&mut self, body: &[u8]) {
        for slot in 0..self.slots.len() as u32 {
            if matches!(self.slots[slot as usize].place, Place::Coming(_)) {
                let at = self.loose.len() as u32;
                let key = Box::from(self.key(slot, body));
                self.loose.push((slot, key));
                self.slots[slot as usize].place = Place::Loose(at);
            }
        }
        self.coming = Vec::new();
        if self.slots.len() > self.settled * 2 + 1000 {
            self.forget();
        }
        self.turn();
    }

    /// Forgets the slots that were not seen in this round.
    fn forget(&mut self) {
        let mut numbers = Vec::with_capacity(self.slots.len());
        let mut left = 0u32;
        for slot in &self.slots {
            let stays = slot.seen == self.round;
            numbers.push(stays.then_some(left));
            left += u32::from(stays);
        }
        let mut stays = numbers.iter();
        self.labels
            .retain(|_| matches!(stays.next(), Some(Some(_))));
        let round = self.round;
        self.slots.retain(|slot| slot.seen == round);
        let number = |slot: u32| numbers.get(slot as usize).copied().flatten();
        for line in &mut self.page.lines {
            line.what = match line.what {
                What::Plain(slot, value) => {
                    number(slot).map_or(What::Other, |slot| What::Plain(slot, value))
                }
                What::Series(slot) => number(slot).map_or(What::Other, What::Series),
                What::Behind(slot) => number(slot).map_or(What::Other, What::Behind),
                other => other,
            };
        }
        self.loose.retain_mut(|(slot, _)| {
            let new = number(*slot);
            *slot = new.unwrap_or_default();
            new.is_some()
        });
        for (at, (slot, _)) in self.loose.iter().enumerate() {
            if let Place::Loose(place) = &mut self.slots[*slot as usize].place {
                *place = at as u32;
            }
        }
        self.index = None;
    }

    fn turn(&mut self) {
        self.round += 1;
        self.seen = 0;
        (self.previous, self.list) = (self.list, self.list + 1);
        self.left = HashSet::new();
    }
}

//! Traces as the language sees them.

use super::value::{Kind, Status, Value};
use std::collections::HashMap;
use std::sync::Arc;

/// Attributes in the order in which they were sent.
pub type Attributes = Vec<(Arc<str>, Value)>;
/// The id of a trace.
pub type TraceId = [u8; 16];
/// The id of a span; all zero is none.
pub type SpanId = [u8; 8];

/// Who sent a span.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resource {
    /// What is said about it.
    pub attributes: Attributes,
    /// Attributes that the sender left out.
    pub dropped_attributes: u32,
}

impl Resource {
    /// `service.name`, or empty.
    pub fn service(&self) -> &str {
        match find(&self.attributes, "service.name") {
            Some(Value::Text(name)) => name,
            _ => "",
        }
    }
}

/// The library that made a span.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scope {
    /// Its name.
    pub name: Arc<str>,
    /// Its version.
    pub version: Arc<str>,
    /// What is said about it.
    pub attributes: Attributes,
}

/// Something that happened during a span.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Event {
    /// When, in nanoseconds since the epoch.
    pub time_ns: u64,
    /// What.
    pub name: Arc<str>,
    /// What is said about it.
    pub attributes: Attributes,
    /// Attributes that the sender left out.
    pub dropped_attributes: u32,
}

/// Another span that this one has to do with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Link {
    /// Its trace.
    pub trace_id: TraceId,
    /// Itself.
    pub span_id: SpanId,
    /// State of its trace.
    pub trace_state: Arc<str>,
    /// What is said about it.
    pub attributes: Attributes,
}

/// An operation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Span {
    /// Its id.
    pub id: SpanId,
    /// The id of the span that it is part of; zero for none.
    pub parent_id: SpanId,
    /// What is done.
    pub name: Arc<str>,
    /// Its part in the operation.
    pub kind: Kind,
    /// How it went.
    pub status: Status,
    /// What went wrong.
    pub status_message: Arc<str>,
    /// Begin, in nanoseconds since the epoch.
    pub start_ns: u64,
    /// How long it took, in nanoseconds.
    pub duration_ns: u64,
    /// State of the trace.
    pub trace_state: Arc<str>,
    /// What is said about it.
    pub attributes: Attributes,
    /// What happened during it.
    pub events: Vec<Event>,
    /// What it has to do with.
    pub links: Vec<Link>,
    /// Who sent it.
    pub resource: Arc<Resource>,
    /// Which library made it.
    pub scope: Arc<Scope>,
}

impl Span {
    /// End, in nanoseconds since the epoch.
    pub fn end_ns(&self) -> u64 {
        self.start_ns.saturating_add(self.duration_ns)
    }

    /// Whether it is part of no other.
    pub fn is_root(&self) -> bool {
        self.parent_id == SpanId::default()
    }
}

/// The value of an attribute.
pub fn find<'a>(attributes: &'a Attributes, name: &str) -> Option<&'a Value> {
    let pair = attributes.iter().find(|(own, _)| **own == *name)?;
    Some(&pair.1)
}

/// Where a span stands in the tree of its trace: everything below it has its numbers between
/// `left` and `right`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Number when it is entered; 0 where it hangs on nothing that is known.
    pub left: i32,
    /// Number when it is left.
    pub right: i32,
    /// `left` of its parent; -1 for a root, 0 where the parent is not known.
    pub parent: i32,
    /// Index of its parent.
    pub parent_index: Option<u32>,
    /// How many spans have it as parent.
    pub children: u32,
}

/// All that is known of a trace.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trace {
    /// Its id.
    pub id: TraceId,
    /// Its spans.
    pub spans: Vec<Span>,
}

/// What is said about a trace as a whole.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// Name of the root; empty where it is not known.
    pub root_name: Arc<str>,
    /// Service of the root; empty where it is not known.
    pub root_service: Arc<str>,
    /// Begin of the first span, in nanoseconds since the epoch.
    pub start_ns: u64,
    /// From the first begin to the last end, in nanoseconds.
    pub duration_ns: u64,
}

impl Trace {
    /// Takes in more spans; of two with the same id and kind the first stays. (Client and server
    /// share an id in some systems.)
    pub fn merge(&mut self, more: Vec<Span>) {
        self.spans.extend(more);
        let mut seen = std::collections::HashSet::with_capacity(self.spans.len());
        self.spans.retain(|span| seen.insert((span.id, span.kind)));
    }

    /// The trace as a whole.
    pub fn summary(&self) -> Summary {
        let start_ns = self.spans.iter().map(|s| s.start_ns).min().unwrap_or(0);
        let end_ns = self.spans.iter().map(Span::end_ns).max().unwrap_or(0);
        let root = self.spans.iter().filter(|s| s.is_root());
        let root = root.min_by_key(|s| s.start_ns);
        Summary {
            root_name: root.map(|s| s.name.clone()).unwrap_or_default(),
            root_service: root
                .map(|s| s.resource.service().into())
                .unwrap_or_default(),
            start_ns,
            duration_ns: end_ns.saturating_sub(start_ns),
        }
    }

    /// Where each span stands. A span whose parent is not known, or that is its own ancestor,
    /// stands apart with zeros.
    pub fn places(&self) -> Vec<Place> {
        let mut places = vec![Place::default(); self.spans.len()];
        let mut by_id: HashMap<SpanId, Vec<u32>> = HashMap::with_capacity(self.spans.len());
        for (at, span) in self.spans.iter().enumerate() {
            by_id.entry(span.id).or_default().push(at as u32);
        }
        let mut children: Vec<Vec<u32>> = vec![Vec::new(); self.spans.len()];
        let mut roots = Vec::new();
        for (at, span) in self.spans.iter().enumerate() {
            let at = at as u32;
            if span.is_root() {
                roots.push(at);
                continue;
            }
            let same = by_id.get(&span.parent_id).map_or(&[][..], |v| v);
            let own = same.iter().copied().filter(|other| *other != at);
            // Where client and server share an id, callees hang below the server.
            let parent = own.max_by_key(|other| self.spans[*other as usize].kind == Kind::Server);
            if let Some(parent) = parent {
                children[parent as usize].push(at);
                places[at as usize].parent_index = Some(parent);
                places[parent as usize].children += 1;
            }
        }
        let mut next = 0;
        let mut number = || {
            next += 1;
            next
        };
        for root in roots {
            places[root as usize].parent = -1;
            places[root as usize].left = number();
            let mut open = vec![(root, 0usize)];
            while let Some((at, child)) = open.last_mut() {
                let (at, which) = (*at as usize, *child);
                *child += 1;
                match children[at].get(which) {
                    Some(&below) => {
                        places[below as usize].parent = places[at].left;
                        places[below as usize].left = number();
                        open.push((below, 0));
                    }
                    None => {
                        places[at].right = number();
                        open.pop();
                    }
                }
            }
        }
        places
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(id: u8, parent: u8) -> Span {
        Span {
            id: [0, 0, 0, 0, 0, 0, 0, id],
            parent_id: [0, 0, 0, 0, 0, 0, 0, parent],
            ..Span::default()
        }
    }

    #[test]
    fn places_enclose_what_is_below() {
        let trace = Trace {
            spans: vec![
                span(1, 0),
                span(2, 1),
                span(3, 2),
                span(4, 1),
                span(9, 8),
                span(7, 7),
            ],
            ..Trace::default()
        };
        let places = trace.places();
        let numbers: Vec<_> = places.iter().map(|p| (p.left, p.right, p.parent)).collect();
        let expected = [
            (1, 8, -1),
            (2, 5, 1),
            (3, 4, 2),
            (6, 7, 1),
            (0, 0, 0),
            (0, 0, 0),
        ];
        assert_eq!(numbers, expected);
        assert_eq!(places[0].children, 2);
    }
}

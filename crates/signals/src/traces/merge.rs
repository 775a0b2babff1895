//! Parts of traces from several places, in the order of their ids, as whole traces.

use towpath_query::traceql::Trace;

type Parts<'a> = Box<dyn Iterator<Item = Result<Trace, String>> + 'a>;

pub(super) struct Merge<'a> {
    sources: Vec<std::iter::Peekable<Parts<'a>>>,
}

impl<'a> Merge<'a> {
    pub(super) fn new(sources: Vec<Parts<'a>>) -> Self {
        let sources = sources.into_iter().map(Iterator::peekable);
        Self {
            sources: sources.collect(),
        }
    }
}

impl Iterator for Merge<'_> {
    type Item = Result<Trace, String>;

    fn next(&mut self) -> Option<Self::Item> {
        self.sources.retain_mut(|source| source.peek().is_some());
        let mut least = None;
        for source in &mut self.sources {
            match source.peek() {
                // An error is told at once.
                Some(Err(_)) => return source.next(),
                Some(Ok(trace)) if least.is_none_or(|id| trace.id < id) => least = Some(trace.id),
                _ => {}
            }
        }
        let id = least?;
        let mut whole: Option<Trace> = None;
        for source in &mut self.sources {
            let own = |part: &Result<Trace, String>| matches!(part, Ok(trace) if trace.id == id);
            while let Some(Ok(part)) = source.next_if(own) {
                match &mut whole {
                    None => whole = Some(part),
                    Some(whole) => whole.merge(part.spans),
                }
            }
        }
        whole.map(Ok)
    }
}

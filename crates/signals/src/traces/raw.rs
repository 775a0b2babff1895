//! Parts of traces in bytes as [`super::codec`] writes them, read no further than what goes into
//! columns needs: values stay bytes.

use towpath_query::traceql::TraceId;

use super::codec::DEPTH_MAX;
use super::spine::Row;
use crate::bytes::Cursor;

/// The bytes that `read` goes over.
fn passed<'b>(
    from: &mut Cursor<'b>,
    read: impl FnOnce(&mut Cursor<'_>) -> Option<()>,
) -> Option<&'b [u8]> {
    let before = from.rest();
    read(from)?;
    Some(&before[..before.len() - from.rest().len()])
}

fn value(from: &mut Cursor<'_>, depth: usize) -> Option<()> {
    match from.u8()? {
        0..=2 => {}
        3 => drop(from.uvarint()?),
        4 => drop(from.take(8)?),
        5 | 8 => drop(from.bytes()?),
        6 if depth > 0 => {
            for _ in 0..from.count()? {
                value(from, depth - 1)?;
            }
        }
        7 if depth > 0 => {
            for _ in 0..from.count()? {
                from.bytes()?;
                value(from, depth - 1)?;
            }
        }
        _ => return None,
    }
    Some(())
}

fn attributes(from: &mut Cursor<'_>) -> Option<()> {
    for _ in 0..from.count()? {
        from.bytes()?;
        value(from, DEPTH_MAX)?;
    }
    Some(())
}

/// Goes over a resource.
pub(super) fn resource(from: &mut Cursor<'_>) -> Option<()> {
    attributes(from)?;
    from.uvarint().map(drop)
}

/// Goes over a scope.
pub(super) fn scope(from: &mut Cursor<'_>) -> Option<()> {
    from.bytes()?;
    from.bytes()?;
    attributes(from)
}

fn events(from: &mut Cursor<'_>) -> Option<()> {
    for _ in 0..from.count()? {
        from.uvarint()?;
        from.bytes()?;
        attributes(from)?;
        from.uvarint()?;
    }
    Some(())
}

fn links(from: &mut Cursor<'_>) -> Option<()> {
    for _ in 0..from.count()? {
        from.take(24)?;
        from.bytes()?;
        attributes(from)?;
    }
    Some(())
}

/// A list with its things one behind the other.
pub(super) fn list<'b>(
    from: &mut Cursor<'b>,
    thing: fn(&mut Cursor<'_>) -> Option<()>,
) -> Option<Vec<&'b [u8]>> {
    let count = from.count()?;
    (0..count).map(|_| passed(from, thing)).collect()
}

/// A span whose values are bytes.
#[derive(Debug)]
pub(super) struct RawSpan<'b> {
    pub(super) row: Row,
    /// Kind and status.
    pub(super) codes: u8,
    pub(super) name: &'b [u8],
    pub(super) status_message: &'b [u8],
    pub(super) trace_state: &'b [u8],
    pub(super) attributes: Vec<(&'b [u8], &'b [u8])>,
    /// Empty where there are none, like the links.
    pub(super) events: &'b [u8],
    pub(super) links: &'b [u8],
    pub(super) resource: &'b [u8],
    pub(super) scope: &'b [u8],
}

/// Gives every span of a part of a trace to `each`; `None` where the bytes make no sense from some
/// span on.
pub(super) fn spans<'b>(bytes: &'b [u8], mut each: impl FnMut(&RawSpan<'b>)) -> Option<()> {
    let mut from = Cursor::new(bytes);
    from.take(size_of::<TraceId>())?;
    let resources = list(&mut from, resource)?;
    let scopes = list(&mut from, scope)?;
    let mut attributes = Vec::new();
    for _ in 0..from.count()? {
        let span = span(&mut from, &resources, &scopes, attributes)?;
        each(&span);
        attributes = span.attributes;
    }
    Some(())
}

/// The next span. `attributes` is memory that is used again.
fn span<'b>(
    from: &mut Cursor<'b>,
    resources: &[&'b [u8]],
    scopes: &[&'b [u8]],
    mut attributes: Vec<(&'b [u8], &'b [u8])>,
) -> Option<RawSpan<'b>> {
    attributes.clear();
    let resource = resources.get(usize::try_from(from.uvarint()?).ok()?)?;
    let scope = scopes.get(usize::try_from(from.uvarint()?).ok()?)?;
    let id = from.take(8)?.try_into().ok()?;
    let parent_id = from.take(8)?.try_into().ok()?;
    let codes = from.u8()?;
    let (name, status_message) = (from.bytes()?, from.bytes()?);
    let (trace_state, start_ns) = (from.bytes()?, from.u64()?);
    let duration_ns = from.uvarint()?;
    for _ in 0..from.count()? {
        let name = from.bytes()?;
        let value = passed(from, |from| value(from, DEPTH_MAX))?;
        attributes.push((name, value));
    }
    // What has none begins with their number.
    let some = |bytes: &'b [u8]| if bytes == [0] { &[][..] } else { bytes };
    Some(RawSpan {
        row: Row {
            id,
            parent_id,
            start_ns,
            duration_ns,
        },
        codes,
        name,
        status_message,
        trace_state,
        attributes,
        events: some(passed(from, events)?),
        links: some(passed(from, links)?),
        resource,
        scope,
    })
}

//! Blocks of the first version, which are only read.

use super::MAX_UNPACKED;
use super::read::{Decoded, tally};
use crate::bytes::Cursor;
use crate::logs::column::first::{Column, read_numbers};
use crate::unpack::unpack;

/// Reads a block behind its version; `None` where it is damaged.
pub(super) fn decode(mut cursor: Cursor<'_>) -> Option<Decoded> {
    let length = usize::try_from(cursor.uvarint()?).ok()?;
    if length > MAX_UNPACKED {
        return None;
    }
    let unpacked = unpack(cursor.rest(), length).ok()?;
    let mut cursor = Cursor::new(&unpacked);
    let rows = cursor.count()?;
    let unit = i64::try_from(cursor.uvarint()?).ok()?;
    let mut out = Decoded {
        times: read_numbers(&mut cursor, rows)?,
        ..Decoded::default()
    };
    for time in &mut out.times {
        *time = time.checked_mul(unit)?;
    }
    lines(&mut cursor, rows, &mut out)?;
    metadata(&mut cursor, rows, &mut out)?;
    Some(out)
}

fn ids(cursor: &mut Cursor<'_>, rows: usize) -> Option<Vec<u32>> {
    let ids = read_numbers(cursor, rows)?.into_iter();
    ids.map(|id| u32::try_from(id).ok()).collect()
}

fn lines(cursor: &mut Cursor<'_>, rows: usize, out: &mut Decoded) -> Option<()> {
    let template_ids = ids(cursor, rows)?;
    let count = cursor.count()?;
    let mut templates: Vec<Vec<&[u8]>> = Vec::with_capacity(count);
    for _ in 0..count {
        let literals = cursor.count()?;
        let literals = (0..literals).map(|_| cursor.bytes());
        templates.push(literals.collect::<Option<_>>()?);
    }
    let tally = tally(&template_ids, count)?;
    let mut columns = Vec::with_capacity(count);
    for (literals, count) in templates.iter().zip(&tally) {
        let words = literals.len().checked_sub(1)?;
        let read = (0..words).map(|_| Column::decode(cursor, *count));
        columns.push(read.collect::<Option<Vec<_>>>()?);
    }
    let mut next = vec![0usize; count];
    let mut text = Vec::new();
    for id in &template_ids {
        let id = *id as usize;
        let at = next[id];
        next[id] += 1;
        let (last, literals) = templates[id].split_last()?;
        for (literal, column) in literals.iter().zip(&columns[id]) {
            text.extend_from_slice(literal);
            column.write(at, &mut text)?;
        }
        text.extend_from_slice(last);
        if text.len() > MAX_UNPACKED {
            return None;
        }
        out.ends.push(text.len() as u32);
    }
    out.text = String::from_utf8(text).ok()?;
    // Ends lie on characters: lines were texts when they were written.
    if !out
        .ends
        .iter()
        .all(|end| out.text.is_char_boundary(*end as usize))
    {
        return None;
    }
    Some(())
}

fn metadata(cursor: &mut Cursor<'_>, rows: usize, out: &mut Decoded) -> Option<()> {
    out.shape_ids = ids(cursor, rows)?;
    let count = cursor.count()?;
    let tally = tally(&out.shape_ids, count)?;
    let mut columns = Vec::with_capacity(count);
    for rows in tally {
        let names = cursor.count()?;
        let texts = (0..names).map(|_| cursor.text().map(str::to_owned));
        out.shapes.push(texts.collect::<Option<_>>()?);
        let read = (0..names).map(|_| Column::decode(cursor, rows));
        columns.push(read.collect::<Option<Vec<_>>>()?);
    }
    let mut next = vec![0usize; count];
    let mut values = Vec::new();
    for id in &out.shape_ids {
        let id = *id as usize;
        out.value_starts.push(out.value_ends.len() as u32);
        for column in &columns[id] {
            column.write(next[id], &mut values)?;
            if values.len() > MAX_UNPACKED {
                return None;
            }
            out.value_ends.push(values.len() as u32);
        }
        next[id] += 1;
    }
    out.values = String::from_utf8(values).ok()?;
    let mut ends = out.value_ends.iter();
    ends.all(|end| out.values.is_char_boundary(*end as usize))
        .then_some(())
}

//! Reading a block.

use super::{BY_TEMPLATE, EACH, FEW, FIRST, MAX_CELLS, MAX_ROWS, MAX_UNPACKED, VERSION, first};
use crate::bytes::Cursor;
use crate::logs::column::{Cells, Column};
use crate::numbers::Numbers;
use crate::unpack::unpack;

/// A block that is read: lines in order of time.
#[derive(Debug, Default)]
pub(in crate::logs) struct Decoded {
    pub(in crate::logs) times: Vec<i64>,
    pub(super) text: String,
    pub(super) ends: Vec<u32>,
    pub(super) shape_ids: Vec<u32>,
    pub(super) shapes: Vec<Vec<String>>,
    pub(super) values: String,
    /// Ends of values, and where those of a row begin.
    pub(super) value_ends: Vec<u32>,
    pub(super) value_starts: Vec<u32>,
}

impl Decoded {
    pub(in crate::logs) fn len(&self) -> usize {
        self.times.len()
    }

    pub(in crate::logs) fn line(&self, at: usize) -> &str {
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start as usize..self.ends[at] as usize]
    }

    /// Puts the labels of a line into `out`.
    pub(in crate::logs) fn metadata<'a>(&'a self, at: usize, out: &mut Vec<(&'a str, &'a str)>) {
        out.clear();
        let names = &self.shapes[self.shape_ids[at] as usize];
        let first = self.value_starts[at] as usize;
        for (offset, name) in names.iter().enumerate() {
            let place = first + offset;
            let start = place
                .checked_sub(1)
                .map_or(0, |before| self.value_ends[before]);
            let value = &self.values[start as usize..self.value_ends[place] as usize];
            out.push((name, value));
        }
    }
}

/// Reads a block; `None` where it is damaged.
pub(in crate::logs) fn decode(bytes: &[u8]) -> Option<Decoded> {
    let mut cursor = Cursor::new(bytes);
    match cursor.u8()? {
        FIRST => first::decode(cursor),
        VERSION => {
            let (head, raw) = sections(cursor)?;
            Parsed::read(&head, raw)?.unpack()
        }
        _ => None,
    }
}

/// The head, unpacked, and what follows it.
pub(super) fn sections(mut cursor: Cursor<'_>) -> Option<(Vec<u8>, &[u8])> {
    let length = usize::try_from(cursor.uvarint()?).ok()?;
    if length > MAX_UNPACKED {
        return None;
    }
    let head = unpack(cursor.bytes()?, length).ok()?;
    Some((head, cursor.rest()))
}

/// How often each of `count` ids is there; `None` where one is out of range.
pub(super) fn tally(ids: &[u32], count: usize) -> Option<Vec<usize>> {
    let mut out = vec![0; count];
    for id in ids {
        *out.get_mut(*id as usize)? += 1;
    }
    Some(out)
}

/// A block whose columns are not unpacked.
pub(super) struct Parsed<'a> {
    rows: usize,
    raw: usize,
    unit: i64,
    times: Numbers<'a>,
    template_ids: Vec<u32>,
    /// All that lines are made of besides words.
    pub(super) literals: Vec<&'a [u8]>,
    templates: Vec<Template<'a>>,
    columns: Vec<Column<'a>>,
    shape_ids: Vec<u32>,
    shapes: Vec<Shape<'a>>,
}

/// What lines have in common: what is before each word, its column, and what is at the end.
struct Template<'a> {
    words: Vec<(&'a [u8], usize)>,
    end: &'a [u8],
}

struct Shape<'a> {
    names: Vec<&'a str>,
    columns: Vec<(bool, Column<'a>)>,
}

impl<'a> Template<'a> {
    fn read(head: &mut Cursor<'a>, all: &[&'a [u8]]) -> Option<Self> {
        let words = head.count()?;
        let mut literal = || all.get(usize::try_from(head.uvarint()?).ok()?).copied();
        let literals = (0..words).map(|_| literal());
        let literals: Vec<&[u8]> = literals.collect::<Option<_>>()?;
        let end = literal()?;
        let number = |literal| Some((literal, usize::try_from(head.uvarint()?).ok()?));
        Some(Self {
            words: literals.into_iter().map(number).collect::<Option<_>>()?,
            end,
        })
    }
}

impl<'a> Parsed<'a> {
    /// Reads what a block consists of.
    pub(super) fn read(head: &'a [u8], raw: &'a [u8]) -> Option<Self> {
        let (head, raw_cursor) = (&mut Cursor::new(head), &mut Cursor::new(raw));
        let rows = usize::try_from(head.uvarint()?).ok()?;
        let raw = usize::try_from(head.uvarint()?).ok()?;
        if rows > MAX_ROWS || raw > MAX_UNPACKED {
            return None;
        }
        let unit = i64::try_from(head.uvarint()?).ok()?;
        let times = Numbers::read(head, raw_cursor, rows)?;
        let template_ids = ids(head, raw_cursor, rows)?;
        let count = head.count()?;
        let literals = (0..count).map(|_| head.bytes());
        let literals: Vec<&[u8]> = literals.collect::<Option<_>>()?;
        let count = head.count()?;
        let templates = (0..count).map(|_| Template::read(head, &literals));
        let templates: Vec<Template<'a>> = templates.collect::<Option<_>>()?;
        let mut counts = vec![0usize; head.count()?];
        for (template, lines) in templates.iter().zip(tally(&template_ids, count)?) {
            for (_, column) in &template.words {
                let count = counts.get_mut(*column)?;
                *count = count.checked_add(lines)?;
            }
        }
        let columns = counts
            .into_iter()
            .map(|count| Column::read(head, raw_cursor, count))
            .collect::<Option<_>>()?;
        let shape_ids = ids(head, raw_cursor, rows)?;
        let count = head.count()?;
        let mut shapes = Vec::with_capacity(count);
        for (shape, lines) in tally(&shape_ids, count)?.into_iter().enumerate() {
            let names = head.count()?;
            let names = (0..names).map(|_| head.text());
            let names: Vec<&str> = names.collect::<Option<_>>()?;
            let mut columns = Vec::with_capacity(names.len());
            let mut own_templates = None;
            for _ in &names {
                columns.push(match head.u8()? {
                    EACH => (false, Column::read(head, raw_cursor, lines)?),
                    BY_TEMPLATE if lines >= FEW => {
                        let own = *own_templates.get_or_insert_with(|| {
                            places(shape, &shape_ids, &template_ids, templates.len()).1
                        });
                        (true, Column::read(head, raw_cursor, own)?)
                    }
                    _ => return None,
                });
            }
            shapes.push(Shape { names, columns });
        }
        Some(Self {
            rows,
            raw,
            unit,
            times,
            template_ids,
            literals,
            templates,
            columns,
            shape_ids,
            shapes,
        })
    }

    /// All columns, those of labels too.
    pub(super) fn all_columns(&self) -> impl Iterator<Item = &Column<'a>> {
        let labels = self.shapes.iter().flat_map(|shape| &shape.columns);
        self.columns.iter().chain(labels.map(|(_, column)| column))
    }

    fn unpack(self) -> Option<Decoded> {
        let mut cells = MAX_CELLS;
        let mut out = Decoded {
            times: self.times.values()?,
            ..Decoded::default()
        };
        for time in &mut out.times {
            *time = time.checked_mul(self.unit)?;
        }
        let columns = self.columns.into_iter();
        let columns: Vec<Cells<'_>> = columns
            .map(|column| column.unpack(&mut cells))
            .collect::<Option<_>>()?;
        let mut next = vec![0usize; columns.len()];
        let mut text = Vec::with_capacity(self.raw);
        out.ends.reserve(self.rows);
        for (id, at) in self.template_ids.iter().zip(&out.times) {
            let template = &self.templates[*id as usize];
            for (literal, column) in &template.words {
                text.extend_from_slice(literal);
                columns[*column].write(next[*column], *at, &mut text)?;
                next[*column] += 1;
                if text.len() > MAX_UNPACKED {
                    return None;
                }
            }
            text.extend_from_slice(template.end);
            if text.len() > MAX_UNPACKED {
                return None;
            }
            out.ends.push(text.len() as u32);
        }
        out.text = texts(text, &out.ends)?;
        let mut values = Vec::new();
        let mut shapes = Vec::with_capacity(self.shapes.len());
        for (number, shape) in self.shapes.into_iter().enumerate() {
            let names = shape.names.iter().map(|name| (*name).to_owned());
            out.shapes.push(names.collect());
            let by = shape.columns.iter().any(|(by, _)| *by);
            let by = by.then(|| {
                let count = self.templates.len();
                places(number, &self.shape_ids, &self.template_ids, count).0
            });
            let columns = shape.columns.into_iter();
            let columns = columns.map(|(by, column)| Some((by, column.unpack(&mut cells)?)));
            let columns: Vec<(bool, Cells<'_>)> = columns.collect::<Option<_>>()?;
            shapes.push((0usize, by.unwrap_or_default(), columns));
        }
        let rows = self.shape_ids.iter().zip(&self.template_ids);
        for ((shape, template), at) in rows.zip(&out.times) {
            let (next, by, columns) = &mut shapes[*shape as usize];
            out.value_starts.push(out.value_ends.len() as u32);
            for (by_template, column) in columns {
                let place = if *by_template {
                    by[*template as usize] as usize
                } else {
                    *next
                };
                column.write(place, *at, &mut values)?;
                if values.len() > MAX_UNPACKED {
                    return None;
                }
                out.value_ends.push(values.len() as u32);
            }
            *next += 1;
        }
        out.values = texts(values, &out.value_ends)?;
        out.shape_ids = self.shape_ids;
        Some(out)
    }
}

/// Bytes as texts that end on characters: they were texts when they were written.
fn texts(bytes: Vec<u8>, ends: &[u32]) -> Option<String> {
    let text = String::from_utf8(bytes).ok()?;
    let mut ends = ends.iter();
    ends.all(|end| text.is_char_boundary(*end as usize))
        .then_some(text)
}

fn ids<'a>(head: &mut Cursor<'a>, raw: &mut Cursor<'a>, rows: usize) -> Option<Vec<u32>> {
    let ids = Numbers::read(head, raw, rows)?.values()?.into_iter();
    ids.map(|id| u32::try_from(id).ok()).collect()
}

/// Of each template its place among those that lines of a shape have, and how many these are.
fn places(shape: usize, shapes: &[u32], templates: &[u32], count: usize) -> (Vec<u32>, usize) {
    let mut out = vec![0; count];
    for (own, template) in shapes.iter().zip(templates) {
        if *own as usize == shape {
            out[*template as usize] = 1;
        }
    }
    let mut next = 0;
    for place in &mut out {
        let there = *place;
        *place = next;
        next += there;
    }
    (out, next as usize)
}

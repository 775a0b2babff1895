//! Blocks: the lines of one stream, by columns.
//!
//! A line is a template, which is what it has in common with others, and the words in it that have
//! a digit. Words at the same place of the same template form a column. Where there would be too
//! many templates a line is kept as it is. The labels of lines are columns in the same way: a shape
//! is a list of names. All columns together are compressed by zstd.

use std::collections::{HashMap, HashSet};

use super::column::{Column, Texts, encode as encode_column, numbers, read_numbers};
use super::{bloom, tokens};
use crate::bytes::{Cursor, put_bytes, put_uvarint};

/// The version of the form, first byte of a block.
const VERSION: u8 = 1;
/// The most templates of a block besides the empty one for whole lines.
const MAX_TEMPLATES: usize = 1000;
/// The most words of a template that become columns.
const MAX_WORDS: usize = 200;
/// How hard zstd tries.
const LEVEL: i32 = 3;
/// The most bytes a block may unpack to.
pub(super) const MAX_UNPACKED: usize = 64 << 20;

/// One line that is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    pub(super) at: i64,
    pub(super) text: &'a str,
    pub(super) metadata: &'a [(String, String)],
}

/// A block ready to be written.
#[derive(Clone, Debug)]
pub(super) struct Encoded {
    pub(super) bytes: Vec<u8>,
    pub(super) bloom: Vec<u8>,
    pub(super) first: i64,
    pub(super) last: i64,
    pub(super) rows: u32,
    /// Bytes of the lines as they came.
    pub(super) raw: u64,
    /// Whether a line has an escape that could hide a word of a value (`\u0041`).
    pub(super) escapes: bool,
}

#[derive(Default)]
struct Template {
    /// Where the words are, in the first line that had it; the rest is literal.
    literals: Vec<Vec<u8>>,
    columns: Vec<Texts>,
}

/// Writes a block of lines, which are sorted by time here.
pub(super) fn encode(lines: &mut [Line<'_>]) -> Encoded {
    lines.sort_by_key(|line| line.at);
    let mut writer = Writer::default();
    for line in &*lines {
        writer.line(line);
    }
    let mut out = Vec::new();
    put_uvarint(&mut out, lines.len() as u64);
    times(&mut out, lines);
    let ids: Vec<i64> = writer.ids.iter().map(|id| i64::from(*id)).collect();
    numbers(&mut out, &ids);
    put_uvarint(&mut out, writer.templates.len() as u64);
    for template in &writer.templates {
        put_uvarint(&mut out, template.literals.len() as u64);
        for literal in &template.literals {
            put_bytes(&mut out, literal);
        }
    }
    for column in writer
        .templates
        .iter()
        .flat_map(|template| &template.columns)
    {
        encode_column(&mut out, column);
    }
    let shapes: Vec<i64> = writer.shape_ids.iter().map(|id| i64::from(*id)).collect();
    numbers(&mut out, &shapes);
    put_uvarint(&mut out, writer.shapes.len() as u64);
    for (names, columns) in &writer.shapes {
        put_uvarint(&mut out, names.len() as u64);
        for name in names {
            put_bytes(&mut out, name.as_bytes());
        }
        for column in columns {
            encode_column(&mut out, column);
        }
    }
    let mut bytes = vec![VERSION];
    put_uvarint(&mut bytes, out.len() as u64);
    // The compressor fails only where its target is too small, and this one grows.
    match zstd::bulk::compress(&out, LEVEL) {
        Ok(packed) => bytes.extend_from_slice(&packed),
        Err(error) => tracing::error!(%error, "a block of lines could not be compressed"),
    }
    Encoded {
        bytes,
        bloom: bloom::build(&writer.keys),
        first: lines.first().map_or(0, |line| line.at),
        last: lines.last().map_or(0, |line| line.at),
        rows: lines.len() as u32,
        raw: lines.iter().map(|line| line.text.len() as u64).sum(),
        escapes: writer.escapes,
    }
}

/// Times as differences, in the largest unit that all of them are whole numbers of.
fn times(out: &mut Vec<u8>, lines: &[Line<'_>]) {
    let unit = [1_000_000_000, 1_000_000, 1_000, 1]
        .into_iter()
        .find(|unit| lines.iter().all(|line| line.at % unit == 0))
        .unwrap_or(1);
    put_uvarint(out, unit as u64);
    let values: Vec<i64> = lines.iter().map(|line| line.at / unit).collect();
    numbers(out, &values);
}

#[derive(Default)]
struct Writer {
    /// Templates by their text, in which a zero byte stands for a word.
    known: HashMap<Box<[u8]>, u32>,
    templates: Vec<Template>,
    ids: Vec<u32>,
    known_shapes: HashMap<Vec<String>, u32>,
    shapes: Vec<(Vec<String>, Vec<Texts>)>,
    shape_ids: Vec<u32>,
    keys: HashSet<u64>,
    escapes: bool,
    key: Vec<u8>,
    words: Vec<(usize, usize)>,
}

impl Writer {
    fn line(&mut self, line: &Line<'_>) {
        let bytes = line.text.as_bytes();
        self.escapes |= memchr::memmem::find(bytes, b"\\u").is_some();
        let id = self.template_of(bytes);
        self.ids.push(id);
        self.metadata(line.metadata);
    }

    fn template_of(&mut self, bytes: &[u8]) -> u32 {
        self.key.clear();
        self.words.clear();
        split(bytes, &mut self.key, &mut self.words);
        let zeros = memchr::memchr(0, bytes).is_some();
        let id = match self.known.get(self.key.as_slice()) {
            Some(id) if !zeros => *id,
            _ if zeros || self.words.len() > MAX_WORDS || self.known.len() >= MAX_TEMPLATES => {
                return self.whole(bytes);
            }
            _ => self.new_template(bytes),
        };
        let template = &mut self.templates[id as usize];
        let keys = &mut self.keys;
        for (column, (start, end)) in template.columns.iter_mut().zip(&self.words) {
            let word = &bytes[*start..*end];
            column.push(word);
            tokens::word(word, &mut |key| {
                keys.insert(key);
            });
        }
        id
    }

    fn new_template(&mut self, bytes: &[u8]) -> u32 {
        if self.templates.is_empty() {
            self.templates.push(Template::for_whole_lines());
        }
        let mut literals = Vec::with_capacity(self.words.len() + 1);
        let mut at = 0;
        for (start, end) in &self.words {
            literals.push(bytes[at..*start].to_vec());
            at = *end;
        }
        literals.push(bytes[at..].to_vec());
        let keys = &mut self.keys;
        for literal in &literals {
            tokens::text(literal, &mut |key| {
                keys.insert(key);
            });
        }
        let id = self.templates.len() as u32;
        self.templates.push(Template {
            literals,
            columns: vec![Texts::default(); self.words.len()],
        });
        self.known.insert(self.key.as_slice().into(), id);
        id
    }

    /// Keeps a line as it is.
    fn whole(&mut self, bytes: &[u8]) -> u32 {
        if self.templates.is_empty() {
            self.templates.push(Template::for_whole_lines());
        }
        self.templates[0].columns[0].push(bytes);
        let keys = &mut self.keys;
        tokens::text(bytes, &mut |key| {
            keys.insert(key);
        });
        0
    }

    fn metadata(&mut self, metadata: &[(String, String)]) {
        let names: Vec<String> = metadata.iter().map(|(name, _)| name.clone()).collect();
        let id = match self.known_shapes.get(&names) {
            Some(id) => *id,
            None => {
                let id = self.shapes.len() as u32;
                let columns = vec![Texts::default(); names.len()];
                self.shapes.push((names.clone(), columns));
                self.known_shapes.insert(names, id);
                id
            }
        };
        self.shape_ids.push(id);
        let keys = &mut self.keys;
        for (column, (_, value)) in self.shapes[id as usize].1.iter_mut().zip(metadata) {
            column.push(value.as_bytes());
            tokens::text(value.as_bytes(), &mut |key| {
                keys.insert(key);
            });
        }
    }
}

impl Template {
    fn for_whole_lines() -> Self {
        Self {
            literals: vec![Vec::new(), Vec::new()],
            columns: vec![Texts::default()],
        }
    }
}

/// Cuts a line into its template, a zero byte for each word with a digit, and these words.
fn split(bytes: &[u8], key: &mut Vec<u8>, words: &mut Vec<(usize, usize)>) {
    let (mut at, mut literal) = (0, 0);
    while at < bytes.len() {
        if !tokens::is_word(bytes[at]) {
            at += 1;
            continue;
        }
        let start = at;
        let mut digit = false;
        while at < bytes.len() && tokens::is_word(bytes[at]) {
            digit |= bytes[at].is_ascii_digit();
            at += 1;
        }
        if digit {
            key.extend_from_slice(&bytes[literal..start]);
            key.push(0);
            words.push((start, at));
            literal = at;
        }
    }
    key.extend_from_slice(&bytes[literal..]);
}

/// A block that is read: lines in order of time.
#[derive(Debug, Default)]
pub(super) struct Decoded {
    pub(super) times: Vec<i64>,
    text: String,
    ends: Vec<u32>,
    /// Which template each line has, and the templates with `<_>` for their words.
    pub(super) template_ids: Vec<u32>,
    pub(super) templates: Vec<String>,
    shape_ids: Vec<u32>,
    shapes: Vec<Vec<String>>,
    values: String,
    /// Ends of values, and where those of a row begin.
    value_ends: Vec<u32>,
    value_starts: Vec<u32>,
}

impl Decoded {
    pub(super) fn len(&self) -> usize {
        self.times.len()
    }

    pub(super) fn line(&self, at: usize) -> &str {
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start as usize..self.ends[at] as usize]
    }

    /// Puts the labels of a line into `out`.
    pub(super) fn metadata<'a>(&'a self, at: usize, out: &mut Vec<(&'a str, &'a str)>) {
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
pub(super) fn decode(bytes: &[u8]) -> Option<Decoded> {
    let mut cursor = Cursor::new(bytes);
    if cursor.u8()? != VERSION {
        return None;
    }
    let length = usize::try_from(cursor.uvarint()?).ok()?;
    if length > MAX_UNPACKED {
        return None;
    }
    let unpacked = zstd::bulk::decompress(cursor.rest(), length).ok()?;
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

/// How often each of `count` ids is there; `None` where one is out of range.
fn tally(ids: &[u32], count: usize) -> Option<Vec<usize>> {
    let mut out = vec![0; count];
    for id in ids {
        *out.get_mut(*id as usize)? += 1;
    }
    Some(out)
}

fn lines(cursor: &mut Cursor<'_>, rows: usize, out: &mut Decoded) -> Option<()> {
    out.template_ids = ids(cursor, rows)?;
    let count = cursor.count()?;
    let mut templates: Vec<Vec<&[u8]>> = Vec::with_capacity(count);
    for _ in 0..count {
        let literals = cursor.count()?;
        let literals = (0..literals).map(|_| cursor.bytes());
        templates.push(literals.collect::<Option<_>>()?);
    }
    let tally = tally(&out.template_ids, count)?;
    let mut columns = Vec::with_capacity(count);
    for (literals, count) in templates.iter().zip(&tally) {
        let words = literals.len().checked_sub(1)?;
        let read = (0..words).map(|_| Column::decode(cursor, *count));
        columns.push(read.collect::<Option<Vec<_>>>()?);
    }
    let mut next = vec![0usize; count];
    let mut text = Vec::new();
    for id in &out.template_ids {
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
    out.templates = templates
        .iter()
        .map(|literals| {
            let texts: Vec<_> = literals
                .iter()
                .map(|l| String::from_utf8_lossy(l))
                .collect();
            texts.join("<_>")
        })
        .collect();
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Row = (i64, String, Vec<(String, String)>);

    fn rows() -> impl Strategy<Value = Vec<Row>> {
        let text = prop_oneof![
            "level=(info|warn) took=[0-9]{1,4}ms id=[0-9a-f]{8}",
            "[ -~é\0]{0,30}",
            "user [a-z]{3} at 00[0-9]{3}",
        ];
        let metadata = prop::collection::vec(("[a-c]", "[a-z0-9é]{0,6}"), 0..3);
        prop::collection::vec((any::<i32>().prop_map(i64::from), text, metadata), 0..60)
    }

    fn check(rows: &[Row]) -> Result<(), TestCaseError> {
        let line = |(at, text, metadata): &'_ Row| (*at, text.clone(), metadata.clone());
        let mut wanted: Vec<Row> = rows.iter().map(line).collect();
        wanted.sort_by_key(|(at, ..)| *at);
        let mut lines: Vec<Line<'_>> = rows
            .iter()
            .map(|(at, text, metadata)| Line {
                at: *at,
                text,
                metadata,
            })
            .collect();
        let encoded = encode(&mut lines);
        let decoded = decode(&encoded.bytes).expect("a block");
        prop_assert_eq!(decoded.len(), wanted.len());
        let mut metadata = Vec::new();
        for (at, (time, text, own)) in wanted.iter().enumerate() {
            decoded.metadata(at, &mut metadata);
            prop_assert_eq!(decoded.times[at], *time);
            prop_assert_eq!(decoded.line(at), text);
            let own: Vec<_> = own.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            prop_assert_eq!(&metadata, &own);
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn blocks_round_trip(rows in rows()) {
            check(&rows)?;
        }

        #[test]
        fn damage_is_no_panic(rows in rows(), at: prop::sample::Index, bit in 0u8..8) {
            let mut lines: Vec<Line<'_>> = rows
                .iter()
                .map(|(at, text, metadata)| Line { at: *at, text, metadata })
                .collect();
            let mut bytes = encode(&mut lines).bytes;
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let _ = decode(&bytes);
        }

        #[test]
        fn anything_can_be_unpacked(payload: Vec<u8>) {
            let mut bytes = vec![VERSION];
            put_uvarint(&mut bytes, payload.len() as u64);
            bytes.extend(zstd::bulk::compress(&payload, 1).expect("packed"));
            let _ = decode(&bytes);
        }
    }

    #[test]
    fn too_many_templates_are_kept_whole() {
        let letter = |at: usize| (b'a' + (at % 26) as u8) as char;
        let rows: Vec<Row> = (0..3000)
            .map(|at| {
                let word: String = [at, at / 26, at / 676].iter().map(|n| letter(*n)).collect();
                (at as i64, format!("{word} {at}"), Vec::new())
            })
            .collect();
        check(&rows).expect("round trip");
    }
}

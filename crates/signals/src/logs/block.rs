//! Blocks: the lines of one stream, by columns.
//!
//! A line is a template, which is what it has in common with others, and the words in it that have
//! a digit, times and identifiers. Words behind the same name form a column, whatever templates
//! they are in: a column is told apart by the words before it and by what kind of word it has.
//! Where there would be too many templates a line is kept as it is. The labels of lines are columns
//! in the same way: a shape is a list of names. What is compressible is compressed by zstd as a
//! whole, the rest follows as it is.

mod first;
mod peek;
mod read;
mod split;

pub(super) use peek::may_contain;
pub(super) use read::{Decoded, decode};

use std::collections::HashMap;

use towpath_stdx::keyed::Quick;

use super::bloom;
use super::column::{Texts, encode as encode_column};
use super::tokens;
use crate::bytes::{put_bytes, put_uvarint};
use crate::hash::chained;
use crate::numbers::{self, Sections};
use split::{Kind, Split};

/// The versions of the form, first byte of a block.
const FIRST: u8 = 1;
const VERSION: u8 = 2;
/// The most templates of a block besides the empty one for whole lines.
const MAX_TEMPLATES: usize = 1000;
/// The most words of a template that become columns.
const MAX_WORDS: usize = 200;
/// The most bytes a block may unpack to.
pub(super) const MAX_UNPACKED: usize = 64 << 20;
/// Lines are a block, however short they are, when they and their labels take so much more than the
/// text of one.
pub(super) const FULL: usize = 8;
/// The most lines of a block.
pub(super) const MAX_ROWS: usize = 1 << 16;
/// The most words and values of a block that is read, those alike not counted.
const MAX_CELLS: usize = 1 << 24;
/// Blocks with fewer lines have a filter that seldom errs.
const MANY: usize = 256;

/// Labels of fewer lines are kept for each line.
const FEW: usize = 64;

/// Values of the labels of lines: for each line, or for each template.
const EACH: u8 = 0;
const BY_TEMPLATE: u8 = 1;

/// One line that is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    pub(super) at: i64,
    pub(super) text: &'a str,
    pub(super) metadata: &'a [(String, String)],
}

impl Line<'_> {
    /// What it takes when its block is unpacked, about, in bytes.
    pub(super) fn weight(&self) -> usize {
        weight(self.text, self.metadata)
    }
}

/// What a line takes when its block is unpacked, about, in bytes.
pub(super) fn weight(text: &str, metadata: &[(String, String)]) -> usize {
    let pairs = metadata.iter();
    text.len() + pairs.map(|(n, v)| n.len() + v.len() + 16).sum::<usize>()
}

/// A block ready to be written.
#[derive(Clone, Debug)]
pub(super) struct Encoded {
    pub(super) bytes: Vec<u8>,
    pub(super) bloom: Vec<u8>,
    /// How the filter is made.
    pub(super) make: bloom::Make,
    pub(super) first: i64,
    pub(super) last: i64,
    pub(super) rows: u32,
    /// Bytes of the lines as they came.
    pub(super) raw: u64,
    /// Whether a line has an escape that could hide a word of a value (`\u0041`).
    pub(super) escapes: bool,
}

struct Template {
    /// Where the words are, in the first line that had it; the rest is literal.
    literals: Vec<Vec<u8>>,
    kinds: Vec<Kind>,
    /// The columns of the words.
    columns: Vec<u32>,
}

/// What the labels of a line are called, and their values.
struct Shape {
    names: Vec<String>,
    columns: Vec<Texts>,
    /// The templates of the lines.
    templates: Vec<u32>,
}

/// Writes a block of lines, at most [`MAX_ROWS`], which are sorted by time here.
pub(super) fn encode(lines: &mut [Line<'_>]) -> Encoded {
    lines.sort_by_key(|line| line.at);
    let mut writer = Writer::new();
    for line in &*lines {
        writer.line(line);
    }
    let raw = lines.iter().map(|line| line.text.len() as u64).sum();
    let mut out = Sections::new();
    put_uvarint(&mut out.head, lines.len() as u64);
    put_uvarint(&mut out.head, raw);
    times(&mut out, lines);
    writer.put_lines(&mut out);
    writer.put_metadata(&mut out);
    let make = bloom::Make {
        lean: lines.len() >= MANY && writer.keys.len() * 2 > lines.len(),
        sealed: true,
    };
    Encoded {
        bytes: pack(out),
        bloom: bloom::build(&writer.keys, make),
        make,
        first: lines.first().map_or(0, |line| line.at),
        last: lines.last().map_or(0, |line| line.at),
        rows: lines.len() as u32,
        raw,
        escapes: writer.escapes,
    }
}

/// Whether a block is of the version that is written now.
pub(super) fn is_current(bytes: &[u8]) -> bool {
    bytes.first() == Some(&VERSION)
}

fn pack(mut out: Sections) -> Vec<u8> {
    let head = std::mem::take(&mut out.head);
    let mut bytes = vec![VERSION];
    put_uvarint(&mut bytes, head.len() as u64);
    // The compressor fails only where there is no memory for it.
    let Some(packed) = out.pack(&head) else {
        tracing::error!("a block of lines could not be compressed");
        return bytes;
    };
    put_bytes(&mut bytes, &packed);
    bytes.extend_from_slice(&out.raw);
    bytes
}

/// Times in the largest unit that all of them are whole numbers of.
fn times(out: &mut Sections, lines: &[Line<'_>]) {
    let unit = [1_000_000_000, 1_000_000, 1_000, 1]
        .into_iter()
        .find(|unit| lines.iter().all(|line| line.at % unit == 0))
        .unwrap_or(1);
    put_uvarint(&mut out.head, unit as u64);
    let values: Vec<i64> = lines.iter().map(|line| line.at / unit).collect();
    numbers::encode(out, &values);
}

struct Writer {
    /// Templates by the hash of their literals.
    known: HashMap<u64, u32, Quick>,
    templates: Vec<Template>,
    ids: Vec<u32>,
    /// Columns by the hash of what is before their words. The first one has whole lines.
    named: HashMap<u64, u32, Quick>,
    columns: Vec<Texts>,
    known_shapes: HashMap<u64, u32, Quick>,
    shapes: Vec<Shape>,
    shape_ids: Vec<u32>,
    keys: bloom::Keys,
    escapes: bool,
    split: Split,
}

impl Writer {
    fn new() -> Self {
        let whole = Template {
            literals: vec![Vec::new(), Vec::new()],
            kinds: vec![Kind::Other],
            columns: vec![0],
        };
        Self {
            known: HashMap::default(),
            templates: vec![whole],
            ids: Vec::new(),
            named: HashMap::default(),
            columns: vec![Texts::default()],
            known_shapes: HashMap::default(),
            shapes: Vec::new(),
            shape_ids: Vec::new(),
            keys: bloom::Keys::default(),
            escapes: false,
            split: Split::default(),
        }
    }

    fn line(&mut self, line: &Line<'_>) {
        let bytes = line.text.as_bytes();
        self.escapes |= memchr::memmem::find(bytes, b"\\u").is_some();
        let id = self.template_of(bytes, line.at);
        self.ids.push(id);
        self.metadata(line.metadata, id);
    }

    fn template_of(&mut self, bytes: &[u8], at: i64) -> u32 {
        let split = std::mem::take(&mut self.split).of(bytes);
        let id = self.template_of_words(bytes, at, &split);
        self.split = split;
        id
    }

    fn template_of_words(&mut self, bytes: &[u8], at: i64, split: &Split) -> u32 {
        let id = match self.known.get(&split.hash) {
            Some(id) => *id,
            None if split.words.len() > MAX_WORDS || self.known.len() >= MAX_TEMPLATES => {
                return self.whole(bytes);
            }
            None => self.new_template(bytes, split),
        };
        let template = &self.templates[id as usize];
        if !template.fits(bytes, split) {
            // Another one has the same hash.
            return self.whole(bytes);
        }
        let keys = &mut self.keys;
        let mut keep = |key| {
            keys.insert(key);
        };
        for (column, word) in template.columns.iter().zip(&split.words) {
            let text = &bytes[word.start..word.end];
            let column = &mut self.columns[*column as usize];
            match word.kind {
                Kind::Time => column.push_time(text, at),
                Kind::Uuid => {
                    column.push(text);
                    tokens::text(text, &mut keep);
                }
                _ => {
                    column.push(text);
                    tokens::word(text, &mut keep);
                }
            }
        }
        id
    }

    fn new_template(&mut self, bytes: &[u8], split: &Split) -> u32 {
        let mut template = Template {
            literals: Vec::with_capacity(split.words.len() + 1),
            kinds: split.words.iter().map(|word| word.kind).collect(),
            columns: Vec::with_capacity(split.words.len()),
        };
        let (mut at, mut name) = (0, 0);
        for word in &split.words {
            let literal = &bytes[at..word.start];
            name = split::name(literal, name, word.kind);
            let next = self.columns.len() as u32;
            let column = *self.named.entry(name).or_insert(next);
            if column == next {
                self.columns.push(Texts::default());
            }
            template.columns.push(column);
            template.literals.push(literal.to_vec());
            at = word.end;
        }
        template.literals.push(bytes[at..].to_vec());
        let keys = &mut self.keys;
        for literal in &template.literals {
            tokens::text(literal, &mut |key| {
                keys.insert(key);
            });
        }
        let id = self.templates.len() as u32;
        self.templates.push(template);
        self.known.insert(split.hash, id);
        id
    }

    /// Keeps a line as it is.
    fn whole(&mut self, bytes: &[u8]) -> u32 {
        self.columns[0].push(bytes);
        let keys = &mut self.keys;
        tokens::text(bytes, &mut |key| {
            keys.insert(key);
        });
        0
    }

    fn metadata(&mut self, metadata: &[(String, String)], template: u32) {
        let fits = |shape: &Shape| {
            shape.names.len() == metadata.len()
                && shape.names.iter().zip(metadata).all(|(a, (b, _))| a == b)
        };
        // Mostly it is that of the line before.
        let last = self.shape_ids.last().copied();
        let last = last.filter(|id| fits(&self.shapes[*id as usize]));
        let found = last.or_else(|| {
            let known = self.known_shapes.get(&names_hash(metadata)).copied();
            known.filter(|id| fits(&self.shapes[*id as usize]))
        });
        let id = found.unwrap_or_else(|| {
            self.shapes.push(Shape {
                names: metadata.iter().map(|(name, _)| name.clone()).collect(),
                columns: vec![Texts::default(); metadata.len()],
                templates: Vec::new(),
            });
            let id = self.shapes.len() as u32 - 1;
            self.known_shapes.insert(names_hash(metadata), id);
            id
        });
        self.shape_ids.push(id);
        let shape = &mut self.shapes[id as usize];
        shape.templates.push(template);
        let keys = &mut self.keys;
        for (column, (_, value)) in shape.columns.iter_mut().zip(metadata) {
            let value = value.as_bytes();
            let same = column
                .len()
                .checked_sub(1)
                .map(|at| column.get(at) == value);
            if same != Some(true) {
                tokens::text(value, &mut |key| {
                    keys.insert(key);
                });
            }
            column.push(value);
        }
    }

    fn put_lines(&self, out: &mut Sections) {
        let ids: Vec<i64> = self.ids.iter().map(|id| i64::from(*id)).collect();
        numbers::encode(out, &ids);
        let mut known: HashMap<&[u8], u64> = HashMap::new();
        let mut literals: Vec<&[u8]> = Vec::new();
        let mut templates = Vec::new();
        put_uvarint(&mut templates, self.templates.len() as u64);
        for template in &self.templates {
            put_uvarint(&mut templates, template.columns.len() as u64);
            for literal in &template.literals {
                let next = literals.len() as u64;
                let number = *known.entry(literal).or_insert(next);
                if number == next {
                    literals.push(literal);
                }
                put_uvarint(&mut templates, number);
            }
            for column in &template.columns {
                put_uvarint(&mut templates, u64::from(*column));
            }
        }
        put_uvarint(&mut out.head, literals.len() as u64);
        for literal in literals {
            put_bytes(&mut out.head, literal);
        }
        out.head.extend_from_slice(&templates);
        put_uvarint(&mut out.head, self.columns.len() as u64);
        for column in &self.columns {
            encode_column(out, column);
        }
    }

    fn put_metadata(&self, out: &mut Sections) {
        let ids: Vec<i64> = self.shape_ids.iter().map(|id| i64::from(*id)).collect();
        numbers::encode(out, &ids);
        put_uvarint(&mut out.head, self.shapes.len() as u64);
        for shape in &self.shapes {
            put_uvarint(&mut out.head, shape.names.len() as u64);
            for name in &shape.names {
                put_bytes(&mut out.head, name.as_bytes());
            }
            for column in &shape.columns {
                match by_template(column, &shape.templates, self.templates.len()) {
                    Some(values) => {
                        out.head.push(BY_TEMPLATE);
                        encode_column(out, &values);
                    }
                    None => {
                        out.head.push(EACH);
                        encode_column(out, column);
                    }
                }
            }
        }
    }
}

fn names_hash(metadata: &[(String, String)]) -> u64 {
    let names = metadata.iter().map(|(name, _)| name.as_bytes());
    names.fold(0, chained)
}

/// A value for each template that is there, in the order of the templates, where lines of the same
/// template always have the same value.
fn by_template(values: &Texts, templates: &[u32], count: usize) -> Option<Texts> {
    if values.len() < FEW {
        return None;
    }
    let mut own: Vec<Option<&[u8]>> = vec![None; count];
    for (value, template) in values.iter().zip(templates) {
        // Whole lines have nothing in common.
        if *template == 0 || *own[*template as usize].get_or_insert(value) != value {
            return None;
        }
    }
    let mut out = Texts::default();
    own.into_iter().flatten().for_each(|value| out.push(value));
    Some(out)
}

impl Template {
    /// Whether a line is of this template, as its hash says.
    fn fits(&self, bytes: &[u8], split: &Split) -> bool {
        if self.kinds.len() != split.words.len() {
            return false;
        }
        let mut at = 0;
        for ((word, literal), kind) in split.words.iter().zip(&self.literals).zip(&self.kinds) {
            if bytes[at..word.start] != **literal || *kind != word.kind {
                return false;
            }
            at = word.end;
        }
        self.literals
            .last()
            .is_some_and(|last| bytes[at..] == **last)
    }
}

#[cfg(test)]
mod tests;

//! The templates of Go's `text/template`: parse, then run over values.
//!
//! Syntax, results and the words of errors are Go 1.26's. Work is bounded: how deep things nest,
//! how many steps a run takes and how much text it makes. Functions beside the built-in ones are
//! handed in by who runs a template, since annotations of alerts, `line_format` and charts each
//! have their own. Texts are UTF-8; complex numbers and functions as values there are none.

mod ast;
mod builtins;
mod compare;
mod escape;
mod exec;
mod float;
mod functions;
mod lex;
mod number;
mod parse;
mod print;
mod time;
mod value;

pub use escape::{html, js, url_path, url_query};
pub use exec::Call;
pub use functions::{Function, Functions, Kind};
pub use parse::MAX_NESTING;
pub use time::{Time, format_span};
pub use value::{List, Map, Member, Object, Of, Value};

use ast::is_empty;
use lex::Delimiters;
use parse::Tree;

/// What a template that cannot be read or run is told, in Go's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// The whole text, the place included.
    pub message: String,
    /// The line, from 1; 0 where there is no place.
    pub line: usize,
    /// The byte within the line, from 0.
    pub column: usize,
}

impl Error {
    fn plain(message: String) -> Self {
        Self {
            message,
            line: 0,
            column: 0,
        }
    }
}

/// What a key that a map does not have stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MissingKey {
    /// Nothing, printed as `<no value>`.
    #[default]
    Invalid,
    /// The zero value of the map's values.
    Zero,
    /// An error.
    Error,
}

/// How much a run may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Templates within templates.
    pub depth: usize,
    /// Nodes, values and pieces of text looked at.
    pub steps: u64,
    /// Bytes of the result and of every text made on the way.
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            depth: 64,
            steps: 1_000_000,
            bytes: 1 << 20,
        }
    }
}

/// Templates that know each other.
#[derive(Clone, Debug)]
pub struct Templates {
    name: String,
    trees: Vec<Tree>,
    missing_key: MissingKey,
    delimiters: Delimiters,
}

impl Templates {
    /// No templates yet; `name` is what the first text is called.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            trees: Vec::new(),
            missing_key: MissingKey::default(),
            delimiters: Delimiters {
                left: "{{".to_owned(),
                right: "}}".to_owned(),
            },
        }
    }

    /// Says what missing keys stand for.
    pub fn missing_key(mut self, missing_key: MissingKey) -> Self {
        self.missing_key = missing_key;
        self
    }

    /// Other marks around actions than `{{` and `}}`.
    pub fn delimiters(mut self, left: &str, right: &str) -> Self {
        let or = |text: &str, usual: &str| match text.is_empty() {
            true => usual.to_owned(),
            false => text.to_owned(),
        };
        self.delimiters = Delimiters {
            left: or(left, "{{"),
            right: or(right, "}}"),
        };
        self
    }

    /// Adds a text under a name and what it defines. A template that is there is replaced unless
    /// the new one is empty; on an error nothing changes. `functions` need only have the names.
    ///
    /// # Errors
    /// The text is no template.
    pub fn add(&mut self, name: &str, text: &str, functions: &Functions<'_>) -> Result<(), Error> {
        let known = |name: &str| functions.has(name);
        for tree in parse::parse(name, text, &self.delimiters, &known)? {
            match self.trees.iter_mut().find(|t| t.name == tree.name) {
                None => self.trees.push(tree),
                Some(_) if is_empty(&tree.root) => {}
                Some(known) => *known = tree,
            }
        }
        Ok(())
    }

    /// Parses one text, which gets the set's name.
    ///
    /// # Errors
    /// The text is no template.
    pub fn parse(name: &str, text: &str, functions: &Functions<'_>) -> Result<Self, Error> {
        let mut templates = Self::new(name);
        templates.add(name, text, functions)?;
        Ok(templates)
    }

    /// Whether there is a template of this name.
    pub fn has(&self, name: &str) -> bool {
        self.tree(name).is_some()
    }

    /// Names of the templates, in order of their definition.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.trees.iter().map(|tree| tree.name.as_str())
    }

    fn tree(&self, name: &str) -> Option<&Tree> {
        self.trees.iter().find(|tree| tree.name == name)
    }

    /// Runs the template with the set's name.
    ///
    /// # Errors
    /// It fails, or a limit is reached.
    pub fn run(
        &self,
        functions: &Functions<'_>,
        data: &Value,
        limits: Limits,
    ) -> Result<String, Error> {
        self.run_named(&self.name, functions, data, limits)
    }

    /// Runs one of the templates.
    ///
    /// # Errors
    /// There is none of this name, it fails, or a limit is reached.
    pub fn run_named(
        &self,
        name: &str,
        functions: &Functions<'_>,
        data: &Value,
        limits: Limits,
    ) -> Result<String, Error> {
        exec::run(self, functions, name, data, limits)
    }
}

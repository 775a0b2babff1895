//! What a run may still take, and what functions may ask of it.
//!
//! A run is charged for every node, value and piece of text it looks at, so that a template cannot
//! keep a server busy for longer than its limits say, whatever it calls.

use super::execute;
use crate::template::functions::Functions;
use crate::template::value::Value;
use crate::template::{Limits, Templates};

/// How deep lists and maps may nest that functions make.
const MAX_VALUE_DEPTH: usize = 100;

/// What is left of the limits, and what was written.
pub(super) struct Budget {
    pub(super) limits: Limits,
    steps: u64,
    pub(super) out: String,
}

/// What a function can do beside looking at its arguments.
pub struct Call<'r, 'f> {
    pub(super) templates: &'r Templates,
    pub(super) functions: &'r Functions<'f>,
    pub(super) depth: usize,
    pub(super) budget: &'r mut Budget,
}

impl Call<'_, '_> {
    /// What a template of the same set makes of a value.
    ///
    /// # Errors
    /// There is none, or it fails.
    pub fn template(&mut self, name: &str, data: &Value) -> Result<String, String> {
        let before = std::mem::take(&mut self.budget.out);
        let result = execute(
            self.templates,
            self.functions,
            name,
            data,
            self.depth + 1,
            self.budget,
        );
        let made = std::mem::replace(&mut self.budget.out, before);
        result.map(|()| made).map_err(|e| e.message)
    }

    /// Accounts for work that is not seen from outside.
    ///
    /// # Errors
    /// The template has worked enough.
    pub fn charge(&mut self, steps: u64) -> Result<(), String> {
        self.budget.charge(steps)
    }

    /// How many bytes a text may have.
    pub fn limit(&self) -> usize {
        self.budget.limits.bytes
    }
}

impl Budget {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            steps: limits.steps,
            limits,
            out: String::new(),
        }
    }

    pub(super) fn charge(&mut self, steps: u64) -> Result<(), String> {
        match self.steps.checked_sub(steps) {
            Some(rest) => {
                self.steps = rest;
                Ok(())
            }
            None => Err(format!(
                "the template takes more than {} steps",
                self.limits.steps
            )),
        }
    }

    fn check_length(&self, bytes: usize) -> Result<(), String> {
        match self.limits.bytes {
            limit if bytes > limit => Err(format!("the text is longer than {limit} bytes")),
            _ => Ok(()),
        }
    }

    pub(super) fn write(&mut self, text: &str) -> Result<(), String> {
        self.check_length(self.out.len() + text.len())?;
        self.out.push_str(text);
        self.charge(text.len() as u64 / 64)
    }

    /// Takes in a value that a function made.
    pub(super) fn take(&mut self, value: &Value) -> Result<(), String> {
        let size = value.size(MAX_VALUE_DEPTH);
        let size = size.ok_or("the value nests too deep")?;
        self.charge(size as u64)?;
        self.check_length(value.as_str().map_or(0, str::len))
    }
}

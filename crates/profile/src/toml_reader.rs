//! Reads TOML so that all problems are found in one pass, each with the path of its key.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cell::RefCell;

use ecowatt_config_text::{Document, Problem};
use toml::{Table, Value};

use crate::decimal::Scaled;

/// All problems found so far in a document.
#[derive(Debug)]
pub(crate) struct Problems<'a> {
    document: &'a Document<'a>,
    found: RefCell<Vec<Problem>>,
}

impl<'a> Problems<'a> {
    pub(crate) fn of(document: &'a Document<'a>) -> Self {
        Self { document, found: RefCell::default() }
    }

    pub(crate) fn add(&self, path: impl Into<String>, text: impl Into<String>) {
        let path = path.into();
        let line = self.document.line_of(&path);
        self.found.borrow_mut().push(Problem { path, line, text: text.into() });
    }

    pub(crate) fn into_vec(self) -> Vec<Problem> {
        self.found.into_inner()
    }
}

/// One table of the file. Keys that are never read are problems; [`Section::finish`] reports them.
pub(crate) struct Section<'a> {
    table: &'a Table,
    path: String,
    asked: RefCell<BTreeSet<&'a str>>,
    problems: &'a Problems<'a>,
}

impl<'a> Section<'a> {
    pub(crate) fn root(table: &'a Table, problems: &'a Problems<'a>) -> Self {
        Self { table, path: String::new(), asked: RefCell::default(), problems }
    }

    pub(crate) fn path_of(&self, key: &str) -> String {
        let is_bare = key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        let key = if is_bare { key.to_string() } else { format!("\"{key}\"") };
        if self.path.is_empty() { key } else { format!("{}.{key}", self.path) }
    }

    pub(crate) fn problem(&self, key: &str, text: impl Into<String>) {
        self.problems.add(self.path_of(key), text);
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.table.keys().map(String::as_str)
    }

    fn value(&self, key: &str) -> Option<&'a Value> {
        let (key, value) = self.table.get_key_value(key)?;
        self.asked.borrow_mut().insert(key);
        Some(value)
    }

    fn typed<T>(
        &self,
        key: &str,
        expected: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Option<T> {
        let value = self.value(key)?;
        let read = read(value);
        if read.is_none() {
            self.problem(key, format!("must be {expected}, is {value}"));
        }
        read
    }

    /// Reports a missing key.
    pub(crate) fn required<T>(&self, key: &str, value: Option<T>) -> Option<T> {
        if !self.has(key) {
            self.problem(key, "is missing");
        }
        value
    }

    pub(crate) fn text(&self, key: &str) -> Option<&'a str> {
        self.typed(key, "text", Value::as_str)
    }

    pub(crate) fn boolean(&self, key: &str) -> Option<bool> {
        self.typed(key, "true or false", Value::as_bool)
    }

    /// An integer within the range of `T`.
    pub(crate) fn integer<T: TryFrom<i64>>(&self, key: &str) -> Option<T> {
        let expected = format!("an integer that fits {}", core::any::type_name::<T>());
        self.typed(key, &expected, |value| value.as_integer().and_then(|n| T::try_from(n).ok()))
    }

    /// A number, taken as the decimal written in the file.
    pub(crate) fn decimal(&self, key: &str) -> Option<Scaled> {
        self.typed(key, "a number", decimal)
    }

    /// One word from a fixed list.
    pub(crate) fn word<T: Copy>(&self, key: &str, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(key)?;
        let found = words.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            self.problem(key, not_one_of(text, words));
        }
        found.map(|(_, value)| *value)
    }

    /// A list in which every item must be valid.
    pub(crate) fn list<T>(
        &self,
        key: &str,
        expected: &str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Option<Vec<T>> {
        self.typed(key, &format!("a list of {expected}"), |value| {
            value.as_array()?.iter().map(&read).collect()
        })
    }

    pub(crate) fn section(&self, key: &str) -> Option<Section<'a>> {
        let table = self.typed(key, "a table", Value::as_table)?;
        Some(Section {
            table,
            path: self.path_of(key),
            asked: RefCell::default(),
            problems: self.problems,
        })
    }

    /// Reports the unknown keys; call it after all known ones have been read.
    pub(crate) fn finish(&self) {
        let asked = self.asked.borrow();
        for key in self.table.keys().filter(|key| !asked.contains(key.as_str())) {
            self.problem(key, "is not a key here");
        }
    }
}

pub(crate) fn not_one_of<T>(text: &str, words: &[(&str, T)]) -> String {
    let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    format!("is {text:?}, must be one of {}", known.join(", "))
}

/// A TOML number as the decimal written in the file; a float's shortest text is exactly that.
pub(crate) fn decimal(value: &Value) -> Option<Scaled> {
    match value {
        Value::Integer(n) => Some(Scaled::from(*n)),
        Value::Float(float) => format!("{float}").parse().ok(),
        Value::String(_)
        | Value::Boolean(_)
        | Value::Datetime(_)
        | Value::Array(_)
        | Value::Table(_) => None,
    }
}

//! Reads a TOML document into a type, and reports all its problems with their lines.
//!
//! A TOML reader stops at its first error. Here the offending key is noted and removed, and the
//! rest is read again, so that the operator sees all problems at once.

use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::problem::Problem;

/// Most problems that are reported: each costs another reading of the document.
const PROBLEMS_MAX: usize = 64;

/// A parsed document.
#[derive(Debug)]
pub struct Document<'t> {
    text: &'t str,
    root: Spanned<DeTable<'t>>,
}

impl<'t> Document<'t> {
    /// Parses TOML.
    ///
    /// # Errors
    /// The first error of each line that is not valid TOML.
    pub fn parse(text: &'t str) -> Result<Self, Vec<Problem>> {
        let (root, errors) = DeTable::parse_recoverable(text);
        if errors.is_empty() {
            return Ok(Self { text, root });
        }
        let mut problems: Vec<Problem> = Vec::new();
        for error in errors.iter().take(PROBLEMS_MAX) {
            let line = error.span().map(|span| line_at(text, &span));
            if problems.iter().all(|problem| problem.line != line) {
                problems.push(Problem {
                    path: String::new(),
                    line,
                    text: format!("not TOML: {}", error.message()),
                });
            }
        }
        Err(problems)
    }

    /// Reads the document without the keys that `T` does not know or cannot take; these are
    /// returned as problems. `T` must not require any key, or a document without it yields nothing.
    #[must_use]
    pub fn read<T: DeserializeOwned>(&self) -> (Option<T>, Vec<Problem>) {
        let mut problems = Vec::new();
        let mut rest = self.root.clone();
        while problems.len() < PROBLEMS_MAX {
            let error = match T::deserialize(toml::Deserializer::from(rest.clone())) {
                Ok(read) => {
                    problems.sort_by_key(|problem: &Problem| problem.line);
                    return (Some(read), problems);
                }
                Err(error) => error,
            };
            let path = error.span().and_then(|span| take_out(rest.get_mut(), &span));
            let is_taken_out = path.is_some();
            problems.push(Problem {
                path: path.unwrap_or_default(),
                line: error.span().map(|span| line_at(self.text, &span)),
                text: error.message().to_owned(),
            });
            if !is_taken_out {
                break;
            }
        }
        (None, problems)
    }

    /// Returns the line of a key such as `inverter[1].unit` or `points."ac.power".min`, or of the
    /// table that lacks it.
    #[must_use]
    pub fn line_of(&self, path: &str) -> Option<usize> {
        let mut table = self.root.get_ref();
        let mut line = None;
        let mut is_quoted = false;
        let parts = path.split(|c| {
            is_quoted ^= c == '"';
            c == '.' && !is_quoted
        });
        for part in parts.map(|part| part.trim_matches('"')) {
            let (key, place) = match part.strip_suffix(']').and_then(|part| part.split_once('[')) {
                Some((key, place)) => (key, place.parse::<usize>().ok()),
                None => (part, None),
            };
            let Some((key, mut value)) = table.get_key_value(key) else { break };
            line = Some(line_at(self.text, &key.span()));
            if let (DeValue::Array(items), Some(place)) = (value.get_ref(), place) {
                let Some(item) = items.get(place) else { break };
                line = Some(line_at(self.text, &item.span()));
                value = item;
            }
            let DeValue::Table(inner) = value.get_ref() else { break };
            table = inner;
        }
        line
    }
}

/// Removes the innermost key whose name or value contains `at`; returns its path.
fn take_out(table: &mut DeTable<'_>, at: &Range<usize>) -> Option<String> {
    for (key, value) in table.iter_mut() {
        let inner = match value.get_mut() {
            DeValue::Table(inner) => take_out(inner, at),
            DeValue::Array(items) => items.iter_mut().enumerate().find_map(|(place, item)| {
                let DeValue::Table(inner) = item.get_mut() else { return None };
                take_out(inner, at).map(|path| format!("[{place}].{path}"))
            }),
            _ => None,
        };
        if let Some(path) = inner {
            let dot = if path.starts_with('[') { "" } else { "." };
            return Some(format!("{}{dot}{path}", key.get_ref()));
        }
    }
    let holds = |span: Range<usize>| span.start <= at.start && at.end <= span.end;
    let mut entries = table.iter();
    let (key, _) = entries.find(|(key, value)| holds(key.span()) || holds(value.span()))?;
    let key = key.get_ref().to_string();
    table.remove(key.as_str());
    Some(key)
}

/// Returns the line of a place in the text, from 1.
fn line_at(text: &str, at: &Range<usize>) -> usize {
    let before = text.as_bytes().get(..at.start).unwrap_or(text.as_bytes());
    before.split(|byte| *byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Plant {
        name: String,
        size: u8,
        part: Vec<Part>,
        place: Part,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Part {
        watts: u16,
    }

    const WRONG: &str = "nam = 'x'
size = 300
[place]
watt = 5
watts = 'many'
[[part]]
watts = 7
[[part]]
wats = 8
watts = 9
";

    #[test]
    fn every_wrong_key_is_named_with_its_line_and_the_rest_is_read() {
        let (read, problems) = Document::parse(WRONG).unwrap().read::<Plant>();
        let found: BTreeMap<_, _> =
            problems.iter().map(|problem| (problem.path.as_str(), problem.line)).collect();
        let expected = [
            ("nam", Some(1)),
            ("part[1].wats", Some(9)),
            ("place.watt", Some(4)),
            ("place.watts", Some(5)),
            ("size", Some(2)),
        ];
        assert_eq!(found, BTreeMap::from(expected), "{problems:#?}");
        let parts = vec![Part { watts: 7 }, Part { watts: 9 }];
        assert_eq!(read.unwrap(), Plant { part: parts, ..Plant::default() });
    }

    #[test]
    fn lines_are_found_by_path() {
        let document = Document::parse(WRONG).unwrap();
        let quoted = Document::parse("[points]\na = 1\n[points.\"ac.power\"]\nmin = 2\n").unwrap();
        assert_eq!(quoted.line_of("points.\"ac.power\".min"), Some(4));
        assert_eq!(quoted.line_of("points.\"ac.power\".max"), Some(3));
        assert_eq!(quoted.line_of("points.\"ac.voltage\""), Some(1));
        let lines = ["size", "place.watts", "part[1].watts", "part[1].missing", "missing"]
            .map(|path| document.line_of(path));
        assert_eq!(lines, [Some(2), Some(5), Some(10), Some(8), None]);
    }

    #[test]
    fn each_line_that_is_no_toml_is_named() {
        let problems = Document::parse("a = = 1\nb = 2\nc = [\nd = 'x\n").unwrap_err();
        let lines: Vec<_> = problems.iter().filter_map(|problem| problem.line).collect();
        assert!(lines.contains(&1) && lines.len() > 1, "{problems:#?}");
    }
}

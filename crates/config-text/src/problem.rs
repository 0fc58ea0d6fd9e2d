//! One thing that is wrong with a configuration.

use std::fmt;

/// One problem in a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Path of the key, such as `inverter[1].unit`; empty if the text is not valid TOML.
    pub path: String,
    /// Line in the file, from 1.
    pub line: Option<usize>,
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.text)
    }
}

/// Formats problems for display: one in a sentence, several on a line each.
#[must_use]
pub fn list_problems(problems: &[Problem]) -> String {
    match problems {
        [problem] => problem.to_string(),
        problems => {
            let lines = problems.iter().map(|problem| format!("\n  {problem}"));
            format!("{} problems:{}", problems.len(), lines.collect::<String>())
        }
    }
}

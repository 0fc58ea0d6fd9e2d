//! Refuses the phrases that `docs/writing.md` lists, in the places that are written by that page.

use anyhow::{Context as _, Result};

use crate::run::{Root, command, output};

/// The page with the list of phrases; it quotes them.
const PAGE: &str = "docs/writing.md";

/// Files and folders that follow the page: all that people write, but for recorded data and builds.
const PLAIN: &[&str] = &[
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "README.md",
    "SECURITY.md",
    "crates/",
    "dashboard/e2e/",
    "dashboard/gallery/",
    "dashboard/src/",
    "docs/",
    "examples/",
    "firmware/",
    "packaging/",
    "profiles/",
    "xtask/",
];

const ENDINGS: &[&str] = &[".rs", ".md", ".ts", ".tsx", ".toml", ".html", ".service"];

pub(super) fn check(root: &Root, faults: &mut Vec<String>) -> Result<()> {
    let page = std::fs::read_to_string(root.join(PAGE)).context(PAGE)?;
    let phrases = phrases(&page);
    anyhow::ensure!(!phrases.is_empty(), "{PAGE} lists no phrases");
    let listed = output(command(root, "git").args(["ls-files", "-co", "--exclude-standard"]))?;
    let is_plain = |path: &&str| {
        *path != PAGE
            && PLAIN.iter().any(|place| path.starts_with(place))
            && ENDINGS.iter().any(|ending| path.ends_with(ending))
    };
    for path in listed.lines().filter(is_plain) {
        let Ok(text) = std::fs::read_to_string(root.join(path)) else { continue };
        for (line, phrase) in found(&text, &phrases) {
            faults.push(format!("{path}:{line} says \"{phrase}\"; {PAGE} has the plain form"));
        }
    }
    Ok(())
}

/// The bullets of the page's last section.
fn phrases(page: &str) -> Vec<String> {
    let (_, section) = page.split_once("\n## Refused phrases\n").unwrap_or_default();
    let bullet = |line: &str| Some(line.strip_prefix("- `")?.strip_suffix('`')?.to_lowercase());
    section.lines().filter_map(bullet).collect()
}

/// Each phrase in the text with the number of the line in which it begins.
fn found<'a>(text: &str, phrases: &'a [String]) -> Vec<(usize, &'a str)> {
    let lines: Vec<String> = text.lines().map(str::to_lowercase).collect();
    let mut found = Vec::new();
    for (place, line) in lines.iter().enumerate() {
        let line = line.trim();
        // A phrase may be broken where the line ends.
        let next = lines.get(place + 1).map_or("", |next| without_marks(next));
        let both = format!("{line} {next}");
        for phrase in phrases {
            let begins_here = |(at, _): (usize, &str)| {
                at < line.len() && is_word(&both[..at], &both[at + phrase.len()..])
            };
            if both.match_indices(phrase.as_str()).any(begins_here) {
                found.push((place + 1, phrase.as_str()));
            }
        }
    }
    found
}

/// A line without the marks of a comment or list in front.
fn without_marks(line: &str) -> &str {
    line.trim_start_matches([' ', '/', '!', '*', '-', '>'])
}

/// Whether what stands between two texts begins and ends with a whole word.
fn is_word(before: &str, after: &str) -> bool {
    let joins = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    !joins(before.chars().next_back()) && !joins(after.chars().next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phrases_are_found_as_words_and_across_lines() {
        let phrases =
            phrases("# A page\n## Refused phrases\nThese:\n\n- `Was Told`\n- `/// brings`\n");
        assert_eq!(phrases, ["was told", "/// brings"]);
        let found = |text| found(text, &phrases);
        assert_eq!(found("// It was told.\n"), [(1, "was told")]);
        assert_eq!(found("a\n    /// Who WAS\n    /// told of it\n"), [(2, "was told")]);
        assert_eq!(found("/// Brings a line.\n"), [(1, "/// brings")]);
        assert_eq!(found("let was_told = 1; // was tolding, that was_ told\n"), []);
        assert_eq!(found("// This brings a line.\n"), []);
    }
}

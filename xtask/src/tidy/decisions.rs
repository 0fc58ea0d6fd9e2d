//! The index of decision records lists every record under its title.

use anyhow::{Context as _, Result};

use crate::run::Root;

const FOLDER: &str = "docs/decisions";

pub(super) fn check(root: &Root, faults: &mut Vec<String>) -> Result<()> {
    let index = std::fs::read_to_string(root.join(FOLDER).join("README.md"))
        .context("docs/decisions/README.md")?;
    let mut records = 0;
    for entry in std::fs::read_dir(root.join(FOLDER)).context(FOLDER)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name == "README.md" {
            continue;
        }
        let text = std::fs::read_to_string(&path).with_context(|| name.clone())?;
        records += 1;
        match line_of(&name, &text) {
            Some(line) if index.lines().any(|known| known == line) => {}
            Some(line) => faults.push(format!("{FOLDER}/README.md lacks the line \"{line}\"")),
            None => faults.push(format!("{FOLDER}/{name} does not begin with \"# NUMBER Title\"")),
        }
    }
    let listed = index.lines().filter(|line| line.starts_with("| [0")).count();
    if listed != records {
        faults.push(format!("{FOLDER}/README.md lists {listed} records, and there are {records}"));
    }
    Ok(())
}

/// The line of a record in the index, from its file's name and its heading.
fn line_of(name: &str, text: &str) -> Option<String> {
    let (number, title) = text.lines().next()?.strip_prefix("# ")?.split_once(' ')?;
    name.strip_prefix(number)?.starts_with('-').then(|| format!("| [{number}]({name}) | {title} |"))
}

#[cfg(test)]
mod tests {
    use super::line_of;

    #[test]
    fn number_of_a_record_is_that_of_its_file() {
        let text = "# 0007 A title\n\nText.\n";
        assert_eq!(line_of("0007-x.md", text).as_deref(), Some("| [0007](0007-x.md) | A title |"));
        assert_eq!(line_of("0008-x.md", text), None);
        assert_eq!(line_of("0007-x.md", "A title\n"), None);
    }
}

//! Refuses circles between the files of a crate: files that use each other, directly or through
//! others, can only be read, tested and changed together.
//!
//! A file and the files below it (`uplink.rs` and `uplink/choice.rs`) are one subject and may use each
//! other. Reads the text of paths that start with `crate::`, `super::` or `self::`; test modules and
//! comments do not count. What a crate's root re-exports counts as the root's.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use crate::run::{Root, command, output};

/// A file as a path of modules; the root of a crate is the empty path.
type Module = Vec<String>;

/// The files that each file of a crate uses.
type Uses = BTreeMap<Module, BTreeSet<Module>>;

/// Circles that exist: crate, the files in it, and why it is still there. A circle may shrink,
/// and its entry with it; it may not grow. Reviews accept no new entries.
const KNOWN: &[(&str, &[&str], &str)] = &[];

pub(super) fn check(root: &Root, faults: &mut Vec<String>) -> Result<()> {
    let listed =
        output(command(root, "git").args(["ls-files", "-co", "--exclude-standard", "*.rs"]))?;
    let mut crates: BTreeMap<String, BTreeMap<Module, String>> = BTreeMap::new();
    for path in listed.lines() {
        let Some((name, file)) = place(path) else { continue };
        let Ok(text) = std::fs::read_to_string(root.join(path)) else { continue };
        crates.entry(name.to_owned()).or_default().insert(module(file), text);
    }
    let mut found = Vec::new();
    for (name, files) in &crates {
        found.extend(circles(&uses(files)).into_iter().map(|circle| (name.as_str(), circle)));
    }
    compare(&found, KNOWN, faults);
    Ok(())
}

/// The crate and the path below `src` of a source file.
fn place(path: &str) -> Option<(&str, &str)> {
    let path = path.strip_prefix("crates/").unwrap_or(path);
    let (name, file) = path.split_once("/src/")?;
    (!name.contains('/')).then_some((name, file))
}

fn module(file: &str) -> Module {
    let path = file.trim_end_matches(".rs");
    if path == "lib" || path == "main" {
        return Module::new();
    }
    path.split('/').map(str::to_owned).collect()
}

/// Reports each circle that is not known, and each known one that is no longer there as it was.
fn compare(
    found: &[(&str, BTreeSet<String>)],
    known: &[(&str, &[&str], &str)],
    faults: &mut Vec<String>,
) {
    let is_known = |name: &str, circle: &BTreeSet<String>| {
        known.iter().any(|(its, files, _)| {
            *its == name && files.len() == circle.len() && files.iter().all(|f| circle.contains(*f))
        })
    };
    for (name, circle) in found {
        if !is_known(name, circle) {
            let files: Vec<_> = circle.iter().map(String::as_str).collect();
            faults.push(format!("{name}: {} use each other in a circle", files.join(", ")));
        }
    }
    for (name, files, _) in known {
        let circle: BTreeSet<String> = files.iter().map(|&file| file.to_owned()).collect();
        if !found.iter().any(|(its, is)| its == name && *is == circle) {
            faults.push(format!(
                "{name}: {} no longer form this circle; correct its entry in KNOWN",
                files.join(", ")
            ));
        }
    }
}

fn uses(files: &BTreeMap<Module, String>) -> Uses {
    let of = |(own, text): (&Module, &String)| {
        let mut used = BTreeSet::new();
        for path in paths(text) {
            let mut target = resolve(own, &path);
            while !files.contains_key(&target) {
                target.pop();
            }
            // Every file may use the root's own items; files above and below are one subject.
            if !target.is_empty() && !target.starts_with(own) && !own.starts_with(&target) {
                used.insert(target);
            }
        }
        (own.clone(), used)
    };
    files.iter().filter(|(own, _)| !is_test(own)).map(of).collect()
}

/// Whether a module holds only tests.
fn is_test(module: &Module) -> bool {
    module.last().is_some_and(|name| name == "tests")
}

fn resolve(own: &Module, path: &[String]) -> Module {
    let mut base = if path.first().is_some_and(|first| first == "crate") {
        Module::new()
    } else {
        own.clone()
    };
    for part in path {
        match part.as_str() {
            "crate" | "self" => (),
            "super" => {
                base.pop();
            }
            _ => base.push(part.clone()),
        }
    }
    base
}

/// The paths into the crate that a text names, with the braces of `use` taken apart.
fn paths(text: &str) -> Vec<Vec<String>> {
    let code = code(text);
    let mut found = Vec::new();
    for start in ["crate::", "super::", "self::"] {
        for (at, _) in code.match_indices(start) {
            let before = code[..at].chars().next_back();
            // The middle of another path, such as `super::super::`, or of a longer word.
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            expand(&code[at..], &mut Vec::new(), &mut found);
        }
    }
    found
}

/// Reads one path or tree of paths; returns how many bytes it took.
fn expand(text: &str, prefix: &mut Vec<String>, found: &mut Vec<Vec<String>>) -> usize {
    let depth = prefix.len();
    let mut at = 0;
    loop {
        at += text[at..].len() - text[at..].trim_start().len();
        if text[at..].starts_with('{') {
            at += 1;
            while !text[at..].starts_with('}') && at < text.len() {
                at += expand(&text[at..], prefix, found);
                at += text[at..].find([',', '}', '{']).unwrap_or(text.len() - at);
                at += usize::from(text[at..].starts_with(','));
                at += text[at..].len() - text[at..].trim_start().len();
            }
            at += usize::from(at < text.len());
            break;
        }
        let word: String =
            text[at..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        at += word.len();
        let is_path = !word.is_empty() && text[at..].starts_with("::");
        if !word.is_empty() {
            prefix.push(word);
        }
        if !is_path {
            found.push(prefix.clone());
            break;
        }
        at += 2;
    }
    prefix.truncate(depth);
    at
}

/// A text without its comments and its modules of tests, which stand at its end.
fn code(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let tests = lines.windows(2).position(|pair| {
        pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod ") && pair[1].ends_with('{')
    });
    let end = tests.unwrap_or(lines.len());
    let uncommented = lines[..end].iter().map(|line| line.split("//").next().unwrap_or(""));
    uncommented.collect::<Vec<_>>().join("\n")
}

/// The largest sets of files that all use each other, over others of the set or not.
fn circles(uses: &Uses) -> Vec<BTreeSet<String>> {
    let reached: BTreeMap<&Module, BTreeSet<&Module>> =
        uses.keys().map(|file| (file, reach(uses, file))).collect();
    let mut circles: Vec<BTreeSet<String>> = Vec::new();
    for (file, its) in &reached {
        let mut circle: BTreeSet<String> = its
            .iter()
            .filter(|other| reached.get(*other).is_some_and(|theirs| theirs.contains(file)))
            .map(|other| other.join("::"))
            .collect();
        circle.insert(file.join("::"));
        if circle.len() > 1 && !circles.contains(&circle) {
            circles.push(circle);
        }
    }
    circles
}

/// Everything that a file uses, directly or through others.
fn reach<'a>(uses: &'a Uses, file: &'a Module) -> BTreeSet<&'a Module> {
    let mut reached = BTreeSet::new();
    let mut open = vec![file];
    while let Some(next) = open.pop() {
        for used in uses.get(next).into_iter().flatten() {
            if reached.insert(used) {
                open.push(used);
            }
        }
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let files = files.iter().map(|(file, text)| (module(file), (*text).to_owned())).collect();
        let list = |circle: BTreeSet<String>| circle.into_iter().collect::<Vec<_>>().join(" ");
        circles(&uses(&files)).into_iter().map(list).collect()
    }

    #[test]
    fn circles_are_found_however_the_path_is_written() {
        for path in [
            "use crate::b::B;",
            "use crate::{c::C, b::{self, B}};",
            "use crate::{\n    c::{C, D},\n    b::B,\n};",
            "use super::b::B;",
            "pub(crate) use crate::b::B as Other;",
            "fn f() -> crate::b::B { x }",
            "impl crate::b::Trait for A {}",
        ] {
            let files = [("lib.rs", "mod a;"), ("a.rs", path), ("b.rs", "use crate::a::A;")];
            assert_eq!(found(&files), ["a b"], "{path}");
        }
    }

    #[test]
    fn circles_over_other_files_are_one() {
        let files = [
            ("a.rs", "use crate::b::B;"),
            ("b.rs", "use crate::c::deep::D;"),
            ("c.rs", "mod deep;"),
            ("c/deep.rs", "use crate::a::A;"),
            ("d.rs", "use crate::a::A;"),
        ];
        assert_eq!(found(&files), ["a b c::deep"]);
        let neighbours = [("x/a.rs", "use super::b::B;"), ("x/b.rs", "use super::a::A;")];
        assert_eq!(found(&neighbours), ["x::a x::b"]);
    }

    #[test]
    fn files_of_one_subject_tests_and_comments_are_no_circle() {
        for (a, b) in [
            ("use crate::b::B;", "// crate::a::A\nstruct B;"),
            ("use crate::b::B;", "struct B;\n#[cfg(test)]\nmod tests {\n    use crate::a::A;\n}"),
            ("use crate::b::B;", "use other::a::A;"),
            ("use crate::b::B;", "use crate::A;"),
        ] {
            assert!(found(&[("lib.rs", ""), ("a.rs", a), ("b.rs", b)]).is_empty(), "{b}");
        }
        let subject = [("a.rs", "use self::b::B;"), ("a/b.rs", "use super::A;\nuse crate::a::C;")];
        assert!(found(&subject).is_empty());
        assert!(
            found(&[("a.rs", "use crate::b::B;"), ("a/tests.rs", ""), ("b.rs", "")]).is_empty()
        );
    }

    #[test]
    fn known_circles_neither_grow_nor_outlive_themselves() {
        let known: &[(&str, &[&str], &str)] = &[("store", &["a", "b"], "one day")];
        let faults = |files: &[&str]| {
            let circle: BTreeSet<String> = files.iter().map(|&file| file.to_owned()).collect();
            let found: Vec<_> =
                (!circle.is_empty()).then_some(("store", circle)).into_iter().collect();
            let mut faults = Vec::new();
            compare(&found, known, &mut faults);
            faults.len()
        };
        assert_eq!(faults(&["a", "b"]), 0);
        assert_eq!(faults(&[]), 1);
        // Another circle in the place of the known one.
        assert_eq!(faults(&["a", "b", "c"]), 2);
    }

    #[test]
    fn files_are_told_apart_by_crate() {
        assert_eq!(place("crates/store/src/sqlite/wal.rs"), Some(("store", "sqlite/wal.rs")));
        assert_eq!(place("xtask/src/run.rs"), Some(("xtask", "run.rs")));
        assert_eq!(place("crates/store/tests/it/main.rs"), None);
    }
}

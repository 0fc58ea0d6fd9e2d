//! The mechanical half of ARCHITECTURE.md's rules, checked over the manifests and the sources.

mod circles;
mod decisions;
mod language;

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::mutations;
use crate::run::{Root, cargo, command, output};

/// Crate, and the project's crates that it may use. Tests (dev-dependencies) may use anything. The
/// table in ARCHITECTURE.md has the same rows.
const LAYERS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("clock", &["model"]),
    ("config-text", &[]),
    ("modbus", &[]),
    ("profile", &["model", "config-text"]),
    ("codec", &["model"]),
    ("original", &[]),
    ("original-firmware", &[]),
    ("envelope", &["model"]),
    ("artifact", &["model", "envelope"]),
    ("update", &["model", "artifact"]),
    ("wire", &["model"]),
    ("device", &["model", "modbus", "profile", "codec", "envelope", "wire"]),
    ("node", &["model", "profile", "codec", "envelope", "wire", "device"]),
    (
        "agent",
        &[
            "model",
            "clock",
            "config-text",
            "modbus",
            "profile",
            "codec",
            "envelope",
            "wire",
            "device",
            "node",
            "original",
        ],
    ),
    ("inverter-sim", &["model", "clock", "modbus", "profile"]),
    ("store", &["model", "codec"]),
    ("vfs", &[]),
    ("api", &[]),
    (
        "server",
        &[
            "model",
            "clock",
            "config-text",
            "profile",
            "codec",
            "original",
            "envelope",
            "wire",
            "store",
            "api",
        ],
    ),
    ("client", &["api"]),
    (
        "fleet-sim",
        &[
            "model",
            "clock",
            "modbus",
            "profile",
            "codec",
            "envelope",
            "wire",
            "device",
            "node",
            "inverter-sim",
            "store",
            "vfs",
            "server",
        ],
    ),
];

/// Crates that run on a microcontroller.
const NO_STD: &[&str] = &[
    "model", "modbus", "profile", "codec", "original", "envelope", "artifact", "update", "wire",
    "device", "node",
];

/// A crate, the crates that may use it, and where in their sources it may be named.
const RESERVED: &[(&str, &[(&str, &str)])] = &[
    // Subject modules of the server have types of their own. Answers of `history` are too large to
    // be built twice, and `limits` compares the API's limits with the server's.
    (
        "ecowatt-api",
        &[
            ("server", "src/http"),
            ("server", "src/history"),
            ("server", "src/limits.rs"),
            ("client", "src"),
            ("ecowatt", "src"),
            ("system-tests", "src"),
        ],
    ),
    ("rusqlite", &[("store", "src")]),
    ("libsqlite3-sys", &[("vfs", "src")]),
    ("axum", &[("server", "src/http"), ("inverter-sim", "src/control")]),
    ("utoipa", &[("api", "src"), ("server", "src/http")]),
    ("utoipa-axum", &[("server", "src/http")]),
    ("aes", &[("envelope", "src"), ("original-firmware", "src")]),
    ("ccm", &[("envelope", "src")]),
    ("ed25519-dalek", &[("envelope", "src")]),
    ("hkdf", &[("envelope", "src")]),
    ("hmac", &[("envelope", "src")]),
    ("rsa", &[("original-firmware", "src")]),
    ("x25519-dalek", &[("envelope", "src")]),
];

/// The one crate that may contain `unsafe`; its manifest repeats the workspace's lints, all but
/// one.
const UNSAFE: &str = "vfs";

/// Names that show that the right noun has not been found yet.
const FILE_NAMES: &[&str] = &["util", "utils", "helper", "helpers", "common", "misc", "shared"];
const TYPE_ENDINGS: &[&str] = &["Manager", "Handler", "Service", "Helper", "Utils"];

/// Checks all rules and reports every fault at once.
pub(crate) fn check(root: &Root) -> Result<()> {
    let mut faults = Vec::new();
    manifests(root, &mut faults)?;
    sources(root, &mut faults)?;
    let map = std::fs::read_to_string(root.join("ARCHITECTURE.md")).context("ARCHITECTURE.md")?;
    compare_layers(&map, &mut faults);
    circles::check(root, &mut faults)?;
    decisions::check(root, &mut faults)?;
    language::check(root, &mut faults)?;
    // A change that moves the place of a mutation fails here, before the mutations are tried.
    mutations::check_places(root, &mut faults)?;
    if faults.is_empty() {
        return Ok(());
    }
    bail!("{} rules are broken:\n  {}", faults.len(), faults.join("\n  "))
}

fn manifests(root: &Root, faults: &mut Vec<String>) -> Result<()> {
    let text = output(cargo(root).args(["metadata", "--no-deps", "--format-version", "1"]))?;
    let metadata: serde_json::Value =
        serde_json::from_str(&text).context("reading cargo's metadata")?;
    let workspace = std::fs::read_to_string(root.join("Cargo.toml")).context("Cargo.toml")?;
    let packages = metadata["packages"].as_array().context("metadata lists packages")?;
    for package in packages {
        let Some(name) = package["name"].as_str() else { continue };
        let short = name.strip_prefix("ecowatt-").unwrap_or(name);
        let dependencies: BTreeSet<&str> = package["dependencies"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|dependency| dependency["kind"].as_str() != Some("dev"))
            .filter_map(|dependency| dependency["name"].as_str())
            .collect();
        if let Some((_, allowed)) = LAYERS.iter().find(|(layer, _)| *layer == short) {
            for dependency in &dependencies {
                let Some(used) = dependency.strip_prefix("ecowatt-") else { continue };
                if !allowed.contains(&used) {
                    faults.push(format!("{short} may not depend on {used}"));
                }
            }
        }
        for (reserved, users) in RESERVED {
            let is_user = users.iter().any(|(user, _)| *user == short);
            if dependencies.contains(reserved) && !is_user {
                faults.push(format!("{short} may not depend on {reserved}"));
            }
        }
        if let Some(manifest) = package["manifest_path"].as_str() {
            let text = std::fs::read_to_string(manifest).with_context(|| manifest.to_owned())?;
            let takes_lints = if short == UNSAFE {
                repeats_lints(&workspace, &text)
            } else {
                text.contains("[lints]\nworkspace = true")
            };
            if !takes_lints {
                faults.push(format!("{short} does not inherit the workspace's lints"));
            }
        }
    }
    for layer in LAYERS.iter().map(|(layer, _)| layer) {
        if !root.join("crates").join(layer).join("src/lib.rs").exists() {
            faults.push(format!("the layer table names {layer}, which does not exist"));
        }
    }
    Ok(())
}

/// Compares the rows of ARCHITECTURE.md's table of dependencies with [`LAYERS`].
fn compare_layers(map: &str, faults: &mut Vec<String>) {
    const HEAD: &str = "| crate | may depend on |";
    let rows = map.lines().skip_while(|line| *line != HEAD).skip(2);
    let written: Vec<&str> = rows.take_while(|line| line.starts_with('|')).collect();
    let row = |(layer, used): &(&str, &[&str])| {
        let used = if used.is_empty() { "–".to_owned() } else { used.join(", ") };
        format!("| {layer} | {used} |")
    };
    let checked: Vec<String> = LAYERS.iter().map(row).collect();
    for row in checked.iter().filter(|row| !written.contains(&row.as_str())) {
        faults.push(format!("ARCHITECTURE.md's table of dependencies lacks the row {row}"));
    }
    for row in written.iter().filter(|row| checked.iter().all(|checked| checked != *row)) {
        faults.push(format!("ARCHITECTURE.md's table of dependencies has another row: {row}"));
    }
}

/// Whether a manifest has every lint of the workspace, with `unsafe_code` denied (so that a module
/// has to ask for it) instead of forbidden.
fn repeats_lints(workspace: &str, manifest: &str) -> bool {
    let mut is_lint = false;
    let lints: Vec<&str> = workspace
        .lines()
        .filter(|line| {
            if line.starts_with('[') {
                is_lint = line.starts_with("[workspace.lints.");
            }
            is_lint && line.contains('=')
        })
        .map(|line| if line.starts_with("unsafe_code") { "unsafe_code = \"deny\"" } else { line })
        .collect();
    !lints.is_empty() && lints.iter().all(|lint| manifest.lines().any(|line| line == *lint))
}

fn sources(root: &Root, faults: &mut Vec<String>) -> Result<()> {
    let listed =
        output(command(root, "git").args(["ls-files", "-co", "--exclude-standard", "*.rs"]))?;
    for path in listed.lines() {
        let Ok(text) = std::fs::read_to_string(root.join(path)) else { continue };
        let first = text.lines().find(|line| !line.is_empty() && !line.starts_with("#!["));
        if !first.is_some_and(|line| line.starts_with("//!")) {
            faults.push(format!("{path} does not start with a comment that states its purpose"));
        }
        let stem = Path::new(path).file_stem().and_then(|stem| stem.to_str()).unwrap_or("");
        if FILE_NAMES.contains(&stem) || stem == "mod" {
            faults.push(format!("{path} has a name that does not tell its subject"));
        }
        for line in text.lines() {
            let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
            if words.any(|word| word == "struct" || word == "enum" || word == "trait")
                && let Some(name) = words.next()
                && TYPE_ENDINGS.iter().any(|ending| name.ends_with(ending))
            {
                faults.push(format!("{path}: {name} has a vague ending; use a noun of the field"));
            }
        }
        let Some((krate, inside)) = path.strip_prefix("crates/").and_then(|p| p.split_once('/'))
        else {
            continue;
        };
        if inside == "src/lib.rs" && NO_STD.contains(&krate) && !text.contains("no_std") {
            faults.push(format!("{krate} must be no_std"));
        }
        if !inside.starts_with("src/") {
            continue;
        }
        for (reserved, users) in RESERVED {
            let name = format!("{}::", reserved.replace('-', "_"));
            let may = users.iter().any(|(user, place)| *user == krate && inside.starts_with(place));
            if !may && text.lines().any(|line| names_crate(line, &name)) {
                faults.push(format!("{path} may not use {reserved}"));
            }
        }
    }
    Ok(())
}

/// Whether a line of code (not a comment) uses the crate whose path begins with `name`.
fn names_crate(line: &str, name: &str) -> bool {
    let code = line.split("//").next().unwrap_or("");
    code.match_indices(name).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repository_keeps_its_rules() {
        check(&Root::find().unwrap()).unwrap();
    }

    #[test]
    fn tables_of_dependencies_are_the_same_in_both_places() {
        let root = Root::find().unwrap();
        let map = std::fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
        let faults_of = |map: &str| {
            let mut faults = Vec::new();
            compare_layers(map, &mut faults);
            faults.len()
        };
        assert_eq!(faults_of(&map), 0);
        // One row lacks, and another is in its place.
        assert_eq!(faults_of(&map.replace("| client | api |", "| client | api, server |")), 2);
        assert_eq!(faults_of(&map.replace("| vfs | – |\n", "")), 1);
        assert_eq!(faults_of(""), LAYERS.len());
    }

    #[test]
    fn lints_are_repeated_all_but_one() {
        let workspace =
            "[a]\nb = 1\n[workspace.lints.rust]\nunsafe_code = \"forbid\"\nc = \"warn\"\n";
        assert!(repeats_lints(workspace, "[lints.rust]\nc = \"warn\"\nunsafe_code = \"deny\"\n"));
        assert!(!repeats_lints(workspace, "[lints.rust]\nc = \"warn\"\nunsafe_code = \"allow\"\n"));
        assert!(!repeats_lints(workspace, "[lints.rust]\nunsafe_code = \"deny\"\n"));
        assert!(!repeats_lints("", "unsafe_code = \"deny\""));
    }

    #[test]
    fn use_of_a_crate_is_told_from_words_like_it() {
        assert!(names_crate("use axum::Router;", "axum::"));
        assert!(names_crate("    let app = axum::serve(a, b);", "axum::"));
        assert!(!names_crate("use utoipa_axum::router;", "axum::"));
        assert!(!names_crate("// axum::Router is for http", "axum::"));
    }
}

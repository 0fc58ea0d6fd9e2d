//! Breaks the product on purpose, one plain mistake at a time, and sees that the simulation notices.
//!
//! Each mutation is a change of source text in a copy of the repository, never a switch in it. The
//! copy is built and simulated under the seed that is known to catch it; the run must end with a
//! broken promise, and the untouched copy must not.

use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};

use crate::run::{Root, cargo, check, command, output, step};

/// A mistake, and the seed that finds it.
struct Mutation {
    name: &'static str,
    file: &'static str,
    from: &'static str,
    to: &'static str,
    seed: u64,
}

const MUTATIONS: &[Mutation] = &[
    Mutation {
        name: "server acknowledges before the commit",
        file: "crates/store/src/sqlite/writer.rs",
        from: "outcome.and_then(|done| committed.map(|()| done))",
        to: "outcome.and_then(|done| committed.map(|()| done.clone()).or(Ok(done)))",
        seed: 1,
    },
    Mutation {
        name: "server keeps rows in memory of a group that was not committed",
        file: "crates/store/src/sqlite/writer.rs",
        from: "            self.rows.clear();\n",
        to: "",
        seed: 1,
    },
    Mutation {
        name: "server forgets which batches it has",
        file: "crates/store/src/sqlite/ingest.rs",
        from: "    epochs.store(rows, device)?;\n",
        to: "",
        seed: 1,
    },
    Mutation {
        name: "database does not wait for its disk",
        file: "crates/store/src/sqlite.rs",
        from: "\"synchronous\", \"full\"",
        to: "\"synchronous\", \"off\"",
        seed: 1,
    },
    Mutation {
        name: "energy across a filled hole is counted twice",
        file: "crates/store/src/sqlite/ingest.rs",
        from: "in spanned.negated_days() {",
        to: "in spanned.negated_days().into_iter().take(0) {",
        seed: 1,
    },
    Mutation {
        name: "server places samples without regard to their age",
        file: "crates/server/src/ingest/anchors.rs",
        from: "    now.0.saturating_sub(age)\n",
        to: "    let _ = age;\n    now.0\n",
        seed: 1,
    },
    Mutation {
        name: "device takes a batch for durable that is not",
        file: "crates/agent/src/node.rs",
        from: "self.core.handle_persisted(now, result.is_ok());",
        to: "self.core.handle_persisted(now, true);",
        seed: 1,
    },
    Mutation {
        name: "draft is not synced",
        file: "crates/agent/src/storage/draft.rs",
        from: "        self.disk.sync(&journal.name).map_err(failed)?;\n",
        to: "",
        seed: 1,
    },
    Mutation {
        name: "spool is not synced",
        file: "crates/agent/src/storage/spool.rs",
        from: "if is_synced { self.disk.sync(&name) } else { Ok(()) }",
        to: "{ let _ = is_synced; Ok(()) }",
        seed: 1,
    },
    Mutation {
        name: "samples of the last epoch are thrown away",
        file: "crates/agent/src/storage.rs",
        from: "samples.retain(|sample| !self.spool.covers(source, epoch, sample.ordinal));",
        to: "samples.clear();",
        seed: 1,
    },
    Mutation {
        name: "samples that are in batches already are recovered again",
        file: "crates/agent/src/storage.rs",
        from: "samples.retain(|sample| !self.spool.covers(source, epoch, sample.ordinal));",
        to: "",
        seed: 1,
    },
    Mutation {
        name: "counters are used before their reservation",
        file: "crates/agent/src/storage/ledger.rs",
        from: "        record.reserved = limit.0.max(record.reserved);\n",
        to: "        let _ = limit;\n",
        seed: 1,
    },
    Mutation {
        name: "a counter seals the next message too",
        file: "crates/device/src/uplink.rs",
        from: "        self.next_counter += 1;\n",
        to: "",
        seed: 1,
    },
    Mutation {
        name: "a sample gets the time at which its batch began",
        file: "crates/device/src/device.rs",
        from: "(TimeBase::Unix, Some(unix)) => unix.0,",
        to: "(TimeBase::Unix, Some(unix)) => unix.0 - unix.0 % 900_000,",
        seed: 1,
    },
    Mutation {
        name: "a reply frees all batches of its epoch",
        file: "crates/agent/src/node/done.rs",
        from: "    (id(range.first), id(range.last))\n",
        to: "    (id(range.first), id(ecowatt_model::Sequence(range.last.0 + 1)))\n",
        seed: 1,
    },
    Mutation {
        name: "spool drops nothing when it is full",
        file: "crates/agent/src/storage/spool.rs",
        from: "while self.bytes() + len > self.limit_bytes",
        to: "while self.bytes() + len > 64 * self.limit_bytes",
        seed: 1,
    },
];

/// Tries every mutation, or those whose names contain one of `names`.
pub(crate) fn run(root: &Root, names: &[String]) -> Result<()> {
    let folder = root.target().join("mutations");
    let tree = folder.join("tree");
    copy(root, &tree)?;
    let target = folder.join("target");
    step("the product as it is", || {
        let seeds = MUTATIONS.iter().map(|mutation| mutation.seed);
        let mut seeds: Vec<u64> = seeds.collect();
        seeds.sort_unstable();
        seeds.dedup();
        let verdict = simulate(root, &tree, &target, &seeds)?;
        ensure!(verdict.is_none(), "breaks a promise: {}", verdict.unwrap_or_default());
        Ok(())
    })?;
    let mut missed = Vec::new();
    let is_wanted =
        |name: &str| names.is_empty() || names.iter().any(|wanted| name.contains(wanted.as_str()));
    for mutation in MUTATIONS.iter().filter(|mutation| is_wanted(mutation.name)) {
        step(mutation.name, || {
            let path = tree.join(mutation.file);
            let whole = std::fs::read_to_string(&path)
                .with_context(|| format!("reading {}", mutation.file))?;
            let places = whole.matches(mutation.from).count();
            ensure!(places == 1, "{} has {places} places to change", mutation.file);
            std::fs::write(&path, whole.replace(mutation.from, mutation.to))?;
            let verdict = simulate(root, &tree, &target, &[mutation.seed]);
            std::fs::write(&path, whole)?;
            match verdict? {
                Some(broken) => eprintln!("    caught: {}", broken.trim_end()),
                None => {
                    eprintln!("    NOT CAUGHT by seed {}", mutation.seed);
                    missed.push(mutation.name);
                }
            }
            Ok(())
        })?;
    }
    if missed.is_empty() {
        return Ok(());
    }
    bail!("{} mutations were not caught: {}", missed.len(), missed.join("; "))
}

/// What the simulation says is broken, if anything is.
fn simulate(root: &Root, tree: &Path, target: &Path, seeds: &[u64]) -> Result<Option<String>> {
    let inside = |subcommand: &str| {
        let mut run = cargo(root);
        run.current_dir(tree).env("CARGO_TARGET_DIR", target);
        run.args([subcommand, "--quiet", "--package", "ecowatt-fleet", "--example", "seeds"]);
        run
    };
    check(&mut inside("build")).context("a mutation must compile")?;
    let mut simulation = inside("run");
    simulation.arg("--").args(seeds.iter().map(u64::to_string));
    let done = simulation.output().context("starting the simulation")?;
    match done.status.code() {
        Some(0) => Ok(None),
        Some(1) => Ok(Some(String::from_utf8_lossy(&done.stdout).into_owned())),
        _ => bail!("the simulation ended with {}", done.status),
    }
}

/// Copies what git knows of the repository, and what it could know; unchanged files are left alone,
/// so that little is compiled again.
fn copy(root: &Root, tree: &Path) -> Result<()> {
    let listed = output(command(root, "git").args(["ls-files", "-co", "--exclude-standard"]))?;
    for path in listed.lines() {
        let (from, to) = (root.join(path), tree.join(path));
        let Ok(bytes) = std::fs::read(&from) else { continue };
        if std::fs::read(&to).is_ok_and(|held| held == bytes) {
            continue;
        }
        if let Some(folder) = to.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(&to, bytes).with_context(|| format!("copying {path}"))?;
    }
    Ok(())
}

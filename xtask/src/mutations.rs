//! Breaks the product on purpose, one plain mistake at a time, and checks that the simulation
//! notices.
//!
//! Each mutation is a change of source text in a copy of the repository, never a switch in the
//! code. The copy is built and simulated under the seed that caught it last, and then under others; a
//! run must break the promise that the mistake is listed with, and the unchanged copy must break none.

mod list;

use std::collections::BTreeSet;
use std::io::Read as _;
use std::iter;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use crate::run::{Root, cargo, command, output, step};
use list::{MUTATIONS, Mutation};

/// Simulations of all seeds that take longer hang: one takes seconds.
const SIMULATION_MAX: Duration = Duration::from_secs(1200);
/// Seeds that are tried after the one that a mutation is listed with. Which seed shows a mistake
/// changes with everything that changes what the simulated devices do.
const SEEDS_TRIED: u64 = 12;
/// How often a running simulation is checked.
const LOOK: Duration = Duration::from_millis(20);

/// Tries every mutation, or those whose names contain one of the names given. With `--seeds N` it
/// looks for the smallest seed up to `N` that catches each.
pub(crate) fn run(root: &Root, args: &[String]) -> Result<()> {
    let (seeds_max, names) = match args {
        [option, max, names @ ..] if option == "--seeds" => {
            (Some(max.parse().context("--seeds N must be a whole number")?), names)
        }
        names => (None, names),
    };
    let is_wanted = |mutation: &&Mutation| {
        names.is_empty() || names.iter().any(|name| mutation.name.contains(name.as_str()))
    };
    let wanted: Vec<&Mutation> = MUTATIONS.iter().filter(is_wanted).collect();
    ensure!(!wanted.is_empty(), "no mutation has that name");
    check_promises(root)?;
    let mut faults = Vec::new();
    check_places(root, &mut faults)?;
    ensure!(faults.is_empty(), "{}", faults.join("\n  "));
    let tree = root.target().join("mutations");
    copy(root, &tree)?;
    let simulation = Simulation { root, tree: &tree };
    let as_it_is = |seeds: Vec<u64>| {
        let verdict = simulation.run(None, &seeds)?;
        ensure!(verdict.is_none(), "breaks a promise: {}", verdict.unwrap_or_default());
        Ok(())
    };
    let listed: BTreeSet<u64> = wanted.iter().map(|mutation| mutation.seed).collect();
    if seeds_max.is_none() {
        step("the product as it is", || as_it_is(listed.iter().copied().collect()))?;
    }
    let mut missed = Vec::new();
    let mut others = BTreeSet::new();
    for mutation in wanted {
        let seeds: Vec<u64> = match seeds_max {
            Some(max) => (1..=max).collect(),
            None => iter::once(mutation.seed)
                .chain((1..=SEEDS_TRIED).filter(|seed| *seed != mutation.seed))
                .collect(),
        };
        // The others are still tried.
        match step(mutation.name, || simulation.catches(mutation, &seeds)) {
            Ok(Some(seed)) if seed == mutation.seed => {}
            Ok(Some(seed)) => {
                eprintln!("    caught under seed {seed}, listed with {}", mutation.seed);
                others.extend((!listed.contains(&seed)).then_some(seed));
            }
            Ok(None) => missed.push(mutation.name),
            Err(error) => {
                eprintln!("    {error:#}");
                missed.push(mutation.name);
            }
        }
    }
    if !others.is_empty() {
        step("the product as it is, seeds that are not listed", || {
            as_it_is(others.into_iter().collect())
        })?;
    }
    ensure!(missed.is_empty(), "{} were not caught: {}", missed.len(), missed.join("; "));
    Ok(())
}

/// Checks that every promise of the simulation is broken by a mutation, and that no other is named.
fn check_promises(root: &Root) -> Result<()> {
    let file = "crates/fleet-sim/src/judges/promises.rs";
    let text =
        std::fs::read_to_string(root.join(file)).with_context(|| format!("reading {file}"))?;
    let (_, variants) = text.split_once("pub enum Invariant {").context("there is no Invariant")?;
    let (variants, _) = variants.split_once('}').context("Invariant has no end")?;
    let names = variants.lines().map(|line| line.trim().trim_end_matches(','));
    let promises: Vec<&str> =
        names.filter(|name| !name.is_empty() && !name.starts_with("//")).collect();
    for mutation in MUTATIONS {
        let name = mutation.name;
        ensure!(promises.contains(&mutation.breaks), "{name}: there is no {}", mutation.breaks);
    }
    let is_untried = |name: &&&str| !MUTATIONS.iter().any(|mutation| mutation.breaks == **name);
    let untried: Vec<&str> = promises.iter().filter(is_untried).copied().collect();
    ensure!(untried.is_empty(), "no mutation breaks {}", untried.join(", "));
    Ok(())
}

/// Checks that the product still has the text that each mutation changes, even if it is not tried.
pub(crate) fn check_places(root: &Root, faults: &mut Vec<String>) -> Result<()> {
    for mutation in MUTATIONS {
        let path = root.join(mutation.file);
        let whole = std::fs::read_to_string(path).with_context(|| mutation.file.to_owned())?;
        if let Err(fault) = broken(mutation, &whole) {
            faults.push(format!("mutation {:?}: {fault}", mutation.name));
        }
    }
    Ok(())
}

/// A file with the mutation's mistake in it.
fn broken(mutation: &Mutation, whole: &str) -> Result<String> {
    let mut broken = whole.to_owned();
    for (from, to) in mutation.changes {
        let places = broken.matches(from).count();
        ensure!(places == 1, "{} has {places} places with {from:?}", mutation.file);
        broken = broken.replace(from, to);
    }
    Ok(broken)
}

/// The simulation of a copy of the product.
struct Simulation<'a> {
    root: &'a Root,
    tree: &'a Path,
}

impl Simulation<'_> {
    /// Returns the first of the seeds that breaks the promise in a product with this mistake.
    fn catches(&self, mutation: &Mutation, seeds: &[u64]) -> Result<Option<u64>> {
        let path = self.tree.join(mutation.file);
        let whole =
            std::fs::read_to_string(&path).with_context(|| format!("reading {}", mutation.file))?;
        std::fs::write(&path, broken(mutation, &whole)?)?;
        let said = self.run(Some(mutation.breaks), seeds);
        std::fs::write(&path, whole)?;
        let said = said?.unwrap_or_default();
        said.lines().for_each(|line| eprintln!("    {line}"));
        let promise = format!(": {}: ", mutation.breaks);
        let caught = said.lines().find(|line| line.contains(&promise));
        let seed = caught.and_then(|line| line.split_once(':')?.0.parse().ok());
        if seed.is_none() {
            eprintln!("    {} is not broken under the seeds {seeds:?}", mutation.breaks);
        }
        Ok(seed)
    }

    /// Returns the broken promise, if any. Seeds are tried until one breaks the wanted promise or,
    /// if none is wanted, any promise.
    fn run(&self, wanted: Option<&str>, seeds: &[u64]) -> Result<Option<String>> {
        let inside = |subcommand: &str| {
            let mut run = cargo(self.root);
            // Never the repository's own target: cargo would take compiled mutations for the
            // product.
            run.current_dir(self.tree).env("CARGO_TARGET_DIR", self.tree.join("target"));
            run.args([
                subcommand,
                "--quiet",
                "--package",
                "ecowatt-fleet-sim",
                "--example",
                "seeds",
            ]);
            run
        };
        let built = inside("build").output().context("starting cargo")?;
        if !built.status.success() {
            bail!("a mutation must compile:\n{}", String::from_utf8_lossy(&built.stderr));
        }
        let mut simulation = inside("run");
        simulation.arg("--").args(wanted.iter().flat_map(|promise| ["--breaks", promise]));
        simulation.args(seeds.iter().map(u64::to_string));
        let (status, said) = within(&mut simulation, SIMULATION_MAX)?;
        match status {
            Some(0) if said.is_empty() => Ok(None),
            Some(0 | 1) => Ok(Some(said)),
            Some(status) => bail!("the simulation ended with {status}"),
            None => bail!("the simulation was killed: it did not end"),
        }
    }
}

/// Runs a command; returns its status, unless it had to be killed, and its output.
fn within(command: &mut Command, longest: Duration) -> Result<(Option<i32>, String)> {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let mut stdout = child.stdout.take().context("standard output is piped")?;
    let reader = thread::spawn(move || {
        let mut said = String::new();
        stdout.read_to_string(&mut said).map(|_| said)
    });
    let mut waited = Duration::ZERO;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status.code();
        }
        if waited >= longest {
            child.kill()?;
            child.wait()?;
            break None;
        }
        thread::sleep(LOOK);
        waited += LOOK;
    };
    let said = reader.join().map_err(|_| anyhow::anyhow!("reading its output panicked"))??;
    Ok((status, said))
}

/// Copies the repository's tracked and untracked files, except ignored ones; unchanged files are
/// not written, so that little is compiled again.
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

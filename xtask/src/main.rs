//! The project's own commands: `cargo xtask test`, `ci`, `tidy`, `bench`, `crash`.
//!
//! Each command is a list of steps. `ci` installs missing test programs from the machine's package
//! registries; other commands do so on request. Tests that could not be run are listed at the end;
//! `ci` then fails, and so does a step that was named explicitly.
#![expect(clippy::print_stderr, reason = "a command line tool prints what it does")]

mod dashboard;
mod install;
mod microcontroller;
mod mutations;
mod run;
mod tidy;

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

use crate::install::{Missing, Untested};
use crate::run::{Root, cargo, step};

const HELP: &str = "\
Usage: cargo xtask COMMAND

  test [--install]   every test: Rust, documentation examples, foreign peers, real browser;
                     lists at the end what could not be tested on this machine, or installs what
                     is missing with apt-get
  ci                 test, and formatting, lints, documentation, architecture rules, committed output
  tidy               only the architecture rules
  bench [ARGS]       measures the figures of docs/figures.md (release build); with
                     --cold-build it also times a clean build of the binary
  crash [ARGS]       kills server and agents at random under load and counts lost and doubled samples
  fleet [ARGS]       simulates fleets with faults under random seeds, for --minutes M (10)
  mutations [NAME]   breaks the product on purpose and checks that the simulation notices; with
                     --seeds N it looks for the seed that does. ci tries three, all take minutes
  commands [ARGS]    sends commands while server and agents are killed, and counts how often each
                     was executed
  chaos [ARGS]       runs real processes with bad networks, full disks and overload, for --minutes M
  dashboard          rebuilds dashboard/dist and api types from source
  browser            only the browser tests
  microcontroller    builds the node for riscv32imc and runs it in emulation; prints sizes and costs
  fuzz [SECONDS]     runs each fuzz target for a while (needs cargo-fuzz and a nightly toolchain)

Environment: CARGO_TARGET_DIR shares compiled code between clones.
";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let command = args.next().unwrap_or_default();
    let rest: Vec<String> = args.collect();
    match dispatch(&command, &rest) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask {command}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: &str, rest: &[String]) -> Result<()> {
    let root = Root::find()?;
    match command {
        "test" => match rest {
            [] => test(&root, Missing::Leave).map(|untested| say(&untested)),
            [install] if install == "--install" => {
                test(&root, Missing::Install).map(|untested| say(&untested))
            }
            _ => bail!("test takes --install or nothing\n\n{HELP}"),
        },
        "ci" => ci(&root),
        "tidy" => step("architecture rules", || tidy::check(&root)),
        "bench" => bench(&root, rest),
        "crash" => system_test(&root, "crash", rest),
        "commands" => system_test(&root, "commands", rest),
        "chaos" => system_test(&root, "chaos", rest),
        "fleet" => fleet(&root, rest),
        "mutations" => mutations::run(&root, rest),
        "dashboard" => dashboard::build(&root),
        "browser" => dashboard::browser_is_there(&root, Missing::Install)
            .and_then(|()| dashboard::browser(&root))
            .and_then(|()| dashboard::gallery(&root)),
        "microcontroller" => {
            let mut untested = Untested::new();
            microcontroller(&root, Missing::Install, &mut untested)?;
            nothing_untested(&untested)
        }
        "fuzz" => fuzz(&root, rest),
        "" | "help" | "--help" | "-h" => {
            eprint!("{HELP}");
            Ok(())
        }
        other => bail!("no command `{other}`\n\n{HELP}"),
    }
}

/// Runs all tests that the machine allows.
fn test(root: &Root, missing: Missing) -> Result<Untested> {
    let mut untested = Untested::new();
    let mut tests = cargo(root);
    tests.args(["test", "--workspace", "--no-fail-fast"]);
    let python = step("a Python, for a foreign Modbus peer and a foreign client", || {
        install::python(root, missing)
    });
    match python {
        Ok(python) => {
            tests.env("ECOWATT_PYTHON", python);
        }
        Err(error) => untested.push(format!("pymodbus and the Python client: {error:#}")),
    }
    step("tests", || run::check(&mut tests))?;
    // Its compiler comes from rustup, which not every machine that may install packages can reach.
    let mut without_tools = Untested::new();
    microcontroller(root, missing, &mut without_tools)?;
    say(&without_tools);
    match step("a browser", || dashboard::browser_is_there(root, missing)) {
        Ok(()) => {
            step("pages in a real browser", || dashboard::browser(root))?;
            step("every component in every state", || dashboard::gallery(root))?;
        }
        Err(error) => untested.push(format!("pages in a browser: {error:#}")),
    }
    Ok(untested)
}

/// Builds the node for a microcontroller and runs it in emulation, as far as the machine allows.
fn microcontroller(root: &Root, missing: Missing, untested: &mut Untested) -> Result<()> {
    let target = step("a compiler for a microcontroller", || {
        microcontroller::target_is_there(root, missing)
    });
    if let Err(error) = target {
        untested.push(format!("the node on a microcontroller: {error:#}"));
        return Ok(());
    }
    let program = step("the node on a microcontroller", || microcontroller::build(root))?;
    match step("an emulator", || microcontroller::emulator_is_there(root, missing)) {
        Ok(()) => step("one sample and one upload in emulation", || {
            microcontroller::emulate(root, &program)
        }),
        Err(error) => {
            untested.push(format!("the node in emulation: {error:#}"));
            Ok(())
        }
    }
}

fn say(untested: &Untested) {
    for what in untested {
        eprintln!("NOT TESTED: {what}");
    }
}

/// Fails if something could not be tested: a list in a successful run would go unread.
fn nothing_untested(untested: &Untested) -> Result<()> {
    say(untested);
    anyhow::ensure!(untested.is_empty(), "not everything was tested");
    Ok(())
}

fn ci(root: &Root) -> Result<()> {
    step("formatting", || run::check(cargo(root).args(["fmt", "--all", "--check"])))?;
    step("architecture rules", || tidy::check(root))?;
    step("lints", || {
        let lints = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
        run::check(cargo(root).args(lints))
    })?;
    step("documentation", || {
        let mut doc = cargo(root);
        doc.args(["doc", "--workspace", "--no-deps", "--document-private-items"]);
        run::check(doc.env("RUSTDOCFLAGS", "-D warnings -A rustdoc::private_intra_doc_links"))
    })?;
    step("committed dashboard", || dashboard::verify(root))?;
    let untested = test(root, Missing::Install)?;
    step("three mistakes that the simulation must catch", || {
        let three = ["before the commit", "draft is not synced", "gaps are not repeated"];
        mutations::run(root, &three.map(str::to_owned))
    })?;
    step("kills under load, short", || {
        system_test(root, "crash", &["--kills".into(), "12".into()])
    })?;
    step("commands under kills, short", || {
        system_test(root, "commands", &["--commands".into(), "120".into()])
    })?;
    // Runs until every kind of fault has occurred, which takes about a minute.
    let short = ["--minutes", "0.5", "--seed", "1"].map(String::from);
    step("all faults at once, short", || system_test(root, "chaos", &short))?;
    nothing_untested(&untested)
}

/// Looks for new failures with `ecowatt simulate`.
fn fleet(root: &Root, rest: &[String]) -> Result<()> {
    let mut simulate = cargo(root);
    simulate.args(["run", "--quiet", "--release", "--package", "ecowatt", "--", "simulate"]);
    simulate.args(["--devices", "20", "--days", "3", "--sample-s", "5", "--faults", "high"]);
    simulate.args(["--templates-min", "120", "--commands-min", "30"]);
    if rest.is_empty() {
        simulate.args(["--minutes", "10"]);
    }
    run::check(simulate.args(rest))
}

fn bench(root: &Root, rest: &[String]) -> Result<()> {
    let (cold, rest): (Vec<_>, Vec<_>) =
        rest.iter().cloned().partition(|arg| arg == "--cold-build");
    system_test(root, "bench", &rest)?;
    if cold.is_empty() {
        return Ok(());
    }
    let target = root.target().join("cold-build");
    if target.exists() {
        std::fs::remove_dir_all(&target).context("clearing the last cold build")?;
    }
    step("cold build of the whole binary, release", || {
        let mut build = cargo(root);
        build.args(["build", "--quiet", "--release", "--package", "ecowatt"]);
        run::check(build.arg("--target-dir").arg(&target))
    })
}

/// Runs a command of the crate system-tests, which drives the real binaries.
fn system_test(root: &Root, command: &str, rest: &[String]) -> Result<()> {
    run::check(cargo(root).args(["build", "--release", "--package", "ecowatt"]))?;
    let mut run = cargo(root);
    run.args(["run", "--quiet", "--release", "--package", "ecowatt-system-tests", "--", command]);
    run::check(run.args(rest))
}

fn fuzz(root: &Root, rest: &[String]) -> Result<()> {
    let seconds: u32 = match rest.first() {
        Some(text) => text.parse().context("SECONDS must be a whole number")?,
        None => 60,
    };
    // Through rustup, because cargo itself cannot select another toolchain.
    let nightly = || {
        let mut fuzz = run::command(root, "rustup");
        fuzz.args(["run", "nightly", "cargo", "fuzz"]);
        fuzz
    };
    let targets = run::output(nightly().arg("list"))?;
    for target in targets.lines() {
        let limit = format!("-max_total_time={seconds}");
        step(&format!("fuzz {target}"), || {
            run::check(nightly().args(["run", target, "--", &limit]))
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_tested_is_not_green() {
        assert!(nothing_untested(&Untested::new()).is_ok());
        assert!(nothing_untested(&vec!["pages in a browser: not found".into()]).is_err());
    }

    /// Running the tests must not install packages unasked.
    #[test]
    fn missing_packages_are_left_unless_they_are_asked_for() {
        let root = Root::find().unwrap();
        let refused = install::debian_packages(&root, &["chromium"], Missing::Leave).unwrap_err();
        assert!(refused.to_string().contains("--install"), "{refused}");
    }
}

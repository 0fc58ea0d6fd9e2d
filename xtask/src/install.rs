//! What tests need besides Rust, and its installation on request.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::run::{Root, check, command};

/// The versions that the oracle tests and `examples/python-client` are written for.
const PYTHON_PACKAGES: [&str; 2] = ["pymodbus>=3.11,<4", "cryptography>=38"];

/// What to do about missing system packages. They affect more than this project, so running its
/// tests does not install them unasked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    Install,
    Leave,
}

/// Tests that could not be run, and why.
pub(crate) type Untested = Vec<String>;

/// Returns a Python interpreter with the packages of the tests, in an environment beside the compiled
/// code.
pub(crate) fn python(root: &Root, missing: Missing) -> Result<PathBuf> {
    let environment = root.target().join("python");
    let python = environment.join("bin/python");
    if has_packages(&python) {
        return Ok(python);
    }
    let make = || check(command(root, "python3").args(["-m", "venv"]).arg(&environment));
    make().or_else(|_| {
        debian_packages(root, &["python3-venv"], missing)?;
        make()
    })?;
    check(command(root, &python).args(["-m", "pip", "install", "--quiet"]).args(PYTHON_PACKAGES))?;
    Ok(python)
}

fn has_packages(python: &Path) -> bool {
    Command::new(python)
        .args(["-c", "import pymodbus, cryptography"])
        .stderr(std::process::Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Installs packages of the Debian family; needs root.
pub(crate) fn debian_packages(root: &Root, packages: &[&str], missing: Missing) -> Result<()> {
    if missing == Missing::Leave {
        bail!("this needs the packages {}, which `--install` installs", packages.join(", "));
    }
    check(command(root, "apt-get").args(["update", "-qq"]))?;
    let mut install = command(root, "apt-get");
    install.args(["install", "-qq", "-y", "--no-install-recommends"]).args(packages);
    check(install.env("DEBIAN_FRONTEND", "noninteractive"))
}

/// Whether a program of this name can be started.
pub(crate) fn has(program: &str) -> bool {
    Command::new(program)
        .arg("--version")
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status()
        .is_ok()
}

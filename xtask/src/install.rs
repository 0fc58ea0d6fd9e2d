//! What tests need beside Rust, put in place if it is missing.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::run::{Root, check, command};

/// The version the oracle tests are written for.
const PYMODBUS: &str = "pymodbus>=3.11,<4";

/// A Python interpreter with pymodbus, in an environment beside the compiled code.
pub(crate) fn pymodbus(root: &Root) -> Result<Option<PathBuf>> {
    let environment = root.target().join("pymodbus");
    let python = environment.join("bin/python");
    if imports_pymodbus(&python) {
        return Ok(Some(python));
    }
    let made =
        check(command(root, "python3").args(["-m", "venv"]).arg(&environment)).or_else(|_| {
            debian_packages(root, &["python3-venv"])?;
            check(command(root, "python3").args(["-m", "venv"]).arg(&environment))
        });
    let installed = made.and_then(|()| {
        check(command(root, &python).args(["-m", "pip", "install", "--quiet", PYMODBUS]))
    });
    match installed {
        Ok(()) => Ok(Some(python)),
        Err(error) => {
            eprintln!("NOT TESTED: pymodbus as a Modbus peer, because {error:#}");
            Ok(None)
        }
    }
}

fn imports_pymodbus(python: &Path) -> bool {
    Command::new(python)
        .args(["-c", "import pymodbus"])
        .stderr(std::process::Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Installs packages of the Debian family; needs root.
pub(crate) fn debian_packages(root: &Root, packages: &[&str]) -> Result<()> {
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

//! Runs the binary.

use std::process::{Command, Stdio};

/// What the binary said and how it ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs the binary to its end, with nothing of ours in its environment.
pub(crate) fn ecowatt(args: &[&str]) -> Said {
    let output = Command::new(env!("CARGO_BIN_EXE_ecowatt"))
        .args(args)
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Said {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

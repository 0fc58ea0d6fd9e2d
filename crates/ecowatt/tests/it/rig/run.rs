//! Runs the binary.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ecowatt_clock::Clock;

/// Output and exit code of the binary.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs the binary to its end, without our variables in its environment.
pub(crate) fn ecowatt(args: &[&str]) -> Said {
    let output = ecowatt_command(args).stdin(Stdio::null()).output().unwrap();
    Said {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

pub(crate) fn ecowatt_command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ecowatt"));
    command.args(args).env_clear();
    command
}

/// Longest wait for an expected line: far more than it takes, however busy the machine is.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);

/// A process of the binary whose output goes to a file; killed at the end of the test.
pub(crate) struct Process {
    pub(crate) child: Child,
    said: PathBuf,
}

impl Process {
    pub(crate) fn start(folder: &Path, name: &str, args: &[&str]) -> Self {
        Self::spawn(folder, name, ecowatt_command(args))
    }

    /// Starts it with the folder as its current and its temporary folder.
    pub(crate) fn start_in(folder: &Path, name: &str, args: &[&str]) -> Self {
        let mut command = ecowatt_command(args);
        command.current_dir(folder).env("TMPDIR", folder);
        Self::spawn(folder, name, command)
    }

    fn spawn(folder: &Path, name: &str, mut command: Command) -> Self {
        let said = folder.join(name);
        let file = std::fs::File::create(&said).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        Self { child, said }
    }

    /// Waits for a line with `words`; returns the first one.
    pub(crate) fn line(&self, words: &str) -> String {
        let clock = Clock::system();
        let started = clock.mono();
        loop {
            let said = std::fs::read_to_string(&self.said).unwrap();
            let complete = said.split_inclusive('\n').filter(|line| line.ends_with('\n'));
            if let Some(line) = complete.map(str::trim_end).find(|line| line.contains(words)) {
                return line.into();
            }
            assert!(clock.mono().since(started) < DEADLINE, "no line has {words:?}: {said}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

//! The real binary as child processes, which end with the value that holds them.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

/// How often a state is looked at while waiting for it.
pub(crate) const POLL: Duration = Duration::from_millis(50);

/// The `ecowatt` program that was built beside this one.
pub(crate) struct Program(PathBuf);

impl Program {
    pub(crate) fn find() -> Result<Self> {
        let own = std::env::current_exe().context("finding this program")?;
        let path = own.with_file_name("ecowatt");
        if !path.exists() {
            bail!("{} is missing: build the ecowatt package first", path.display());
        }
        Ok(Self(path))
    }

    /// Runs a verb to its end and gives what it wrote to standard output.
    pub(crate) fn output(&self, args: &[&str]) -> Result<String> {
        let output = Command::new(&self.0)
            .args(args)
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("starting ecowatt {args:?}"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("ecowatt {args:?} ended with {}: {said}", output.status);
        }
        String::from_utf8(output.stdout).context("reading its output")
    }

    /// Starts a process whose messages go to the end of `log`.
    pub(crate) fn start(&self, args: &[&str], log: &Path) -> Result<Process> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("opening {}", log.display()))?;
        let child = Command::new(&self.0)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting ecowatt {args:?}"))?;
        Ok(Process(child))
    }
}

/// A running process; killed when dropped.
pub(crate) struct Process(Child);

impl Process {
    /// Its share of the machine's memory, in bytes (`Pss` of proc_pid_smaps(5)).
    pub(crate) fn pss(&self) -> Result<u64> {
        let path = format!("/proc/{}/smaps_rollup", self.0.id());
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).context("has Pss")?;
        let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kibibytes * 1024)
    }

    /// SIGKILL, and waits until it is gone.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.0.kill().context("killing")?;
        self.0.wait().context("waiting for the killed")?;
        Ok(())
    }

    /// SIGTERM, and waits until it has ended by itself.
    pub(crate) fn stop(&mut self, patience: Duration) -> Result<ExitStatus> {
        let pid = i32::try_from(self.0.id()).ok().and_then(rustix::process::Pid::from_raw);
        let pid = pid.context("a child has a process id")?;
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).context("stopping")?;
        let mut waited = Duration::ZERO;
        loop {
            if let Some(status) = self.0.try_wait().context("waiting for the end")? {
                return Ok(status);
            }
            if waited > patience {
                bail!("process {} did not stop within {patience:?}", self.0.id());
            }
            std::thread::sleep(POLL);
            waited += POLL;
        }
    }

    /// Whether it has ended, which it should not have.
    pub(crate) fn has_ended(&mut self) -> Result<bool> {
        Ok(self.0.try_wait().context("looking after a process")?.is_some())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Either it runs and dies here, or it is gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A loopback port that was free a moment ago.
pub(crate) fn free_port() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").context("looking for a free port")?;
    Ok(listener.local_addr()?.port())
}

/// Waits until `is_so` holds.
pub(crate) fn wait_until(
    what: &str,
    patience: Duration,
    mut is_so: impl FnMut() -> Result<bool>,
) -> Result<()> {
    let mut waited = Duration::ZERO;
    while !is_so()? {
        if waited > patience {
            bail!("waited {patience:?} in vain until {what}");
        }
        std::thread::sleep(POLL);
        waited += POLL;
    }
    Ok(())
}

//! The real binary as child processes, which end with the value that holds them.

use std::collections::BTreeSet;
use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit, setrlimit};

/// How often a state is checked while waiting for it.
pub(crate) const POLL: Duration = Duration::from_millis(50);

/// The `ecowatt` program in the same folder as this one.
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

    /// Runs a verb to its end and returns its standard output.
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

    /// Starts a process whose messages are appended to `log`.
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
        children().insert(child.id());
        Ok(Process(child))
    }
}

/// The ids of all child processes that run or were not yet waited for: no other process can have
/// them.
fn children() -> MutexGuard<'static, BTreeSet<u32>> {
    static CHILDREN: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());
    CHILDREN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Kills every child process, for a program that is about to end without dropping them.
pub(crate) fn kill_all() {
    for pid in children().iter().filter_map(|id| Pid::from_raw(i32::try_from(*id).ok()?)) {
        // It may have ended by itself.
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// A running process; killed when dropped.
pub(crate) struct Process(Child);

impl Process {
    /// Its share of the machine's memory, in bytes (`Pss` in proc_pid_smaps(5)).
    pub(crate) fn pss(&self) -> Result<u64> {
        let path = format!("/proc/{}/smaps_rollup", self.0.id());
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        let line =
            text.lines().find_map(|line| line.strip_prefix("Pss:")).context("there is no Pss")?;
        let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kibibytes * 1024)
    }

    /// Bytes that it caused to be written to disk (`write_bytes` in proc_pid_io(5)).
    pub(crate) fn written(&self) -> Result<u64> {
        let path = format!("/proc/{}/io", self.0.id());
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        let line = text.lines().find_map(|line| line.strip_prefix("write_bytes:"));
        Ok(line.context("there is no write_bytes")?.trim().parse()?)
    }

    /// SIGSTOP: it stops running but keeps its connections.
    pub(crate) fn pause(&self) -> Result<()> {
        kill_process(self.pid()?, Signal::STOP).context("pausing")
    }

    /// SIGCONT.
    pub(crate) fn resume(&self) -> Result<()> {
        kill_process(self.pid()?, Signal::CONT).context("resuming")
    }

    pub(crate) fn pid(&self) -> Result<Pid> {
        let pid = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw);
        pid.context("a child has a process id")
    }

    /// Sends SIGKILL and waits until it has ended.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.0.kill().context("killing")?;
        self.wait().context("waiting for a killed process")?;
        Ok(())
    }

    /// Sends SIGTERM and waits until it has ended.
    pub(crate) fn stop(&mut self, patience: Duration) -> Result<ExitStatus> {
        kill_process(self.pid()?, Signal::TERM).context("stopping")?;
        let mut waited = Duration::ZERO;
        loop {
            if let Some(status) = self.look().context("waiting for a process to end")? {
                return Ok(status);
            }
            if waited > patience {
                bail!("process {} did not stop within {patience:?}", self.0.id());
            }
            std::thread::sleep(POLL);
            waited += POLL;
        }
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> Result<bool> {
        Ok(self.look().context("checking a process")?.is_some())
    }

    fn wait(&mut self) -> std::io::Result<ExitStatus> {
        // The id is removed from the list before another process can get it.
        let mut children = children();
        children.remove(&self.0.id());
        self.0.wait()
    }

    fn look(&mut self) -> std::io::Result<Option<ExitStatus>> {
        let mut children = children();
        let status = self.0.try_wait()?;
        if status.is_some() {
            children.remove(&self.0.id());
        }
        Ok(status)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Either it runs and is killed here, or it has ended already.
        let _ = self.0.kill();
        let _ = self.wait();
    }
}

/// How many file descriptors a process has open.
pub(crate) fn open_files(pid: Pid) -> Result<u64> {
    let path = format!("/proc/{}/fd", pid.as_raw_nonzero());
    let files = std::fs::read_dir(&path).with_context(|| format!("reading {path}"))?;
    Ok(files.count() as u64)
}

/// Sets how many file descriptors a child may have open; returns the previous limit.
pub(crate) fn limit_files(pid: Pid, limit: Option<u64>) -> Result<Option<u64>> {
    // It inherited the limits of this process; the hard limit is not changed.
    let limits = Rlimit { current: limit, maximum: getrlimit(Resource::Nofile).maximum };
    let had = prlimit(Some(pid), Resource::Nofile, limits).context("limiting files")?;
    Ok(had.current)
}

/// Raises the limit of open files for this process and its children to the maximum; returns it.
pub(crate) fn allow_many_files() -> Result<u64> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).context("raising a limit")?;
    Ok(maximum.unwrap_or(u64::MAX))
}

/// Ports to choose from: below those that Linux and others use for outgoing connections, one of
/// which could otherwise take the port of a server that is down for a moment.
const PORTS: std::ops::Range<u16> = 15_000..32_000;

/// Returns a free loopback port that no outgoing connection gets by chance.
pub(crate) fn free_port() -> Result<u16> {
    // The start in the range differs between processes and calls.
    static CALLS: AtomicU16 = AtomicU16::new(0);
    let own = u16::try_from(std::process::id() % 1_000).unwrap_or(0) * 17;
    let range = PORTS.end - PORTS.start;
    for _ in 0..range {
        let call = CALLS.fetch_add(1, Ordering::Relaxed);
        let port = PORTS.start + (own.wrapping_add(call)) % range;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no port from {} to {} is free", PORTS.start, PORTS.end)
}

/// Returns a path as text, for an argument or a line of TOML.
pub(crate) fn text(path: &Path) -> Result<&str> {
    path.to_str().context("paths are UTF-8")
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
            bail!("timed out after {patience:?} waiting until {what}");
        }
        std::thread::sleep(POLL);
        waited += POLL;
    }
    Ok(())
}

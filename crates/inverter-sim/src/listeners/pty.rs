//! A pseudo terminal that looks like a serial port with an inverter.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ecowatt_modbus::Framing;
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

use super::connection::Connection;
use super::{Shared, serve_connection};

/// The inverter's side of a pseudo terminal.
#[derive(Debug)]
pub(crate) struct Pty {
    master: AsyncFd<OwnedFd>,
    /// Kept open, so that the terminal survives its clients.
    _slave: OwnedFd,
    path: PathBuf,
    link: Option<Link>,
}

/// A symbolic link that is removed with its terminal.
#[derive(Debug)]
struct Link(PathBuf);

impl Drop for Link {
    fn drop(&mut self) {
        // A leftover link does no harm: the next start replaces it.
        drop(std::fs::remove_file(&self.0));
    }
}

impl Pty {
    /// Opens a terminal in raw mode; `link` becomes a symbolic link to it.
    pub(crate) fn open(link: Option<&Path>) -> io::Result<Self> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let name = ptsname(&master, Vec::new())?;
        let path = PathBuf::from(OsStr::from_bytes(name.as_bytes()));
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let slave = rustix::fs::open(&path, flags, Mode::empty())?;
        let mut settings = tcgetattr(&slave)?;
        settings.make_raw();
        tcsetattr(&slave, OptionalActions::Now, &settings)?;
        rustix::fs::fcntl_setfl(&master, OFlags::NONBLOCK)?;
        let link = link.map(|link| point(link, &path)).transpose()?;
        Ok(Self { master: watched(master)?, _slave: slave, path, link })
    }

    /// The device that a client opens.
    pub(crate) fn path(&self) -> &Path {
        self.link.as_ref().map_or(&self.path, |link| &link.0)
    }

    /// Serves until `stop` is set.
    pub(crate) async fn serve(
        self,
        baud: Option<u32>,
        shared: Arc<Shared>,
        mut stop: watch::Receiver<bool>,
    ) {
        let Self { master, _slave, link, .. } = self;
        tokio::select! {
            () = serve_connection(Connection::Pty(master), Framing::Rtu, baud, &shared) => {
                tracing::error!("pseudo terminal cannot be read");
            }
            _ = stop.wait_for(|is_set| *is_set) => {}
        }
        drop(link);
    }
}

#[expect(
    deprecated,
    reason = "its successor is unsafe because of types that could lend out a descriptor they do not \
              own; an OwnedFd keeps its descriptor until it is dropped"
)]
fn watched(master: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::new(master)
}

/// Replaces the symbolic link of an earlier run, but no other file.
fn point(link: &Path, target: &Path) -> io::Result<Link> {
    match std::fs::symlink_metadata(link) {
        Ok(found) if found.is_symlink() => std::fs::remove_file(link)?,
        Ok(_) => return Err(io::ErrorKind::AlreadyExists.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    std::os::unix::fs::symlink(target, link)?;
    Ok(Link(link.to_owned()))
}

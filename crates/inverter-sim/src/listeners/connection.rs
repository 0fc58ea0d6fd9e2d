//! One end of a connection: a TCP stream or the master side of a pseudo terminal.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

pub(super) enum Connection {
    Tcp(TcpStream),
    Pty(AsyncFd<OwnedFd>),
}

impl Connection {
    pub(super) fn is_serial(&self) -> bool {
        match self {
            Self::Tcp(_) => false,
            Self::Pty(_) => true,
        }
    }

    /// Reads what is available, at least one byte; returns 0 at the end.
    pub(super) async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer).await,
            Self::Pty(fd) => loop {
                let mut ready = fd.readable().await?;
                let read = ready.try_io(|fd| Ok(rustix::io::read(fd, &mut *buffer)?));
                if let Ok(result) = read {
                    return result;
                }
            },
        }
    }

    pub(super) async fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.write_all(bytes).await,
            Self::Pty(fd) => {
                while !bytes.is_empty() {
                    let mut ready = fd.writable().await?;
                    let written = ready.try_io(|fd| Ok(rustix::io::write(fd, bytes)?));
                    if let Ok(result) = written {
                        bytes = &bytes[result?..];
                    }
                }
                Ok(())
            }
        }
    }

    /// Makes closing a TCP connection send a reset.
    pub(super) fn reset(&self) {
        match self {
            // This fails if the peer has already closed.
            Self::Tcp(stream) => drop(stream.set_zero_linger()),
            Self::Pty(_) => {}
        }
    }
}

/// Pause after a failed accept, so that a lack of file descriptors does not cause a busy loop.
pub(super) const ACCEPT_RETRY: Duration = Duration::from_millis(100);

//! The byte stream of a bus: a TCP connection, a serial port, or frames over HTTP.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use ecowatt_modbus::{Framing, inter_frame_silence, time_on_wire};
use ecowatt_profile::{SerialFormat, TransportKind};
use rustix::fs::OFlags;
use rustix::termios::{self, ControlModes, OptionalActions, QueueSelector};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::answer_trust::FRAME_MIN;
use super::http_line::{HttpFront, HttpLine};

/// Where a bus is, as in `tcp://host:502`, `rtu-over-tcp://host:4001`,
/// `serial:///dev/ttyUSB0?baud=9600&format=8N1` or `http://host:8080`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    Tcp(String),
    /// Modbus TCP by a gateway that does not return transaction numbers
    /// (`tcp://host:502?transactions=any`).
    UnnumberedTcp(String),
    RtuOverTcp(String),
    Serial(Serial),
    /// RTU frames in JSON over HTTP, as inverters of the earlier EcoWatt are read.
    Http(HttpFront),
}

/// A serial port and its settings.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Serial {
    pub path: PathBuf,
    pub baud: u32,
    pub format: SerialFormat,
}

/// Why text is not the address of a bus.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseAddressError {
    #[error("must start with tcp://, rtu-over-tcp://, serial:// or http://")]
    Scheme,
    #[error("must name host and port, such as tcp://192.0.2.7:502")]
    HostPort,
    #[error("must name a device file, such as serial:///dev/ttyUSB0?baud=9600")]
    Path,
    #[error("{0} is not baud=… (300 to 4000000) or format=8N1, 8N2, 8E1 or 8O1")]
    Setting(String),
    #[error("{0} is not transactions=any")]
    TcpSetting(String),
    #[error("must name a host, such as http://192.0.2.7:8080")]
    Http,
}

impl Address {
    /// Returns the transport in the terms of profiles.
    #[must_use]
    pub fn kind(&self) -> TransportKind {
        match self {
            Self::Tcp(_) | Self::UnnumberedTcp(_) => TransportKind::Tcp,
            Self::RtuOverTcp(_) | Self::Http(_) => TransportKind::RtuOverTcp,
            Self::Serial(_) => TransportKind::Rtu,
        }
    }

    /// Returns the place without the way it is used: two buses must not share it.
    #[must_use]
    pub fn place(&self) -> String {
        match self {
            Self::Tcp(host_port) | Self::UnnumberedTcp(host_port) | Self::RtuOverTcp(host_port) => {
                host_port.to_ascii_lowercase()
            }
            Self::Http(front) => front.url.host_port().to_ascii_lowercase(),
            // Names under /dev/serial are links to the device file.
            Self::Serial(Serial { path, .. }) => {
                let lexical = || {
                    path.components().fold(PathBuf::new(), |mut so_far, part| {
                        match part {
                            Component::ParentDir => _ = so_far.pop(),
                            part => so_far.push(part),
                        }
                        so_far
                    })
                };
                path.canonicalize().unwrap_or_else(|_| lexical()).display().to_string()
            }
        }
    }

    pub(super) fn framing(&self) -> Framing {
        match self {
            Self::Tcp(_) | Self::UnnumberedTcp(_) => Framing::Tcp,
            Self::RtuOverTcp(_) | Self::Serial(_) | Self::Http(_) => Framing::Rtu,
        }
    }

    /// Whether an answer shows to which request it belongs: by its number, or because it is the
    /// answer to one HTTP request.
    pub(super) fn is_numbered(&self) -> bool {
        matches!(self, Self::Tcp(_) | Self::Http(_))
    }

    /// Whether a frame counts as damaged once the line falls silent, without waiting for more.
    pub(super) fn ends_with_silence(&self) -> bool {
        !matches!(self, Self::Tcp(_))
    }

    pub(super) fn is_serial(&self) -> bool {
        matches!(self, Self::Serial(_))
    }

    /// Whether answers to other masters may arrive here without their requests.
    pub(super) fn is_gateway(&self) -> bool {
        matches!(self, Self::RtuOverTcp(_) | Self::UnnumberedTcp(_))
    }

    /// Returns the pause that frames need between them.
    pub(super) fn silence(&self) -> Duration {
        match self {
            Self::Tcp(_) | Self::UnnumberedTcp(_) | Self::RtuOverTcp(_) | Self::Http(_) => {
                Duration::ZERO
            }
            Self::Serial(serial) => inter_frame_silence(serial.baud, serial.format.bits_per_char()),
        }
    }

    /// Returns the silence after which an answer counts as complete. Far above 3.5 characters: USB
    /// adapters delay bytes by up to 16 ms, and networks by more.
    pub(super) fn hush(&self) -> Duration {
        match self {
            Self::Serial(_) => Duration::from_millis(60),
            // A frame arrives whole.
            Self::Http(_) => Duration::from_millis(20),
            Self::Tcp(_) | Self::UnnumberedTcp(_) | Self::RtuOverTcp(_) => {
                Duration::from_millis(250)
            }
        }
    }

    /// Returns how long an answer with so many registers takes on the line, once it has begun.
    pub(super) fn time_for(&self, registers: u16) -> Duration {
        let bytes = usize::from(registers) * 2 + FRAME_MIN;
        match self {
            Self::Serial(serial) => time_on_wire(bytes, serial.baud, serial.format.bits_per_char()),
            // The speed of the bus behind a gateway is unknown.
            Self::Tcp(_) | Self::UnnumberedTcp(_) | Self::RtuOverTcp(_) | Self::Http(_) => {
                time_on_wire(bytes, GATEWAY_BAUD_MIN, SerialFormat::NoneTwo.bits_per_char())
            }
        }
    }
}

/// Slowest speed assumed for a bus behind a gateway.
const GATEWAY_BAUD_MIN: u32 = 1_200;

impl FromStr for Address {
    type Err = ParseAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (scheme, rest) = text.split_once("://").ok_or(ParseAddressError::Scheme)?;
        match scheme {
            "tcp" => match rest.split_once('?') {
                None => host_port(rest).map(Self::Tcp),
                Some((rest, "transactions=any")) => host_port(rest).map(Self::UnnumberedTcp),
                Some((_, other)) => Err(ParseAddressError::TcpSetting(other.to_owned())),
            },
            "rtu-over-tcp" => host_port(rest).map(Self::RtuOverTcp),
            "serial" => serial(rest).map(Self::Serial),
            "http" => {
                let url = text.parse().map_err(|_| ParseAddressError::Http)?;
                Ok(Self::Http(HttpFront::new(url)))
            }
            _ => Err(ParseAddressError::Scheme),
        }
    }
}

fn host_port(text: &str) -> Result<String, ParseAddressError> {
    let (host, port) = text.rsplit_once(':').ok_or(ParseAddressError::HostPort)?;
    let is_port = port.parse::<u16>().is_ok_and(|port| port > 0);
    if host.is_empty() || host.contains('/') || !is_port {
        return Err(ParseAddressError::HostPort);
    }
    Ok(text.to_owned())
}

fn serial(text: &str) -> Result<Serial, ParseAddressError> {
    let (path, settings) = text.split_once('?').unwrap_or((text, ""));
    if !path.starts_with('/') {
        return Err(ParseAddressError::Path);
    }
    let mut serial =
        Serial { path: PathBuf::from(path), baud: 9_600, format: SerialFormat::NoneOne };
    for setting in settings.split('&').filter(|setting| !setting.is_empty()) {
        let wrong = || ParseAddressError::Setting(setting.to_owned());
        match setting.split_once('=').ok_or_else(wrong)? {
            ("baud", baud) => {
                let baud = baud.parse().ok().filter(|baud| (300..=4_000_000).contains(baud));
                serial.baud = baud.ok_or_else(wrong)?;
            }
            ("format", format) => {
                serial.format = match format.to_ascii_uppercase().as_str() {
                    "8N1" => SerialFormat::NoneOne,
                    "8N2" => SerialFormat::NoneTwo,
                    "8E1" => SerialFormat::EvenOne,
                    "8O1" => SerialFormat::OddOne,
                    _ => return Err(wrong()),
                };
            }
            _ => return Err(wrong()),
        }
    }
    Ok(serial)
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host_port) => write!(f, "tcp://{host_port}"),
            Self::UnnumberedTcp(host_port) => write!(f, "tcp://{host_port}?transactions=any"),
            Self::RtuOverTcp(host_port) => write!(f, "rtu-over-tcp://{host_port}"),
            Self::Serial(serial) => write!(f, "serial://{}", serial.path.display()),
            Self::Http(front) => front.url.fmt(f),
        }
    }
}

/// Why a bus cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    #[error("no connection")]
    Connect(#[source] io::Error),
    #[error("no connection in time")]
    Timeout,
    #[error("serial port cannot be set up")]
    Serial(#[source] io::Error),
    #[error("connection broke")]
    Broken(#[source] io::Error),
}

/// An open bus.
#[derive(Debug)]
pub(super) enum Line {
    Tcp(TcpStream),
    Serial(AsyncFd<File>),
    Http(Box<HttpLine>),
}

impl Line {
    pub(super) async fn open(address: &Address) -> Result<Self, OpenError> {
        match address {
            Address::Tcp(host_port)
            | Address::UnnumberedTcp(host_port)
            | Address::RtuOverTcp(host_port) => {
                let stream = TcpStream::connect(host_port).await.map_err(OpenError::Connect)?;
                // Requests are small and their answers are waited for; delaying them gains nothing.
                stream.set_nodelay(true).map_err(OpenError::Connect)?;
                Ok(Self::Tcp(stream))
            }
            Address::Serial(serial) => {
                open_serial(serial).map(Self::Serial).map_err(OpenError::Serial)
            }
            Address::Http(front) => {
                let line = HttpLine::open(front).await.map_err(OpenError::Connect)?;
                Ok(Self::Http(Box::new(line)))
            }
        }
    }

    /// Whether no request waits for its answer, as far as the line knows of requests.
    pub(super) fn is_idle(&self) -> bool {
        match self {
            Self::Tcp(_) | Self::Serial(_) => true,
            Self::Http(line) => line.is_idle(),
        }
    }

    /// Writes a whole frame.
    pub(super) async fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.write_all(bytes).await,
            Self::Http(line) => line.write_all(bytes).await,
            Self::Serial(port) => {
                while !bytes.is_empty() {
                    let mut ready = port.writable().await?;
                    if let Ok(written) = ready.try_io(|port| port.get_ref().write(bytes)) {
                        bytes = &bytes[written?..];
                    }
                }
                Ok(())
            }
        }
    }

    /// Reads at least one byte; the end of the stream is an error.
    pub(super) async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = match self {
            Self::Tcp(stream) => stream.read(buffer).await?,
            Self::Http(line) => line.read(buffer).await?,
            Self::Serial(port) => loop {
                let mut ready = port.readable().await?;
                if let Ok(read) = ready.try_io(|port| port.get_ref().read(buffer)) {
                    break read?;
                }
            },
        };
        if read == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(read) }
    }
}

fn open_serial(serial: &Serial) -> io::Result<AsyncFd<File>> {
    let flags = OFlags::NOCTTY | OFlags::NONBLOCK;
    let port = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(i32::try_from(flags.bits()).unwrap_or(0))
        .open(&serial.path)?;
    let mut settings = termios::tcgetattr(&port)?;
    settings.make_raw();
    settings.set_speed(serial.baud)?;
    let modes = &mut settings.control_modes;
    modes.remove(ControlModes::CSTOPB | ControlModes::PARENB | ControlModes::PARODD);
    modes.remove(ControlModes::CRTSCTS);
    modes.insert(ControlModes::CREAD | ControlModes::CLOCAL);
    modes.insert(match serial.format {
        SerialFormat::NoneOne => ControlModes::empty(),
        SerialFormat::NoneTwo => ControlModes::CSTOPB,
        SerialFormat::EvenOne => ControlModes::PARENB,
        SerialFormat::OddOne => ControlModes::PARENB | ControlModes::PARODD,
    });
    termios::tcsetattr(&port, OptionalActions::Now, &settings)?;
    // Discard what the port received before it was opened.
    termios::tcflush(&port, QueueSelector::IFlush)?;
    watch(port)
}

/// Registers a file with the executor; it must not block.
#[expect(deprecated, reason = "its successor is unsafe; a File keeps what that asks for")]
pub(super) fn watch(file: File) -> io::Result<AsyncFd<File>> {
    AsyncFd::new(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked() {
        let serial =
            |baud, format| Ok(Address::Serial(Serial { path: "/dev/ttyS1".into(), baud, format }));
        for (text, expected) in [
            ("tcp://10.0.0.7:502", Ok(Address::Tcp("10.0.0.7:502".into()))),
            ("rtu-over-tcp://[::1]:4001", Ok(Address::RtuOverTcp("[::1]:4001".into()))),
            ("serial:///dev/ttyS1", serial(9_600, SerialFormat::NoneOne)),
            ("serial:///dev/ttyS1?baud=19200&format=8e1", serial(19_200, SerialFormat::EvenOne)),
            ("10.0.0.7:502", Err(ParseAddressError::Scheme)),
            ("udp://10.0.0.7:502", Err(ParseAddressError::Scheme)),
            (
                "tcp://10.0.0.7:502?transactions=any",
                Ok(Address::UnnumberedTcp("10.0.0.7:502".into())),
            ),
            ("tcp://10.0.0.7:502?x=1", Err(ParseAddressError::TcpSetting("x=1".into()))),
            ("tcp://10.0.0.7", Err(ParseAddressError::HostPort)),
            ("tcp://10.0.0.7:0", Err(ParseAddressError::HostPort)),
            ("serial://ttyS1", Err(ParseAddressError::Path)),
            ("serial:///dev/ttyS1?baud=1", Err(ParseAddressError::Setting("baud=1".into()))),
        ] {
            assert_eq!(text.parse(), expected, "{text}");
        }
    }
}

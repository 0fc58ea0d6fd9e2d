//! Commands to a device, and their results.

use ecowatt_model::{CommandId, SourceNumber, UnixMs};
use minicbor::Decoder;
use minicbor::encode::{Encoder, write::Cursor};

use crate::encoding::{
    CODE_LEN_MAX, CursorEncoder, DecodeError, EncodeError, HEAD_LEN, Item, U8_LEN_MAX, U16_LEN_MAX,
    U32_LEN_MAX, U64_LEN_MAX, array, or_null, skip, wrong,
};

/// Maximum number of commands in a reply.
pub const COMMANDS_MAX: usize = 4;

/// Maximum number of results in an uplink.
pub const RESULTS_MAX: usize = 8;

/// Maximum length of the name of a point in a command.
pub const POINT_MAX: usize = 32;

/// Maximum number of registers in a command or its result.
pub const REGISTERS_MAX: usize = 30;

/// Maximum number of bytes of a command's arguments, and of the words in a result.
pub const ARGUMENTS_MAX: usize = 64;

/// A command: `[id, kind, source or null, deadline, not before or null, arguments]`, times in Unix
/// ms. The arguments are a byte string that contains a CBOR array.
///
/// A device executes a command at most once: a second one with the same id is answered with the
/// result of the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Command<'a> {
    pub id: CommandId,
    /// Absent if it is for the device itself.
    pub source: Option<SourceNumber>,
    /// It is not begun after this.
    pub deadline: UnixMs,
    /// It is not begun before this.
    pub not_before: Option<UnixMs>,
    pub order: CommandAction<'a>,
}

/// What a device should do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandAction<'a> {
    /// Set a point that the inverter's profile allows to be written to `mantissa` × 10^`exponent`,
    /// in the point's unit: `[point, mantissa, exponent]`.
    Write { point: &'a str, mantissa: i64, exponent: i8 },
    /// Write one holding register, whatever the profile says: `[address, value]`.
    WriteRegister { address: u16, value: u16 },
    /// Read registers: `[function, address, count]`; function 3 for holding and 4 for input
    /// registers, at most [`REGISTERS_MAX`].
    ReadRegisters { function: u8, address: u16, count: u8 },
    /// Limit the inverter's active power to thousandths of its rated power: `[permille]`.
    LimitPower { permille: u16 },
    /// The same in watts, which the device converts by the inverter's rated power: `[watts]`.
    LimitPowerWatts { watts: u32 },
    /// Send all samples now: `[]`.
    Upload,
    /// Send diagnostics now: `[]`.
    Diagnose,
    /// Begin a new epoch, as after a restart of the software: `[]`.
    Restart,
    /// Restart the machine: `[]`.
    Reboot,
    /// Poll an inverter again that was given up, and try quarantined registers at once: `[]`.
    ClearFault,
    /// Return to the device's own configuration: `[]`.
    FactoryReset,
    /// A kind of a later version, or arguments that do not belong to their kind.
    Other(u8),
}

impl CommandAction<'_> {
    fn code(&self) -> u8 {
        match self {
            Self::Write { .. } => 1,
            Self::WriteRegister { .. } => 2,
            Self::ReadRegisters { .. } => 3,
            Self::LimitPower { .. } => 4,
            Self::LimitPowerWatts { .. } => 5,
            Self::Upload => 6,
            Self::Diagnose => 7,
            Self::Restart => 8,
            Self::Reboot => 9,
            Self::ClearFault => 10,
            Self::FactoryReset => 11,
            Self::Other(code) => *code,
        }
    }

    fn encode(&self, encoder: &mut CursorEncoder<'_>) -> Result<(), EncodeError> {
        match *self {
            Self::Write { point, mantissa, exponent } => {
                encoder.array(3)?.str(point)?.i64(mantissa)?.i8(exponent)?
            }
            Self::WriteRegister { address, value } => encoder.array(2)?.u16(address)?.u16(value)?,
            Self::ReadRegisters { function, address, count } => {
                encoder.array(3)?.u8(function)?.u16(address)?.u8(count)?
            }
            Self::LimitPower { permille } => encoder.array(1)?.u16(permille)?,
            Self::LimitPowerWatts { watts } => encoder.array(1)?.u32(watts)?,
            Self::Upload
            | Self::Diagnose
            | Self::Restart
            | Self::Reboot
            | Self::ClearFault
            | Self::FactoryReset
            | Self::Other(_) => encoder.array(0)?,
        };
        Ok(())
    }
}

impl<'a> CommandAction<'a> {
    fn decode(code: u8, arguments: &'a [u8]) -> Result<Self, DecodeError> {
        let decoder = &mut Decoder::new(arguments);
        let (order, more) = match code {
            1 => {
                let more = array(decoder, 3)?;
                let (point, mantissa) = (decoder.str()?, decoder.i64()?);
                if point.len() > POINT_MAX {
                    return Err(wrong(decoder));
                }
                (Self::Write { point, mantissa, exponent: decoder.i8()? }, more)
            }
            2 => {
                let more = array(decoder, 2)?;
                (Self::WriteRegister { address: decoder.u16()?, value: decoder.u16()? }, more)
            }
            3 => {
                let more = array(decoder, 3)?;
                let (function, address) = (decoder.u8()?, decoder.u16()?);
                let count = decoder.u8()?;
                if !matches!(function, 3 | 4) || !(1..=REGISTERS_MAX).contains(&count.into()) {
                    return Err(wrong(decoder));
                }
                (Self::ReadRegisters { function, address, count }, more)
            }
            4 => {
                let more = array(decoder, 1)?;
                (Self::LimitPower { permille: decoder.u16()? }, more)
            }
            5 => {
                let more = array(decoder, 1)?;
                (Self::LimitPowerWatts { watts: decoder.u32()? }, more)
            }
            6 => (Self::Upload, array(decoder, 0)?),
            7 => (Self::Diagnose, array(decoder, 0)?),
            8 => (Self::Restart, array(decoder, 0)?),
            9 => (Self::Reboot, array(decoder, 0)?),
            10 => (Self::ClearFault, array(decoder, 0)?),
            11 => (Self::FactoryReset, array(decoder, 0)?),
            code => return Ok(Self::Other(code)),
        };
        skip(decoder, more)?;
        if decoder.position() == arguments.len() { Ok(order) } else { Err(wrong(decoder)) }
    }
}

/// How far a command is on the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum CommandState {
    /// Whether it was executed is not known: the power failed after it was accepted. Also a state
    /// that the reader does not know.
    Unknown = 0,
    /// The device will execute it.
    Accepted = 1,
    Succeeded = 2,
    Failed = 3,
    /// The device saw it after its deadline.
    Expired = 4,
}

impl CommandState {
    const ALL: [Self; 5] =
        [Self::Unknown, Self::Accepted, Self::Succeeded, Self::Failed, Self::Expired];

    /// Returns the state with this code.
    #[must_use]
    pub fn from_code(code: u8) -> Self {
        Self::ALL.get(usize::from(code)).copied().unwrap_or(Self::Unknown)
    }
}

/// Why a command failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum CommandFailure {
    /// It did not, or for a reason that the reader does not know.
    None = 0,
    /// The device does not know this kind of command, or cannot execute it.
    Unsupported = 1,
    /// There is no such source.
    NoSource = 2,
    /// The profile has no such point.
    NoPoint = 3,
    /// The profile does not allow the point to be written.
    ReadOnly = 4,
    /// The value is not within the profile's bounds.
    OutOfBounds = 5,
    /// The value is not a multiple of the profile's step, or not one of its values.
    NotAllowed = 6,
    /// The owner has locked the device against writes.
    Locked = 7,
    /// The register has been written as often as its memory allows today.
    Worn = 8,
    /// The inverter's rated power is not known.
    NoRatedPower = 9,
    /// The inverter did not answer; it may have executed a write.
    NoAnswer = 10,
    /// The inverter refused; the detail is the Modbus exception code.
    Exception = 11,
    /// The inverter accepted the write, but the register has another value.
    ReadBack = 12,
    /// The device does not know the time, so it cannot tell whether the deadline has passed.
    NoTime = 13,
    /// The device's memory of accepted commands is full or could not be written.
    Storage = 14,
    /// A lease holds the inverter's limit.
    Leased = 15,
}

impl CommandFailure {
    const ALL: [Self; 16] = [
        Self::None,
        Self::Unsupported,
        Self::NoSource,
        Self::NoPoint,
        Self::ReadOnly,
        Self::OutOfBounds,
        Self::NotAllowed,
        Self::Locked,
        Self::Worn,
        Self::NoRatedPower,
        Self::NoAnswer,
        Self::Exception,
        Self::ReadBack,
        Self::NoTime,
        Self::Storage,
        Self::Leased,
    ];

    /// Returns the failure with this code.
    #[must_use]
    pub fn from_code(code: u8) -> Self {
        Self::ALL.get(usize::from(code)).copied().unwrap_or(Self::None)
    }
}

/// A command's state on the device: `[id, state, at or null, failure, detail, words]`.
///
/// Sent until a reply arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommandResult<'a> {
    pub id: CommandId,
    pub state: CommandState,
    /// When it got into this state, if the device knows the time.
    pub at: Option<UnixMs>,
    pub failure: CommandFailure,
    /// More about the failure.
    pub detail: u16,
    /// Registers that were read, or read back after a write; two bytes each, high byte first. At
    /// most [`ARGUMENTS_MAX`] bytes.
    pub words: &'a [u8],
}

impl Command<'_> {
    /// Maximum number of bytes.
    pub const LEN_MAX: usize = HEAD_LEN
        + U32_LEN_MAX
        + U8_LEN_MAX
        + U8_LEN_MAX
        + 2 * U64_LEN_MAX
        + U8_LEN_MAX
        + ARGUMENTS_MAX;
}

impl CommandResult<'_> {
    /// Maximum number of bytes.
    pub const LEN_MAX: usize = HEAD_LEN
        + U32_LEN_MAX
        + CODE_LEN_MAX
        + U64_LEN_MAX
        + CODE_LEN_MAX
        + U16_LEN_MAX
        + U8_LEN_MAX
        + ARGUMENTS_MAX;
}

impl<'a> Item<'a> for Command<'a> {
    fn encode(&self, encoder: &mut CursorEncoder<'_>) -> Result<(), EncodeError> {
        let mut arguments = [0; ARGUMENTS_MAX];
        let mut inner: CursorEncoder<'_> = Encoder::new(Cursor::new(&mut arguments[..]));
        self.order.encode(&mut inner)?;
        let length = inner.writer().position();
        encoder.array(6)?.u32(self.id.0)?.u8(self.order.code())?;
        match self.source {
            Some(source) => encoder.u8(source.0)?,
            None => encoder.null()?,
        };
        encoder.i64(self.deadline.0)?;
        match self.not_before {
            Some(not_before) => encoder.i64(not_before.0)?,
            None => encoder.null()?,
        };
        encoder.bytes(&arguments[..length])?;
        Ok(())
    }

    fn decode(decoder: &mut Decoder<'a>) -> Result<Self, DecodeError> {
        let more = array(decoder, 6)?;
        let (id, code) = (CommandId(decoder.u32()?), decoder.u8()?);
        let source = or_null(decoder, Decoder::u8)?.map(SourceNumber);
        let deadline = UnixMs(decoder.i64()?);
        let not_before = or_null(decoder, Decoder::i64)?.map(UnixMs);
        let arguments = decoder.bytes()?;
        if arguments.len() > ARGUMENTS_MAX {
            return Err(wrong(decoder));
        }
        // Arguments that do not make sense fail the command, not the message.
        let order = CommandAction::decode(code, arguments).unwrap_or(CommandAction::Other(code));
        skip(decoder, more)?;
        Ok(Self { id, source, deadline, not_before, order })
    }
}

impl<'a> Item<'a> for CommandResult<'a> {
    fn encode(&self, encoder: &mut CursorEncoder<'_>) -> Result<(), EncodeError> {
        encoder.array(6)?.u32(self.id.0)?.u8(self.state as u8)?;
        match self.at {
            Some(at) => encoder.i64(at.0)?,
            None => encoder.null()?,
        };
        encoder.u8(self.failure as u8)?.u16(self.detail)?.bytes(self.words)?;
        Ok(())
    }

    fn decode(decoder: &mut Decoder<'a>) -> Result<Self, DecodeError> {
        let more = array(decoder, 6)?;
        let (id, state) = (CommandId(decoder.u32()?), CommandState::from_code(decoder.u8()?));
        let at = or_null(decoder, Decoder::i64)?.map(UnixMs);
        let failure = CommandFailure::from_code(decoder.u8()?);
        let (detail, words) = (decoder.u16()?, decoder.bytes()?);
        if words.len() > ARGUMENTS_MAX {
            return Err(wrong(decoder));
        }
        skip(decoder, more)?;
        Ok(Self { id, state, at, failure, detail, words })
    }
}

//! Settings: what the server wants, and what the device uses.

use ecowatt_model::{ConfigGeneration, SourceNumber};
use minicbor::Decoder;

use crate::ITEMS_MAX;
use crate::encoding::{
    CODE_LEN_MAX, CursorEncoder, DecodeError, EncodeError, HEAD_LEN, Item, U8_LEN_MAX, U32_LEN_MAX,
    array, or_null, read_list, skip,
};
use crate::list::SectionList;

/// A value of a setting: `[setting, value]`, and as third item the source if it is for one inverter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SettingValue {
    /// Number in [`ecowatt_model::SETTINGS`], or one of a later version.
    pub setting: u8,
    pub value: u32,
    pub source: Option<SourceNumber>,
}

/// The configuration that a device should have: `[generation, [*values]]`.
///
/// It is complete: a setting that it does not contain has the value from the device's own
/// configuration. A device that already decided on this generation ignores it.
#[derive(Debug, Clone, Copy)]
pub struct Desired<'a> {
    pub generation: ConfigGeneration,
    /// At most [`ITEMS_MAX`].
    pub values: SectionList<'a, SettingValue>,
}

/// The state of a generation on a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ConfigState {
    /// A state that the reader does not know.
    Unknown = 0,
    /// In use, except for settings that were refused.
    Applied = 1,
    /// In use, but not for longer than `revert_after` unless the server is reached.
    Trial = 2,
    /// The server could not be reached with it: the previous settings are in use again.
    Reverted = 3,
}

impl ConfigState {
    const ALL: [Self; 4] = [Self::Unknown, Self::Applied, Self::Trial, Self::Reverted];

    /// The state with this code on the wire.
    #[must_use]
    pub fn from_code(code: u8) -> Self {
        Self::ALL.get(usize::from(code)).copied().unwrap_or(Self::Unknown)
    }
}

/// Why a device refuses a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum SettingRefusal {
    /// A reason that the reader does not know.
    Other = 0,
    /// The device does not know the setting.
    Unknown = 1,
    /// Not within the setting's bounds, or within tighter ones of this device.
    OutOfBounds = 2,
    /// The device knows the setting and cannot do it.
    Unsupported = 3,
    /// There is no such source.
    NoSource = 4,
}

impl SettingRefusal {
    const ALL: [Self; 5] =
        [Self::Other, Self::Unknown, Self::OutOfBounds, Self::Unsupported, Self::NoSource];

    /// The reason with this code on the wire.
    #[must_use]
    pub fn from_code(code: u8) -> Self {
        Self::ALL.get(usize::from(code)).copied().unwrap_or(Self::Other)
    }
}

/// A value that the device refuses: `[setting, source or null, reason]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefusedSetting {
    pub setting: u8,
    pub source: Option<SourceNumber>,
    pub reason: SettingRefusal,
}

/// A device's settings: `[generation, state, [*refused], [*values]]`.
///
/// Sent in the first message of an epoch and after every change, until a reply arrives.
#[derive(Debug, Clone, Copy)]
pub struct Reported<'a> {
    /// The newest generation that the device decided on; 0 if it never had one.
    pub generation: ConfigGeneration,
    pub state: ConfigState,
    /// At most [`ITEMS_MAX`].
    pub refused: SectionList<'a, RefusedSetting>,
    /// The values in use, those of the device's own configuration included; at most [`ITEMS_MAX`].
    pub values: SectionList<'a, SettingValue>,
}

impl SettingValue {
    /// Maximum number of bytes.
    pub const LEN_MAX: usize = HEAD_LEN + U8_LEN_MAX + U32_LEN_MAX + U8_LEN_MAX;
}

impl RefusedSetting {
    /// Maximum number of bytes.
    pub const LEN_MAX: usize = HEAD_LEN + 2 * U8_LEN_MAX + CODE_LEN_MAX;
}

impl<'a> Desired<'a> {
    /// Maximum number of bytes.
    pub const LEN_MAX: usize =
        HEAD_LEN + U32_LEN_MAX + HEAD_LEN + ITEMS_MAX * SettingValue::LEN_MAX;

    pub(crate) fn encode(&self, encoder: &mut CursorEncoder<'_>) -> Result<(), EncodeError> {
        encoder.array(2)?.u32(self.generation.0)?;
        self.values.encode(encoder)
    }

    pub(crate) fn decode(decoder: &mut Decoder<'a>) -> Result<Self, DecodeError> {
        let more = array(decoder, 2)?;
        let generation = ConfigGeneration(decoder.u32()?);
        let values = SectionList::Parsed(read_list(decoder)?);
        skip(decoder, more)?;
        Ok(Self { generation, values })
    }
}

impl<'a> Reported<'a> {
    /// Maximum length in bytes with this many refused settings and values.
    #[must_use]
    pub const fn len_max(refused: usize, values: usize) -> usize {
        let lists = refused * RefusedSetting::LEN_MAX + values * SettingValue::LEN_MAX;
        HEAD_LEN + U32_LEN_MAX + CODE_LEN_MAX + 2 * HEAD_LEN + lists
    }

    pub(crate) fn encode(&self, encoder: &mut CursorEncoder<'_>) -> Result<(), EncodeError> {
        encoder.array(4)?.u32(self.generation.0)?.u8(self.state as u8)?;
        self.refused.encode(encoder)?;
        self.values.encode(encoder)
    }

    pub(crate) fn decode(decoder: &mut Decoder<'a>) -> Result<Self, DecodeError> {
        let more = array(decoder, 4)?;
        let generation = ConfigGeneration(decoder.u32()?);
        let state = ConfigState::from_code(decoder.u8()?);
        let refused = SectionList::Parsed(read_list::<RefusedSetting>(decoder)?);
        let values = SectionList::Parsed(read_list::<SettingValue>(decoder)?);
        skip(decoder, more)?;
        Ok(Self { generation, state, refused, values })
    }
}

impl<'a> Item<'a> for SettingValue {
    fn encode(&self, encoder: &mut CursorEncoder<'_>) -> Result<(), EncodeError> {
        encoder.array(2 + u64::from(self.source.is_some()))?.u8(self.setting)?.u32(self.value)?;
        self.source.iter().try_for_each(|source| encoder.u8(source.0).map(drop))
    }

    fn decode(decoder: &mut Decoder<'a>) -> Result<Self, DecodeError> {
        let more = array(decoder, 2)?;
        let (setting, value) = (decoder.u8()?, decoder.u32()?);
        let source = if more > 0 { or_null(decoder, Decoder::u8)?.map(SourceNumber) } else { None };
        skip(decoder, more.saturating_sub(1))?;
        Ok(Self { setting, value, source })
    }
}

impl<'a> Item<'a> for RefusedSetting {
    fn encode(&self, encoder: &mut CursorEncoder<'_>) -> Result<(), EncodeError> {
        encoder.array(3)?.u8(self.setting)?;
        match self.source {
            Some(source) => encoder.u8(source.0)?,
            None => encoder.null()?,
        };
        encoder.u8(self.reason as u8)?;
        Ok(())
    }

    fn decode(decoder: &mut Decoder<'a>) -> Result<Self, DecodeError> {
        let more = array(decoder, 3)?;
        let setting = decoder.u8()?;
        let source = or_null(decoder, Decoder::u8)?.map(SourceNumber);
        let reason = SettingRefusal::from_code(decoder.u8()?);
        skip(decoder, more)?;
        Ok(Self { setting, source, reason })
    }
}

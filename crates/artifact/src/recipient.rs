//! Whether one device may install an image.

use core::ops::Deref;

use ecowatt_model::UnixMs;

use crate::manifest::{Compression, Manifest, VerifiedManifest};
use crate::tree::Hash;
use crate::version::Version;

/// What a device knows of itself when a manifest reaches it.
#[derive(Debug, Clone, Copy)]
pub struct Recipient<'a> {
    /// Its hardware, which is part of its program.
    pub hardware: &'a str,
    /// Profiles of the inverters that it polls.
    pub profiles: &'a [&'a str],
    /// Version that is confirmed and runs.
    pub version: Version,
    /// SHA-256 of the image that is confirmed and runs.
    pub image: Hash,
    /// Bytes that a slot holds.
    pub slot_bytes: u32,
    /// The time, if the device knows it.
    pub now: Option<UnixMs>,
    /// Methods of compression that it has.
    pub compressions: &'a [Compression],
    /// Methods of encryption that it has, as `(method, name of the key)`.
    pub keys: &'a [crate::manifest::Encryption],
}

impl Recipient<'_> {
    /// A device that knows nothing and has room for everything, to fill in.
    pub const EMPTY: Self = Recipient {
        hardware: "",
        profiles: &[],
        version: Version { major: 0, minor: 0, patch: 0 },
        image: [0; 32],
        slot_bytes: u32::MAX,
        now: None,
        compressions: &[],
        keys: &[],
    };
}

/// Why a device does not install an image whose manifest is genuine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is for other hardware.
    #[error("the image is for other hardware")]
    WrongHardware,
    /// It does not support an inverter that the device polls.
    #[error("the image does not support profile {0} of this device")]
    WrongProfile(usize),
    /// The device does not know the time, so it cannot tell whether the manifest has expired.
    #[error("the time is not known, and the manifest expires")]
    TimeUnknown,
    /// The manifest was valid until a time in the past.
    #[error("the manifest has expired")]
    Expired,
    /// This very image runs already.
    #[error("the image runs already")]
    AlreadyRuns,
    /// Another image has the version that runs.
    #[error("version {0} runs already, from another image")]
    SameVersion(Version),
    /// The image is older than the one that runs, and the manifest does not permit that.
    #[error("version {offered} is older than {running}, which runs")]
    Downgrade {
        /// Version in the manifest.
        offered: Version,
        /// Version that runs.
        running: Version,
    },
    /// The version that runs is too old for this image.
    #[error("the image replaces version {minimum} or later; {running} runs")]
    TooOld {
        /// Oldest version that the image may replace.
        minimum: Version,
        /// Version that runs.
        running: Version,
    },
    /// The slot is too small.
    #[error("the image has {size} bytes, the slot {slot}")]
    TooLarge {
        /// Bytes of the image.
        size: u32,
        /// Bytes of the slot.
        slot: u32,
    },
    /// The payload is a difference to an image that does not run here.
    #[error("the payload is a difference to another image than the one that runs")]
    WrongBase,
    /// The device cannot unpack the payload.
    #[error("the payload is compressed with method {0}, which this device does not have")]
    UnknownCompression(u8),
    /// The device cannot decrypt the payload.
    #[error(
        "the payload is encrypted with method {0}, or with a key that this device does not have"
    )]
    UnknownEncryption(u8),
}

/// A manifest that was signed, of an image that this device may install.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted<'a>(VerifiedManifest<'a>);

impl<'a> Deref for Admitted<'a> {
    type Target = Manifest<'a>;

    fn deref(&self) -> &Manifest<'a> {
        &self.0
    }
}

impl<'a> VerifiedManifest<'a> {
    /// Decides whether a device may install the image.
    ///
    /// # Errors
    /// If it may not; nothing has been changed then.
    pub fn admit(self, device: &Recipient<'_>) -> Result<Admitted<'a>, Refusal> {
        self.check(device)?;
        Ok(Admitted(self))
    }
}

impl Manifest<'_> {
    /// Whether a device might install the image if its manifest were signed.
    ///
    /// # Errors
    /// If it might not.
    pub fn check(&self, device: &Recipient<'_>) -> Result<(), Refusal> {
        if self.hardware != device.hardware {
            return Err(Refusal::WrongHardware);
        }
        let is_unknown = |profile: &&str| !self.profiles.contains(profile);
        if !self.profiles.is_empty()
            && let Some(at) = device.profiles.iter().position(is_unknown)
        {
            return Err(Refusal::WrongProfile(at));
        }
        if device.now.ok_or(Refusal::TimeUnknown)? >= self.expires {
            return Err(Refusal::Expired);
        }
        self.check_versions(device)?;
        self.check_transfer(device)
    }

    fn check_versions(&self, device: &Recipient<'_>) -> Result<(), Refusal> {
        let (offered, running) = (self.version, device.version);
        if self.image.sha256 == device.image {
            return Err(Refusal::AlreadyRuns);
        }
        let may_go_back = self.replaces_up_to.is_some_and(|newest| running <= newest);
        if offered == running && !may_go_back {
            return Err(Refusal::SameVersion(running));
        }
        if offered < running && !may_go_back {
            return Err(Refusal::Downgrade { offered, running });
        }
        match self.minimum_version {
            Some(minimum) if running < minimum => Err(Refusal::TooOld { minimum, running }),
            _ => Ok(()),
        }
    }

    fn check_transfer(&self, device: &Recipient<'_>) -> Result<(), Refusal> {
        if self.image.size > device.slot_bytes {
            return Err(Refusal::TooLarge { size: self.image.size, slot: device.slot_bytes });
        }
        let payload = &self.payload;
        if payload.base.is_some_and(|base| base != device.image) {
            return Err(Refusal::WrongBase);
        }
        if let Some(compression) = payload.compression
            && !device.compressions.contains(&compression)
        {
            return Err(Refusal::UnknownCompression(compression.0));
        }
        match payload.encryption {
            Some(encryption) if !device.keys.contains(&encryption) => {
                Err(Refusal::UnknownEncryption(encryption.method))
            }
            _ => Ok(()),
        }
    }
}

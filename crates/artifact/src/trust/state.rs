//! What a device remembers of the documents, and how a document changes it.

use core::time::Duration;

use ecowatt_envelope::cosigned::{CosignedError, UnverifiedCosigned};
use ecowatt_model::UnixMs;
use minicbor::decode::{Decoder, Error as DecodeError};

use crate::cbor::{self, BufferTooSmall, CursorEncoder, EncodeError};
use crate::image::sha256;
use crate::manifest::{ManifestError, UnverifiedManifest, VerifiedManifest};
use crate::tree::Hash;
use crate::trust::role::Role;
use crate::trust::root::Root;
use crate::trust::targets::Targets;
use crate::trust::timestamp::Timestamp;

/// Most bytes of a state: a root, and 70 for the rest.
pub const STATE_MAX: usize = Root::CONTENT_MAX + 70;

/// One of the documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Document {
    /// The keys of all roles.
    Root,
    /// The manifests that may be installed.
    Targets,
    /// The newest targets.
    Timestamp,
}

/// Why a document was refused. Nothing has changed then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// It does not have the signatures that it needs.
    #[error("the {0} is not signed as it must be")]
    Unsigned(Document, #[source] CosignedError),
    /// The signed content is not that of such a document.
    #[error("the {0} has a content that is not known")]
    Malformed(Document),
    /// A root follows another one, and none is left out.
    #[error("root {got} does not follow root {current}")]
    NotNext {
        /// Version of the document.
        got: u32,
        /// Version that counts.
        current: u32,
    },
    /// A newer one has been seen.
    #[error("{document} {got} is older than {current}, which was seen")]
    Older {
        /// Which document.
        document: Document,
        /// Version of the document.
        got: u32,
        /// Newest version that was seen.
        current: u32,
    },
    /// Its time is over.
    #[error("the {0} has expired")]
    Expired(Document),
    /// The device does not know the time.
    #[error("the time is not known")]
    TimeUnknown,
    /// These are not the targets that the timestamp names.
    #[error("the targets are not those that the timestamp names")]
    OtherTargets,
    /// Other targets with the same version have been seen.
    #[error("other targets than before have the same version, {0}")]
    Equivocal(u32),
    /// The manifest is not on the list.
    #[error("the manifest is not among the targets")]
    Unlisted,
    /// The manifest is not signed with a targets key.
    #[error("the manifest does not count")]
    Manifest(#[source] ManifestError),
}

impl core::fmt::Display for Document {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Root => "root",
            Self::Targets => "targets",
            Self::Timestamp => "timestamp",
        })
    }
}

/// Whether a device would know of a newer image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// No documents have been accepted since the device was made or the keys were replaced.
    Never,
    /// What is known was vouched for until this instant.
    Fresh(UnixMs),
    /// Nothing has been vouched for since this instant: updates may be held back.
    Stale(UnixMs),
}

/// What a device must remember durably.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trust {
    root: Root,
    timestamp_version: u32,
    targets_version: u32,
    targets: Hash,
    /// An instant that has certainly passed, so that a wrong clock does not bring back what has
    /// expired. It is never after the expiry of targets that were accepted, which are signed
    /// offline, so a clock that was wrong for a while cannot refuse documents for ever.
    floor: UnixMs,
    fresh_until: UnixMs,
}

/// Targets that were accepted, and what is needed to check a manifest against them.
#[derive(Debug)]
pub struct Current<'t> {
    role: &'t Role,
    targets: Targets,
}

impl Trust {
    /// Begins with the root that is part of a device's program.
    ///
    /// # Errors
    /// If this is not a root that its own keys signed.
    pub fn new(root: &[u8]) -> Result<Self, TrustError> {
        let document = parse(Document::Root, root)?;
        let root =
            Root::read(document.claimed_content()).ok_or(TrustError::Malformed(Document::Root))?;
        verify(Document::Root, &document, &root.root)?;
        Ok(Self {
            root,
            timestamp_version: 0,
            targets_version: 0,
            targets: [0; _],
            floor: UnixMs(0),
            fresh_until: UnixMs(0),
        })
    }

    /// The root that counts.
    #[must_use]
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// Replaces the root by the one that follows it.
    ///
    /// Whether it has expired is decided when it is used: a device that was off for years goes
    /// through all roots that it missed.
    ///
    /// # Errors
    /// If the keys of both roots did not sign it, or if it is not the next one.
    pub fn replace_root(&mut self, root: &[u8]) -> Result<(), TrustError> {
        let document = parse(Document::Root, root)?;
        let content = verify(Document::Root, &document, &self.root.root)?;
        let root = Root::read(content).ok_or(TrustError::Malformed(Document::Root))?;
        verify(Document::Root, &document, &root.root)?;
        let (got, current) = (root.version, self.root.version);
        if current.checked_add(1) != Some(got) {
            return Err(TrustError::NotNext { got, current });
        }
        // Who stole a key may have signed a version that no honest one can exceed.
        if root.timestamp != self.root.timestamp {
            (self.timestamp_version, self.fresh_until) = (0, UnixMs(0));
        }
        if root.targets != self.root.targets {
            (self.targets_version, self.targets, self.fresh_until) = (0, [0; _], UnixMs(0));
        }
        self.root = root;
        Ok(())
    }

    /// Takes the newest timestamp and its targets, which may be those that are known already.
    ///
    /// The state must be durable before anything is done with the result.
    ///
    /// # Errors
    /// If they are not signed by their roles, older than what was seen, expired, or do not belong
    /// together.
    pub fn refresh(
        &mut self,
        timestamp: &[u8],
        targets: &[u8],
        now: Option<UnixMs>,
    ) -> Result<Current<'_>, TrustError> {
        let now = self.time(now).ok_or(TrustError::TimeUnknown)?;
        in_time(Document::Root, self.root.expires, now)?;
        let timestamp = self.check_timestamp(timestamp, now)?;
        let hash = sha256(targets);
        if hash != timestamp.targets {
            return Err(TrustError::OtherTargets);
        }
        let targets = self.check_targets(targets, now)?;
        if targets.version != timestamp.targets_version {
            return Err(TrustError::OtherTargets);
        }
        if targets.version == self.targets_version && hash != self.targets {
            return Err(TrustError::Equivocal(targets.version));
        }
        self.timestamp_version = timestamp.version;
        (self.targets_version, self.targets) = (targets.version, hash);
        self.floor = now;
        self.fresh_until = timestamp.expires.min(targets.expires).min(self.root.expires);
        Ok(Current { role: &self.root.targets, targets })
    }

    fn check_timestamp(&self, bytes: &[u8], now: UnixMs) -> Result<Timestamp, TrustError> {
        let document = Document::Timestamp;
        let unverified = parse(document, bytes)?;
        let content = verify(document, &unverified, &self.root.timestamp)?;
        let timestamp = Timestamp::read(content).ok_or(TrustError::Malformed(document))?;
        not_older(document, timestamp.version, self.timestamp_version)?;
        not_older(Document::Targets, timestamp.targets_version, self.targets_version)?;
        in_time(document, timestamp.expires, now)?;
        Ok(timestamp)
    }

    fn check_targets(&self, bytes: &[u8], now: UnixMs) -> Result<Targets, TrustError> {
        let document = Document::Targets;
        let unverified = parse(document, bytes)?;
        let content = verify(document, &unverified, &self.root.targets)?;
        let targets = Targets::read(content).ok_or(TrustError::Malformed(document))?;
        not_older(document, targets.version, self.targets_version)?;
        in_time(document, targets.expires, now)?;
        Ok(targets)
    }

    /// The time to judge by: what the clock says, but not before an instant that has passed.
    #[must_use]
    pub fn time(&self, clock: Option<UnixMs>) -> Option<UnixMs> {
        clock.map(|now| now.max(self.floor))
    }

    /// Notes that time has passed, for devices whose only clock is the server's: what the device's
    /// own counter counted since the last call. Made durable now and then, it bounds how long a
    /// server that stops the clock can hide that documents have expired.
    ///
    /// It stops where they have: a clock that was ahead once must not stay ahead for ever.
    pub fn pass(&mut self, elapsed: Duration) {
        self.floor = self.floor.plus(elapsed).min(self.fresh_until).max(self.floor);
    }

    /// Whether the device would know of a newer image.
    #[must_use]
    pub fn standing(&self, clock: Option<UnixMs>) -> Standing {
        let now = clock.unwrap_or(self.floor).max(self.floor);
        match self.fresh_until {
            UnixMs(0) => Standing::Never,
            until if now < until => Standing::Fresh(until),
            until => Standing::Stale(until),
        }
    }

    /// Writes the state and returns its length.
    ///
    /// # Errors
    /// If `out` is shorter than [`STATE_MAX`].
    pub fn store(&self, out: &mut [u8]) -> Result<usize, BufferTooSmall> {
        cbor::write(out, |encoder| self.write(encoder))
    }

    fn write(&self, encoder: &mut CursorEncoder<'_>) -> Result<(), EncodeError> {
        encoder.array(6)?;
        self.root.write_fields(encoder)?;
        encoder.u32(self.timestamp_version)?.u32(self.targets_version)?.bytes(&self.targets)?;
        encoder.i64(self.floor.0)?.i64(self.fresh_until.0)?.ok()
    }

    /// Reads a state that [`Trust::store`] wrote; `None` if it is damaged.
    #[must_use]
    pub fn load(bytes: &[u8]) -> Option<Self> {
        let trust = cbor::read(bytes, Self::read)?;
        let mut again = [0; STATE_MAX];
        let length = trust.store(&mut again).ok()?;
        (again[..length] == *bytes).then_some(trust)
    }

    fn read(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        cbor::array(decoder, 6)?;
        Ok(Self {
            root: Root::read_fields(decoder)?,
            timestamp_version: decoder.u32()?,
            targets_version: decoder.u32()?,
            targets: cbor::hash(decoder)?,
            floor: UnixMs(decoder.i64()?),
            fresh_until: UnixMs(decoder.i64()?),
        })
    }
}

impl Current<'_> {
    /// The accepted targets.
    #[must_use]
    pub fn targets(&self) -> &Targets {
        &self.targets
    }

    /// Checks that a manifest is among the targets and is signed with one of their keys.
    ///
    /// # Errors
    /// If it is not.
    pub fn manifest<'m>(&self, manifest: &'m [u8]) -> Result<VerifiedManifest<'m>, TrustError> {
        if !self.targets.manifests.contains(&sha256(manifest)) {
            return Err(TrustError::Unlisted);
        }
        UnverifiedManifest::parse(manifest)
            .and_then(|unverified| unverified.verify(self.role.keys()))
            .map_err(TrustError::Manifest)
    }
}

fn parse(document: Document, bytes: &[u8]) -> Result<UnverifiedCosigned<'_>, TrustError> {
    UnverifiedCosigned::parse(bytes).map_err(|error| TrustError::Unsigned(document, error))
}

fn verify<'a>(
    document: Document,
    unverified: &UnverifiedCosigned<'a>,
    role: &Role,
) -> Result<&'a [u8], TrustError> {
    let purpose = match document {
        Document::Root => Root::PURPOSE,
        Document::Targets => Targets::PURPOSE,
        Document::Timestamp => Timestamp::PURPOSE,
    };
    unverified
        .verify(purpose, role.keys(), role.threshold())
        .map_err(|error| TrustError::Unsigned(document, error))
}

fn not_older(document: Document, got: u32, current: u32) -> Result<(), TrustError> {
    if got < current { Err(TrustError::Older { document, got, current }) } else { Ok(()) }
}

fn in_time(document: Document, expires: UnixMs, now: UnixMs) -> Result<(), TrustError> {
    if now < expires { Ok(()) } else { Err(TrustError::Expired(document)) }
}

//! The keys of a message's sections: those in use, and those reserved for later versions.
//!
//! A reader skips a reserved key like any other unknown key. A reserved key already has a meaning,
//! so that two features never take the same key.

pub(crate) mod uplink {
    pub(crate) const BATCHES: u16 = 1;
    pub(crate) const CLOCK: u16 = 2;
    pub(crate) const STREAMS: u16 = 3;
    pub(crate) const STATUS: u16 = 4;
    pub(crate) const DROPPED: u16 = 5;
    pub(crate) const REPORTED: u16 = 6;
    pub(crate) const RESULTS: u16 = 7;
    pub(crate) const PATIENCE: u16 = 9;
    pub(crate) const LEASES: u16 = 11;
}

pub(crate) mod reply {
    pub(crate) const ACKS: u16 = 1;
    pub(crate) const TIME: u16 = 2;
    pub(crate) const WANTED: u16 = 3;
    pub(crate) const REFUSED: u16 = 4;
    pub(crate) const CHECK_IN: u16 = 5;
    pub(crate) const DESIRED: u16 = 6;
    pub(crate) const COMMANDS: u16 = 7;
    pub(crate) const HELD: u16 = 9;
    pub(crate) const LEASES: u16 = 11;
}

/// The state and meaning of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// A section whose form is fixed, and which this crate writes and reads.
    InUse(u16, &'static str),
    /// A section of a later version.
    Reserved(u16, &'static str),
}

impl Key {
    /// The key itself.
    #[must_use]
    pub const fn number(self) -> u16 {
        match self {
            Self::InUse(number, _) | Self::Reserved(number, _) => number,
        }
    }

    /// What its section contains.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::InUse(_, meaning) | Self::Reserved(_, meaning) => meaning,
        }
    }
}

/// Keys of an uplink.
pub const UPLINK_KEYS: [Key; 11] = [
    Key::InUse(uplink::BATCHES, "batches"),
    Key::InUse(uplink::CLOCK, "clock"),
    Key::InUse(uplink::STREAMS, "streams"),
    Key::InUse(uplink::STATUS, "status"),
    Key::InUse(uplink::DROPPED, "dropped"),
    Key::InUse(uplink::REPORTED, "reported configuration"),
    Key::InUse(uplink::RESULTS, "results of commands"),
    Key::Reserved(8, "progress of an update"),
    Key::InUse(uplink::PATIENCE, "how long the reply may be held, ms"),
    Key::Reserved(10, "diagnostics"),
    Key::InUse(uplink::LEASES, "reported leases"),
];

/// Keys of a reply.
pub const REPLY_KEYS: [Key; 10] = [
    Key::InUse(reply::ACKS, "acknowledgement"),
    Key::InUse(reply::TIME, "time"),
    Key::InUse(reply::WANTED, "wanted streams"),
    Key::InUse(reply::REFUSED, "refused batches"),
    Key::InUse(reply::CHECK_IN, "check-in"),
    Key::InUse(reply::DESIRED, "desired configuration"),
    Key::InUse(reply::COMMANDS, "commands"),
    Key::Reserved(8, "offer of an update"),
    Key::InUse(reply::HELD, "how long it was held, ms"),
    Key::InUse(reply::LEASES, "desired leases"),
];

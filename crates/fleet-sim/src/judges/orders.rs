//! What operators ordered, as they remember it: no command may be there, or be executed, that is
//! not in this list.

use ecowatt_model::{DeviceNumber, UnixMs};
use ecowatt_store::CommandOrder;

/// Numbers of kinds of commands (`ecowatt_model::command::COMMANDS`).
pub(crate) mod kind {
    pub(crate) const WRITE: u8 = 1;
    pub(crate) const WRITE_REGISTER: u8 = 2;
    pub(crate) const READ_REGISTER: u8 = 3;
    pub(crate) const SET_POWER_PERCENTAGE: u8 = 4;
    pub(crate) const SET_POWER: u8 = 5;
    pub(crate) const UPLOAD: u8 = 6;
    pub(crate) const DIAGNOSE: u8 = 7;
    pub(crate) const RESTART: u8 = 8;
    pub(crate) const REBOOT: u8 = 9;
    pub(crate) const CLEAR_FAULT: u8 = 10;
    pub(crate) const FACTORY_RESET: u8 = 11;

    /// Returns whether such a command ends the epoch of its device.
    pub(crate) fn ends_epoch(kind: u8) -> bool {
        matches!(kind, RESTART | FACTORY_RESET)
    }

    /// Returns whether such a command writes to an inverter.
    pub(crate) fn writes(kind: u8) -> bool {
        matches!(kind, WRITE | WRITE_REGISTER | SET_POWER_PERCENTAGE | SET_POWER)
    }
}

/// An order and its requests, which all have the same key.
#[derive(Debug, Clone)]
pub(crate) struct Ordered {
    pub(crate) device: DeviceNumber,
    pub(crate) key: String,
    pub(crate) order: CommandOrder,
    pub(crate) priority: u8,
    /// When a request was answered for the first time.
    pub(crate) made: Option<UnixMs>,
    pub(crate) not_before: Option<UnixMs>,
    /// The deadline of each request: it counts from the server's clock. No other order of the device
    /// has one of them, so that a command on the wire, which has no key, belongs to one order.
    pub(crate) deadlines: Vec<UnixMs>,
    pub(crate) answer: OrderAnswer,
    pub(crate) cancel: Cancel,
}

/// What the operator knows of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OrderAnswer {
    /// No request was answered: the command may be there or not.
    Nothing,
    /// It was refused, and never answered before.
    Refused,
    Made,
    /// Its key is taken by another command, or two requests made two commands.
    Doubled,
}

/// Whether an operator has cancelled an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cancel {
    No,
    /// It was requested, and not answered with success.
    Requested,
    Done,
}

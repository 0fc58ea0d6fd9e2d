//! What operators ordered, as they remember it: no command may be there, or be executed, that is
//! not in this list.

use ecowatt_model::{DeviceNumber, UnixMs};
use ecowatt_store::CommandOrder;

/// An order and its requests, which all have the same key.
#[derive(Debug, Clone)]
pub(crate) struct Ordered {
    pub(crate) device: DeviceNumber,
    pub(crate) key: String,
    pub(crate) order: CommandOrder,
    pub(crate) not_before: Option<UnixMs>,
    /// The deadline of each request: it counts from the server's clock. No other order of the device
    /// has one of them, so that a command on the wire, which has no key, belongs to one order.
    pub(crate) deadlines: Vec<UnixMs>,
    pub(crate) answer: OrderAnswer,
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
    Cancelled,
}

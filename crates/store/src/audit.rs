//! The audit log: one line for every change of the control plane, written in its transaction.

use ecowatt_model::UnixMs;

/// The author of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    /// A token's name and number, a device, or the server itself.
    pub who: String,
    /// Id of the request as in answers and logs, if there was one.
    pub request: Option<String>,
    pub at: UnixMs,
}

impl Author {
    /// An author without a request.
    #[must_use]
    pub fn new(who: impl Into<String>, at: UnixMs) -> Self {
        Self { who: who.into(), request: None, at }
    }
}

/// An audit line as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditLine {
    /// Ascends with time and is never reused.
    pub id: i64,
    pub by: Author,
    /// Noun and verb, such as `device.edit`.
    pub change: String,
    /// What was changed, such as `dev-42`.
    pub subject: String,
}

/// A change about to be made, with its author.
#[derive(Debug)]
pub(crate) struct Audited {
    by: Author,
    change: &'static str,
}

impl Audited {
    pub(crate) fn new(by: Author, change: &'static str) -> Self {
        Self { by, change }
    }

    pub(crate) fn by(&self) -> &Author {
        &self.by
    }

    pub(crate) fn change(&self) -> &'static str {
        self.change
    }
}

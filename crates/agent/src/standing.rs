//! How the agent stands with its server, and what somebody must do about it.
//!
//! Words for the log and for whoever supervises the process. Nothing is decided by them.

use std::fmt;
use std::time::Duration;

use ecowatt_model::{DeviceNumber, MonoMs};
use hyper::StatusCode;
use tokio::sync::watch;

use crate::link::LinkError;

/// How often a trouble that somebody must end is said again while it lasts.
const REMIND_EVERY: Duration = Duration::from_secs(3600);

/// How the agent stands with its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Standing {
    /// Nothing was sent yet.
    #[default]
    Starting,
    /// The claim code is not redeemed, so nothing is sampled.
    NotEnrolled(Trouble),
    /// The last message was answered.
    Answered(DeviceNumber),
    /// The last message was not. Samples are taken and kept.
    Unanswered(DeviceNumber, Trouble),
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting => f.write_str("starting"),
            Self::NotEnrolled(trouble) => write!(f, "not enrolled, samples nothing: {trouble}"),
            Self::Answered(device) => write!(f, "{device} samples, the server answers"),
            Self::Unanswered(device, trouble) => {
                write!(f, "{device} samples and keeps: {trouble}")
            }
        }
    }
}

/// Why the server did not answer as it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// No connection, or it broke, or no answer in time.
    Unreachable,
    /// It has no time, or no space.
    Busy,
    /// It knows no such device with such a key.
    KeyRefused,
    /// It heard later messages of this device than the data folder knows of.
    CounterUsed,
    /// It knows no such claim code.
    ClaimUnknown,
    /// Somebody redeemed the claim code.
    ClaimUsed,
    /// The claim code was not redeemed in time.
    ClaimExpired,
    /// Whatever answers, it has no place for devices' messages.
    NoLink,
    /// It answered something else.
    Status(u16),
    /// What it answered is not sealed for this device.
    BadReply,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable => f.write_str("the server cannot be reached"),
            Self::Busy => f.write_str("the server asks to come again later"),
            Self::KeyRefused => f.write_str(
                "the server does not take this device's key: it was revoked, or this is another \
                 server",
            ),
            Self::CounterUsed => f.write_str(
                "the server has later messages of this device: the data folder is an old copy, or \
                 another agent runs on one",
            ),
            Self::ClaimUnknown => f.write_str(
                "the server does not know this claim code: it is misspelt, a later code took its \
                 place, or this is another server",
            ),
            Self::ClaimUsed => {
                f.write_str("another device or data folder redeemed this claim code")
            }
            Self::ClaimExpired => f.write_str("this claim code has expired"),
            Self::NoLink => {
                f.write_str("what answers at the server's address is no EcoWatt server")
            }
            Self::Status(status) => write!(f, "the server answered {status}"),
            Self::BadReply => f.write_str("the server's answer is not meant for this device"),
        }
    }
}

impl Trouble {
    /// Why a message was not answered.
    pub(crate) fn of_message(error: &LinkError) -> Self {
        match error {
            LinkError::Status(StatusCode::UNAUTHORIZED) => Self::KeyRefused,
            LinkError::Status(StatusCode::CONFLICT) => Self::CounterUsed,
            error => Self::of_any(error),
        }
    }

    /// Why a claim code was not redeemed.
    pub(crate) fn of_claim(error: &LinkError) -> Self {
        match error {
            LinkError::Status(StatusCode::UNAUTHORIZED) => Self::ClaimUnknown,
            LinkError::Status(StatusCode::CONFLICT) => Self::ClaimUsed,
            LinkError::Status(StatusCode::GONE) => Self::ClaimExpired,
            error => Self::of_any(error),
        }
    }

    fn of_any(error: &LinkError) -> Self {
        match error {
            LinkError::Status(StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED) => {
                Self::NoLink
            }
            LinkError::Status(status) => Self::Status(status.as_u16()),
            LinkError::Busy { .. } => Self::Busy,
            LinkError::Connect(_) | LinkError::Broken(_) | LinkError::Timeout | LinkError::Body => {
                Self::Unreachable
            }
        }
    }

    /// What somebody must do, if waiting does not help.
    pub(crate) fn remedy(self, device: Option<DeviceNumber>) -> Option<String> {
        let device = device.map_or_else(|| "dev-N".to_owned(), |device| device.to_string());
        match self {
            Self::KeyRefused | Self::CounterUsed => Some(format!(
                "enrol the device again: `ecowatt device enrol --device {device}` prints a claim \
                 code; give it as claim_file or claim_code and restart the agent"
            )),
            Self::ClaimUnknown => Some(
                "compare the code and `server` with what `ecowatt device enrol` was told, or make \
                 another code, and restart the agent"
                    .to_owned(),
            ),
            Self::ClaimUsed | Self::ClaimExpired => Some(format!(
                "make another code, for this device `ecowatt device enrol --device {device}`, give \
                 it as claim_file or claim_code, and restart the agent"
            )),
            Self::NoLink => Some("correct `server` in the configuration".to_owned()),
            Self::Unreachable | Self::Busy | Self::Status(_) | Self::BadReply => None,
        }
    }
}

/// Says how things stand when that changes, and troubles that somebody must end now and then.
#[derive(Debug)]
pub(crate) struct Teller {
    standing: watch::Sender<Standing>,
    said: Option<(Trouble, MonoMs)>,
}

impl Teller {
    pub(crate) fn new(standing: watch::Sender<Standing>) -> Self {
        Self { standing, said: None }
    }

    /// The server answered.
    pub(crate) fn answered(&mut self, device: DeviceNumber) {
        self.said = None;
        self.stand(Standing::Answered(device));
    }

    /// The device samples, and its message was not answered.
    pub(crate) fn unanswered(
        &mut self,
        now: MonoMs,
        device: DeviceNumber,
        trouble: Trouble,
        error: &(dyn std::error::Error + 'static),
    ) {
        self.stand(Standing::Unanswered(device, trouble));
        if !self.is_due(now, trouble) {
            return;
        }
        match trouble.remedy(Some(device)) {
            Some(remedy) => tracing::error!(
                %device, why = %trouble, remedy, "server refuses this device; samples are kept"
            ),
            None => {
                tracing::warn!(error, why = %trouble, "server does not answer; samples are kept")
            }
        }
    }

    /// The claim code was not redeemed.
    pub(crate) fn not_enrolled(
        &mut self,
        now: MonoMs,
        held: Option<DeviceNumber>,
        trouble: Trouble,
        error: &(dyn std::error::Error + 'static),
    ) {
        self.stand(Standing::NotEnrolled(trouble));
        if !self.is_due(now, trouble) {
            return;
        }
        match trouble.remedy(held) {
            Some(remedy) => {
                tracing::error!(why = %trouble, remedy, "not enrolled; nothing is sampled");
            }
            None => tracing::warn!(error, why = %trouble, "not enrolled yet; nothing is sampled"),
        }
    }

    fn stand(&self, standing: Standing) {
        self.standing.send_if_modified(|held| std::mem::replace(held, standing) != standing);
    }

    fn is_due(&mut self, now: MonoMs, trouble: Trouble) -> bool {
        let is_due = self.said.is_none_or(|(said, at)| {
            said != trouble || (trouble.remedy(None).is_some() && now.since(at) >= REMIND_EVERY)
        });
        if is_due {
            self.said = Some((trouble, now));
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_is_said_when_it_changes_and_a_refusal_every_hour() {
        let mut teller = Teller::new(watch::channel(Standing::default()).0);
        let hour = 3_600_000;
        let told = [
            (0, Trouble::Unreachable, true),
            (2 * hour, Trouble::Unreachable, false),
            (2 * hour + 1, Trouble::KeyRefused, true),
            (2 * hour + 2, Trouble::KeyRefused, false),
            (3 * hour, Trouble::KeyRefused, false),
            (3 * hour + 1, Trouble::KeyRefused, true),
            (3 * hour + 2, Trouble::Busy, true),
        ];
        for (ms, trouble, is_due) in told {
            assert_eq!(teller.is_due(MonoMs(ms), trouble), is_due, "{ms} {trouble:?}");
        }
        teller.answered(DeviceNumber(1));
        assert!(teller.is_due(MonoMs(3 * hour + 3), Trouble::Busy), "it is another one");
    }

    #[test]
    fn refusals_name_the_device_that_is_to_be_enrolled() {
        let refused = |status| LinkError::Status(status);
        let trouble = Trouble::of_message(&refused(StatusCode::UNAUTHORIZED));
        assert_eq!(trouble, Trouble::KeyRefused);
        let remedy = trouble.remedy(Some(DeviceNumber(42))).unwrap();
        assert!(remedy.contains("ecowatt device enrol --device dev-42"), "{remedy}");
        for (status, trouble) in [
            (StatusCode::UNAUTHORIZED, Trouble::ClaimUnknown),
            (StatusCode::CONFLICT, Trouble::ClaimUsed),
            (StatusCode::GONE, Trouble::ClaimExpired),
            (StatusCode::NOT_FOUND, Trouble::NoLink),
            (StatusCode::BAD_GATEWAY, Trouble::Status(502)),
        ] {
            assert_eq!(Trouble::of_claim(&refused(status)), trouble);
        }
    }
}

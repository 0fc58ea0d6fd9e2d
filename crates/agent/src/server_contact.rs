//! The agent's relation to its server, and what the operator must do about it.
//!
//! For the log and for the process's supervisor. Nothing is decided by it.

use std::fmt;
use std::time::Duration;

use ecowatt_model::{DeviceNumber, MonoMs};
use hyper::StatusCode;
use tokio::sync::watch;

use crate::link::LinkError;

/// Number of equal refusals, and their time span, before the log advises what to do: a refusal is
/// not authenticated, and anyone between device and server can forge one.
const REFUSALS_MIN: u32 = 3;
const REFUSED_FOR_MIN: Duration = Duration::from_secs(300);

/// How often a trouble that the operator must end is logged again while it lasts.
const REMIND_EVERY: Duration = Duration::from_secs(3600);

/// The agent's relation to its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ServerContact {
    /// Nothing was sent yet.
    #[default]
    Starting,
    /// The claim code is not redeemed, so nothing is sampled.
    NotEnrolled(ContactFailure),
    /// The last message was answered.
    Answered(DeviceNumber),
    /// The last message was not answered. Samples are taken and kept.
    Unanswered(DeviceNumber, ContactFailure),
}

impl fmt::Display for ServerContact {
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
pub enum ContactFailure {
    /// No connection, or it broke, or no answer in time.
    Unreachable,
    /// It is overloaded, or has no space.
    Busy,
    /// It answered 401, which is not authenticated: the key need not be revoked.
    KeyRefused,
    /// It has later messages of this device than the data folder.
    CounterUsed,
    /// It knows no such claim code.
    ClaimUnknown,
    /// The claim code was redeemed.
    ClaimUsed,
    /// The claim code was not redeemed in time.
    ClaimExpired,
    /// What answers there is not an EcoWatt server.
    NoLink,
    /// It answered something else.
    Status(u16),
    /// What it answered is not sealed for this device.
    BadReply,
}

impl fmt::Display for ContactFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable => f.write_str("the server cannot be reached"),
            Self::Busy => f.write_str("the server asks to try again later"),
            Self::KeyRefused => f.write_str(
                "the server answered 401: this device's key may have been revoked, or another \
                 server answers at this address",
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
                f.write_str("the configured address does not belong to an EcoWatt server")
            }
            Self::Status(status) => write!(f, "the server answered {status}"),
            Self::BadReply => f.write_str("the server's answer is not meant for this device"),
        }
    }
}

impl ContactFailure {
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

    /// Returns what the operator must do, if waiting does not help.
    pub(crate) fn remedy(self, device: Option<DeviceNumber>) -> Option<String> {
        let device = device.map_or_else(|| "dev-N".to_owned(), |device| device.to_string());
        match self {
            Self::KeyRefused | Self::CounterUsed => Some(format!(
                "enrol the device again: `ecowatt device enrol --device {device}` prints a claim \
                 code; give it as claim_file or claim_code and restart the agent"
            )),
            Self::ClaimUnknown => Some(
                "compare the code and `server` with those of `ecowatt device enrol`, or make \
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

/// Logs changes of the standing, and repeats troubles that the operator must end.
#[derive(Debug)]
pub(crate) struct StatusLog {
    standing: watch::Sender<ServerContact>,
    /// The trouble that was logged last, and when; cleared by an answer.
    logged: Option<(ContactFailure, MonoMs)>,
    /// The kind of the last answers, since when, and how many; cleared by a proper answer.
    met: Option<(ContactFailure, MonoMs, u32)>,
    /// The trouble for which the log has advised what to do.
    advised: Option<ContactFailure>,
}

impl StatusLog {
    pub(crate) fn new(standing: watch::Sender<ServerContact>) -> Self {
        Self { standing, logged: None, met: None, advised: None }
    }

    /// Notes that the server answered.
    pub(crate) fn answered(&mut self, device: DeviceNumber) {
        (self.logged, self.met) = (None, None);
        self.stand(ServerContact::Answered(device));
    }

    /// Notes that a message of a sampling device was not answered.
    pub(crate) fn unanswered(
        &mut self,
        now: MonoMs,
        device: DeviceNumber,
        trouble: ContactFailure,
        error: &(dyn std::error::Error + 'static),
    ) {
        self.stand(ServerContact::Unanswered(device, trouble));
        let is_lasting = self.is_lasting(now, trouble);
        if !self.is_due(now, trouble, is_lasting) {
            return;
        }
        match trouble.remedy(Some(device)).filter(|_| is_lasting) {
            Some(remedy) => tracing::error!(
                %device, why = %trouble, perhaps = remedy,
                "answers refuse this device; they are not authenticated; samples are kept"
            ),
            None => {
                tracing::warn!(error, why = %trouble, "server does not answer; samples are kept")
            }
        }
    }

    /// Notes that the claim code was not redeemed.
    pub(crate) fn not_enrolled(
        &mut self,
        now: MonoMs,
        held: Option<DeviceNumber>,
        trouble: ContactFailure,
        error: &(dyn std::error::Error + 'static),
    ) {
        self.stand(ServerContact::NotEnrolled(trouble));
        let is_lasting = self.is_lasting(now, trouble);
        if !self.is_due(now, trouble, is_lasting) {
            return;
        }
        match trouble.remedy(held).filter(|_| is_lasting) {
            Some(remedy) => tracing::error!(
                why = %trouble, perhaps = remedy,
                "answers refuse the claim code; they are not authenticated; nothing is sampled"
            ),
            None => tracing::warn!(error, why = %trouble, "not enrolled yet; nothing is sampled"),
        }
    }

    fn stand(&self, standing: ServerContact) {
        self.standing.send_if_modified(|held| std::mem::replace(held, standing) != standing);
    }

    /// Whether answers of this kind have come for long enough to be believed.
    fn is_lasting(&mut self, now: MonoMs, trouble: ContactFailure) -> bool {
        let (since, count) = match self.met {
            Some((met, since, count)) if met == trouble => (since, count.saturating_add(1)),
            Some(_) | None => (now, 1),
        };
        self.met = Some((trouble, since, count));
        count >= REFUSALS_MIN && now.since(since) >= REFUSED_FOR_MIN
    }

    /// Whether to log a trouble: when it begins; and with advice, when it has lasted and every hour
    /// after that.
    fn is_due(&mut self, now: MonoMs, trouble: ContactFailure, is_lasting: bool) -> bool {
        let needs_action = is_lasting && trouble.remedy(None).is_some();
        let is_due = self.logged.is_none_or(|(logged, at)| {
            let was_advised = self.advised == Some(trouble);
            logged != trouble || (needs_action && (!was_advised || now.since(at) >= REMIND_EVERY))
        });
        self.advised = needs_action.then_some(trouble);
        if is_due {
            self.logged = Some((trouble, now));
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_is_logged_when_it_changes_and_a_lasting_refusal_every_hour() {
        let mut status_log = StatusLog::new(watch::channel(ServerContact::default()).0);
        let hour = 3_600_000;
        let (min, at) = (60_000, 2 * hour);
        // When, which, whether it is logged, and whether with advice.
        let cases = [
            (0, ContactFailure::Unreachable, true, false),
            (at, ContactFailure::Unreachable, false, false),
            // One forged answer, or several in a row, cause no advice.
            (at + 1, ContactFailure::KeyRefused, true, false),
            (at + min, ContactFailure::KeyRefused, false, false),
            (at + 4 * min, ContactFailure::KeyRefused, false, false),
            (at + 6 * min, ContactFailure::KeyRefused, true, true),
            (at + 7 * min, ContactFailure::KeyRefused, false, true),
            (at + 66 * min, ContactFailure::KeyRefused, true, true),
            (at + 67 * min, ContactFailure::Busy, true, false),
            (at + 99 * min, ContactFailure::KeyRefused, true, false),
        ];
        for (ms, trouble, is_due, is_lasting) in cases {
            let lasting =
                status_log.is_lasting(MonoMs(ms), trouble) && trouble.remedy(None).is_some();
            let due = status_log.is_due(MonoMs(ms), trouble, lasting);
            assert_eq!((due, lasting), (is_due, is_lasting), "{ms} {trouble:?}");
        }
        status_log.answered(DeviceNumber(1));
        let later = MonoMs(at + 99 * min + 1);
        assert!(!status_log.is_lasting(later, ContactFailure::KeyRefused), "it is another one");
        assert!(status_log.is_due(later, ContactFailure::KeyRefused, false));
    }

    #[test]
    fn refusals_name_the_device_to_enrol() {
        let refused = |status| LinkError::Status(status);
        let trouble = ContactFailure::of_message(&refused(StatusCode::UNAUTHORIZED));
        assert_eq!(trouble, ContactFailure::KeyRefused);
        let remedy = trouble.remedy(Some(DeviceNumber(42))).unwrap();
        assert!(remedy.contains("ecowatt device enrol --device dev-42"), "{remedy}");
        for (status, trouble) in [
            (StatusCode::UNAUTHORIZED, ContactFailure::ClaimUnknown),
            (StatusCode::CONFLICT, ContactFailure::ClaimUsed),
            (StatusCode::GONE, ContactFailure::ClaimExpired),
            (StatusCode::NOT_FOUND, ContactFailure::NoLink),
            (StatusCode::BAD_GATEWAY, ContactFailure::Status(502)),
        ] {
            assert_eq!(ContactFailure::of_claim(&refused(status)), trouble);
        }
    }
}

//! The control port of a simulated inverter: lists, adds and removes its faults.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use ureq::http::Response;
use ureq::{Agent, Body};

/// Longest accepted answer: far more than its largest list.
const ANSWER_BYTES_MAX: u64 = 1024 * 1024;

/// Talks to the control port of one simulated inverter.
#[derive(Debug)]
pub struct InverterControl {
    agent: Agent,
    base: String,
}

/// Why a request to a control port failed.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The inverter refused, with a reason.
    #[error("{message} ({code})")]
    Refused { code: String, message: String },
    #[error("the answer (status {status}) is not from the control port of an inverter")]
    Foreign { status: u16 },
    #[error("cannot reach {url}")]
    Unreachable {
        url: String,
        #[source]
        cause: Box<ureq::Error>,
    },
    #[error("`{0}` is not the address of a control port, such as http://127.0.0.1:1580")]
    Url(String),
    #[error("the request cannot be written as JSON")]
    Request(#[source] serde_json::Error),
}

/// A fault that has not ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ListedFault {
    pub id: u64,
    pub kind: String,
    pub from_ms: i64,
    /// Absent: it does not end by itself.
    pub until_ms: Option<i64>,
    pub probability: f64,
    /// First and last register that it is limited to.
    pub addresses: Option<[u16; 2]>,
    /// How many more times it happens. Absent: without limit.
    pub times_left: Option<u32>,
    pub is_active: bool,
}

#[derive(Deserialize)]
struct Created {
    id: u64,
}

#[derive(Deserialize)]
struct ErrorBody {
    error: ErrorDetail,
}

#[derive(Deserialize)]
struct ErrorDetail {
    code: String,
    message: String,
}

impl InverterControl {
    /// Makes a client for a control port's address, such as `http://127.0.0.1:1580`.
    ///
    /// # Errors
    /// [`ControlError::Url`] if the address is invalid.
    pub fn new(url: &str) -> Result<Self, ControlError> {
        let base = url.trim().trim_end_matches('/');
        let authority = base.strip_prefix("http://");
        if authority.is_none_or(|rest| rest.is_empty() || rest.contains(['/', '?', '#', ' '])) {
            return Err(ControlError::Url(url.into()));
        }
        Ok(Self { agent: crate::agent(), base: base.into() })
    }

    /// Adds a fault, as the port describes it, and returns its id.
    ///
    /// # Errors
    /// See [`ControlError`].
    pub fn add_fault(&self, fault: &impl Serialize) -> Result<u64, ControlError> {
        let body = serde_json::to_vec(fault).map_err(ControlError::Request)?;
        let request = self.agent.post(self.faults()).content_type("application/json");
        self.read(request.send(&body[..])).map(|created: Created| created.id)
    }

    /// Returns all faults that have not ended.
    ///
    /// # Errors
    /// See [`ControlError`].
    pub fn list_faults(&self) -> Result<Vec<ListedFault>, ControlError> {
        self.read(self.agent.get(self.faults()).call())
    }

    /// Removes one fault, or all.
    ///
    /// # Errors
    /// See [`ControlError`].
    pub fn remove_faults(&self, id: Option<u64>) -> Result<(), ControlError> {
        let path = id.map_or_else(|| self.faults(), |id| format!("{}/{id}", self.faults()));
        self.read::<Option<serde::de::IgnoredAny>>(self.agent.delete(path).call()).map(drop)
    }

    fn faults(&self) -> String {
        format!("{}/faults", self.base)
    }

    fn read<T: DeserializeOwned>(
        &self,
        outcome: Result<Response<Body>, ureq::Error>,
    ) -> Result<T, ControlError> {
        let unreachable =
            |cause| ControlError::Unreachable { url: self.base.clone(), cause: Box::new(cause) };
        let mut response = outcome.map_err(unreachable)?;
        let is_success = response.status().is_success();
        let status = response.status().as_u16();
        let body = response
            .body_mut()
            .with_config()
            .limit(ANSWER_BYTES_MAX)
            .read_to_vec()
            .map_err(unreachable)?;
        // 204 has no body.
        let body = if body.is_empty() { b"null" } else { &body[..] };
        if is_success {
            return serde_json::from_slice(body).map_err(|_| ControlError::Foreign { status });
        }
        Err(match serde_json::from_slice(body) {
            Ok(ErrorBody { error }) => {
                ControlError::Refused { code: error.code, message: error.message }
            }
            Err(_) => ControlError::Foreign { status },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_is_that_of_a_port_without_a_path() {
        for good in ["http://127.0.0.1:1580", "http://localhost:1580/", " http://[::1]:1 "] {
            assert!(InverterControl::new(good).is_ok(), "{good}");
        }
        for bad in ["", "127.0.0.1:1580", "https://x:1", "http://", "http://x/faults"] {
            assert!(matches!(InverterControl::new(bad), Err(ControlError::Url(_))), "{bad}");
        }
    }
}

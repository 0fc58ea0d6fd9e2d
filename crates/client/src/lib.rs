//! A typed, blocking client of the operator API.
//!
//! It has the routes that the command line needs. Nothing is retried: the caller sees each failure,
//! with the server's own code and message if the server sent them.

mod inverter_control;

use std::fmt;
use std::time::Duration;

use ecowatt_api::{
    AssignTemplate, AssignTemplateToGroup, AssignedTemplate, AuditList, Command, CommandDetail,
    CommandKindList, CommandList, CommandStatistics, ConfigHistory, ConfigTemplate,
    ConfigTemplateList, CreateClaim, CreateCommand, CreateDevice, CreateLease, CreateTemplate,
    CreateToken, CreatedToken, DeviceConfig, DeviceDetail, DeviceList, DeviceState, Energy,
    EnrolOriginal, EnrolledOriginal, Enrolment, Error as ErrorAnswer, Lease, LeaseList, OpenClaim,
    OriginalAnswer, OriginalRefusal, Resolution, RunningSession, SettingList, Site, System,
    Telemetry, TemplateHistory, TemplatePreview, Token, UpdateConfig, UpdateDevice, UpdateSite,
    UpdateTemplate, Updated,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use ureq::http::{Response, StatusCode};
use ureq::{Agent, Body};

pub use inverter_control::{ControlError, InverterControl, ListedFault};

/// Longest accepted answer. The longest that a server sends, 20,000 rows of 128 points, is about
/// 20 MB.
const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// How long a request may take from start to end.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Talks to one server as the holder of one token.
pub struct Client {
    agent: Agent,
    base: String,
    token: String,
}

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server rejected the request, with a reason.
    #[error("{message} ({code}, request {request_id})")]
    Refused { status: u16, code: String, message: String, request_id: String },
    /// The answer does not follow this API.
    #[error("the answer (status {status}) is not from an EcoWatt server")]
    Foreign { status: u16 },
    #[error("cannot reach {url}")]
    Unreachable {
        url: String,
        #[source]
        cause: Box<ureq::Error>,
    },
    /// The server answers without TLS only.
    #[error("{url} speaks plain HTTP, not TLS")]
    NotTls { url: String },
    #[error("the server's answer cannot be read")]
    Answer(#[source] serde_json::Error),
    #[error("`{0}` is not the address of a server, such as http://127.0.0.1:8080")]
    Url(String),
}

/// Outcome of an upload of a device of the earlier EcoWatt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OriginalUpload {
    /// It was taken, and so many samples of it stored.
    Taken { samples: usize },
    /// It must be sent again later, and nothing of it was taken.
    Later { retry_after: Option<Duration> },
    /// It is not the device's next; the text is the original's.
    Refused { error: String },
}

/// Selects commands of a device.
#[derive(Debug, Clone, Default)]
pub struct CommandQuery {
    /// The state as the API spells it.
    pub state: Option<String>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}

/// Selects devices.
#[derive(Debug, Clone, Default)]
pub struct DeviceQuery {
    pub limit: Option<usize>,
    pub cursor: Option<String>,
    pub search: Option<String>,
    pub state: Option<DeviceState>,
}

/// Selects readings.
#[derive(Debug, Clone)]
pub struct TelemetryQuery {
    pub from: Option<String>,
    pub to: Option<String>,
    pub resolution: Resolution,
    /// All points if empty.
    pub points: Vec<String>,
    pub inverter: u8,
    /// `next_cursor` of the previous answer, to go on in the same range.
    pub cursor: Option<String>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("base", &self.base).finish_non_exhaustive()
    }
}

impl Client {
    /// Makes a client for a server's address, such as `http://127.0.0.1:8080`.
    ///
    /// # Errors
    /// [`ClientError::Url`] if the address is invalid.
    pub fn new(url: &str, token: &str) -> Result<Self, ClientError> {
        let base = url.trim().trim_end_matches('/');
        let authority = base.strip_prefix("http://").or_else(|| base.strip_prefix("https://"));
        if authority.is_none_or(|rest| rest.is_empty() || rest.contains(['?', '#', ' '])) {
            return Err(ClientError::Url(url.into()));
        }
        Ok(Self { agent: agent(), base: base.into(), token: token.trim().into() })
    }

    /// Returns facts about the server itself.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn system(&self) -> Result<System, ClientError> {
        self.get("/api/v1/system", &[])
    }

    /// Returns all sites.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn list_sites(&self) -> Result<Vec<Site>, ClientError> {
        self.get("/api/v1/sites", &[])
    }

    /// Returns one page of devices.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn list_devices(&self, query: &DeviceQuery) -> Result<DeviceList, ClientError> {
        let mut pairs = Vec::new();
        push(&mut pairs, "limit", query.limit.as_ref());
        push(&mut pairs, "cursor", query.cursor.as_ref());
        push(&mut pairs, "search", query.search.as_ref());
        if let Some(state) = query.state {
            pairs.push(("state", word(&state)?));
        }
        self.get("/api/v1/devices", &pairs)
    }

    /// Returns a device with its newest readings.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn find_device(&self, id: &str) -> Result<DeviceDetail, ClientError> {
        self.get(&format!("/api/v1/devices/{}", segment(id)), &[])
    }

    /// Creates a device and its claim code.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn create_device(&self, request: &CreateDevice) -> Result<Enrolment, ClientError> {
        self.post("/api/v1/devices", request)
    }

    /// Enrols a device of the earlier EcoWatt.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn enrol_original(&self, request: &EnrolOriginal) -> Result<EnrolledOriginal, ClientError> {
        self.post("/api/v1/original-devices", request)
    }

    /// Sends an upload of a device of the earlier EcoWatt, which proves itself.
    ///
    /// # Errors
    /// See [`ClientError`]. That the server does not take it is a result, not an error.
    pub fn upload_original(&self, id: &str, body: &str) -> Result<OriginalUpload, ClientError> {
        let unreachable =
            |cause| ClientError::Unreachable { url: self.base.clone(), cause: Box::new(cause) };
        let mut response = self
            .agent
            .post(format!("{}/aggregated/{}", self.base, segment(id)))
            .content_type("application/json")
            .send(body)
            .map_err(unreachable)?;
        let status = response.status();
        let retry_after = response.headers().get("retry-after").and_then(|value| {
            let seconds = value.to_str().ok()?.parse().ok()?;
            Some(Duration::from_secs(seconds))
        });
        let limited = response.body_mut().with_config().limit(ANSWER_BYTES_MAX);
        let body = limited.read_to_vec().map_err(unreachable)?;
        match status {
            StatusCode::OK => {
                let taken: OriginalAnswer =
                    serde_json::from_slice(&body).map_err(ClientError::Answer)?;
                Ok(OriginalUpload::Taken { samples: taken.samples_count })
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                Ok(OriginalUpload::Later { retry_after })
            }
            status => match serde_json::from_slice::<OriginalRefusal>(&body) {
                Ok(OriginalRefusal { error, .. }) => Ok(OriginalUpload::Refused { error }),
                Err(_) => Err(refusal(status, &body)),
            },
        }
    }

    /// Creates another claim code for a device.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn create_claim(&self, id: &str, request: &CreateClaim) -> Result<Enrolment, ClientError> {
        self.post(&format!("/api/v1/devices/{}/claim", segment(id)), request)
    }

    /// Changes a device's name and site.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn update_device(&self, id: &str, change: &UpdateDevice) -> Result<Updated, ClientError> {
        self.patch(&format!("/api/v1/devices/{}", segment(id)), change)
    }

    /// Deletes a device and all of its data.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn delete_device(&self, id: &str) -> Result<(), ClientError> {
        self.delete(&format!("/api/v1/devices/{}", segment(id)))
    }

    /// Revokes a device's keys and forgets the state that was reported under them.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn reset_device(&self, id: &str) -> Result<(), ClientError> {
        let request = self
            .agent
            .post(format!("{}/api/v1/devices/{}/reset", self.base, segment(id)))
            .header("authorization", format!("Bearer {}", self.token));
        self.read::<serde::de::IgnoredAny>(request.send_empty()).map(drop)
    }

    /// Returns the settings that devices can be given.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn list_settings(&self) -> Result<SettingList, ClientError> {
        self.get("/api/v1/settings", &[])
    }

    /// Returns what a device should use and what it uses.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn find_config(&self, id: &str) -> Result<DeviceConfig, ClientError> {
        self.get(&format!("/api/v1/devices/{}/config", segment(id)), &[])
    }

    /// Changes what a device should use.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn update_config(
        &self,
        id: &str,
        change: &UpdateConfig,
    ) -> Result<DeviceConfig, ClientError> {
        self.patch(&format!("/api/v1/devices/{}/config", segment(id)), change)
    }

    /// Returns one page of the changes of what a device should use.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn list_config_changes(
        &self,
        id: &str,
        cursor: Option<&str>,
    ) -> Result<ConfigHistory, ClientError> {
        let mut pairs = vec![("limit", ecowatt_api::CONFIG_CHANGES_PAGE_MAX.to_string())];
        push(&mut pairs, "cursor", cursor.as_ref());
        self.get(&format!("/api/v1/devices/{}/config/history", segment(id)), &pairs)
    }

    /// Returns all templates.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn list_templates(&self) -> Result<ConfigTemplateList, ClientError> {
        self.get("/api/v1/config/templates", &[])
    }

    /// Returns a template.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn find_template(&self, name: &str) -> Result<ConfigTemplate, ClientError> {
        self.get(&template(name, ""), &[])
    }

    /// Creates a template.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn create_template(&self, request: &CreateTemplate) -> Result<ConfigTemplate, ClientError> {
        self.post("/api/v1/config/templates", request)
    }

    /// Changes a template; its devices follow.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn update_template(
        &self,
        name: &str,
        change: &UpdateTemplate,
    ) -> Result<ConfigTemplate, ClientError> {
        self.patch(&template(name, ""), change)
    }

    /// Returns one page of the devices that a change of a template would change.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn preview_template(
        &self,
        name: &str,
        change: &UpdateTemplate,
        cursor: Option<&str>,
    ) -> Result<TemplatePreview, ClientError> {
        let cursor = cursor.map(|cursor| format!("?cursor={}", segment(cursor)));
        self.post(&template(name, &format!("/preview{}", cursor.unwrap_or_default())), change)
    }

    /// Returns one page of the changes of a template.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn list_template_changes(
        &self,
        name: &str,
        cursor: Option<&str>,
    ) -> Result<TemplateHistory, ClientError> {
        let mut pairs = vec![("limit", ecowatt_api::CONFIG_CHANGES_PAGE_MAX.to_string())];
        push(&mut pairs, "cursor", cursor.as_ref());
        self.get(&template(name, "/history"), &pairs)
    }

    /// Deletes a template that no device uses.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn delete_template(&self, name: &str) -> Result<(), ClientError> {
        self.delete(&template(name, ""))
    }

    /// Assigns a template to a device, or none.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn assign_template(
        &self,
        device: &str,
        name: Option<&str>,
    ) -> Result<DeviceConfig, ClientError> {
        let request = AssignTemplate { template: name.map(Into::into) };
        self.put(&format!("/api/v1/devices/{}/config/template", segment(device)), &request)
    }

    /// Assigns a template to a group of devices. If no answer comes, some have it; the request can be
    /// repeated.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn assign_template_to_group(
        &self,
        name: &str,
        group: &AssignTemplateToGroup,
    ) -> Result<AssignedTemplate, ClientError> {
        self.put(&template(name, "/devices"), group)
    }

    /// Returns the kinds of commands that devices can be sent.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn list_command_kinds(&self) -> Result<CommandKindList, ClientError> {
        self.get("/api/v1/commands/kinds", &[])
    }

    /// Sends a command to a device. If no answer comes, the command may have been made; the same
    /// request with the same key makes no second one.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn create_command(
        &self,
        device: &str,
        request: &CreateCommand,
    ) -> Result<Command, ClientError> {
        self.post(&format!("/api/v1/devices/{}/commands", segment(device)), request)
    }

    /// Returns one page of the commands of a device, newest first.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn list_commands(
        &self,
        device: &str,
        query: &CommandQuery,
    ) -> Result<CommandList, ClientError> {
        let mut pairs = vec![("limit", ecowatt_api::COMMANDS_PAGE_MAX.to_string())];
        push(&mut pairs, "state", query.state.as_ref());
        push(&mut pairs, "cursor", query.cursor.as_ref());
        self.get(&format!("/api/v1/devices/{}/commands", segment(device)), &pairs)
    }

    /// Returns a command with every state that it had.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn find_command(&self, id: &str) -> Result<CommandDetail, ClientError> {
        self.get(&format!("/api/v1/commands/{}", segment(id)), &[])
    }

    /// Cancels a command that was not sent yet.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn cancel_command(&self, id: &str) -> Result<CommandDetail, ClientError> {
        self.post(&format!("/api/v1/commands/{}/cancel", segment(id)), &())
    }

    /// Limits the inverters of a device for a time.
    ///
    /// # Errors
    /// If the server refuses or cannot be reached.
    pub fn create_lease(&self, device: &str, request: &CreateLease) -> Result<Lease, ClientError> {
        self.post(&format!("/api/v1/devices/{}/leases", segment(device)), request)
    }

    /// Returns the newest leases of a device and changes of its limits.
    ///
    /// # Errors
    /// If the server refuses or cannot be reached.
    pub fn list_leases(&self, device: &str) -> Result<LeaseList, ClientError> {
        self.get(&format!("/api/v1/devices/{}/leases", segment(device)), &[])
    }

    /// Releases a lease.
    ///
    /// # Errors
    /// If the server refuses or cannot be reached.
    pub fn release_lease(&self, id: &str) -> Result<Lease, ClientError> {
        self.post(&format!("/api/v1/leases/{}/release", segment(id)), &())
    }

    /// Returns figures on the commands of a device, or of all, that ended in the last hours.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn command_statistics(
        &self,
        device: Option<&str>,
        hours: u32,
    ) -> Result<CommandStatistics, ClientError> {
        let mut pairs = vec![("hours", hours.to_string())];
        push(&mut pairs, "device", device.as_ref());
        self.get("/api/v1/commands/statistics", &pairs)
    }

    /// Changes a site's name and time zone.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn update_site(&self, id: i64, change: &UpdateSite) -> Result<Updated, ClientError> {
        self.patch(&format!("/api/v1/sites/{id}"), change)
    }

    /// Deletes a site without devices.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn delete_site(&self, id: i64) -> Result<(), ClientError> {
        self.delete(&format!("/api/v1/sites/{id}"))
    }

    /// Revokes all keys and claim codes of a device: its messages are rejected until it is enrolled
    /// again.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn revoke_keys(&self, device: &str) -> Result<(), ClientError> {
        self.delete(&format!("/api/v1/devices/{}/keys", segment(device)))
    }

    /// Returns all tokens, without their secrets.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn list_tokens(&self) -> Result<Vec<Token>, ClientError> {
        self.get("/api/v1/tokens", &[])
    }

    /// Creates a token.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn create_token(&self, request: &CreateToken) -> Result<CreatedToken, ClientError> {
        self.post("/api/v1/tokens", request)
    }

    /// Revokes a token and ends its sessions.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn revoke_token(&self, id: i64) -> Result<(), ClientError> {
        self.delete(&format!("/api/v1/tokens/{id}"))
    }

    /// Returns a page of the audit log, newest first.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn list_audit(&self, limit: u32, cursor: Option<&str>) -> Result<AuditList, ClientError> {
        let mut pairs = vec![("limit", limit.to_string())];
        push(&mut pairs, "cursor", cursor.map(str::to_owned).as_ref());
        self.get("/api/v1/audit", &pairs)
    }

    /// Returns the open browser sessions.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn list_sessions(&self) -> Result<Vec<RunningSession>, ClientError> {
        self.get("/api/v1/sessions", &[])
    }

    /// Ends a browser session.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn end_session(&self, id: i64) -> Result<(), ClientError> {
        self.delete(&format!("/api/v1/sessions/{id}"))
    }

    /// Ends all browser sessions.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn end_sessions(&self) -> Result<(), ClientError> {
        self.delete("/api/v1/sessions")
    }

    /// Returns the claim codes that can still be redeemed, without their secrets.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn list_claims(&self) -> Result<Vec<OpenClaim>, ClientError> {
        self.get("/api/v1/claims", &[])
    }

    /// Revokes a claim code, named by its first group.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn void_claim(&self, id: &str) -> Result<(), ClientError> {
        self.delete(&format!("/api/v1/claims/{}", segment(id)))
    }

    /// Returns the history of one inverter of a device, one page of it.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn list_telemetry(
        &self,
        device: &str,
        query: &TelemetryQuery,
    ) -> Result<Telemetry, ClientError> {
        let mut pairs = vec![
            ("resolution", word(&query.resolution)?),
            ("inverter", query.inverter.to_string()),
        ];
        push(&mut pairs, "from", query.from.as_ref());
        push(&mut pairs, "to", query.to.as_ref());
        push(&mut pairs, "cursor", query.cursor.as_ref());
        if !query.points.is_empty() {
            pairs.push(("points", query.points.join(",")));
        }
        self.get(&format!("/api/v1/devices/{}/telemetry", segment(device)), &pairs)
    }

    /// Returns the energy of a device by local day.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn list_energy(
        &self,
        device: &str,
        from: Option<&str>,
        to: Option<&str>,
    ) -> Result<Energy, ClientError> {
        let mut pairs = Vec::new();
        push(&mut pairs, "from", from.as_ref());
        push(&mut pairs, "to", to.as_ref());
        self.get(&format!("/api/v1/devices/{}/energy", segment(device)), &pairs)
    }

    fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&'static str, String)],
    ) -> Result<T, ClientError> {
        let request = self
            .agent
            .get(format!("{}{path}", self.base))
            .query_pairs(query.iter().map(|(name, value)| (*name, value.as_str())))
            .header("authorization", format!("Bearer {}", self.token));
        self.read(request.call())
    }

    fn delete(&self, path: &str) -> Result<(), ClientError> {
        let request = self
            .agent
            .delete(format!("{}{path}", self.base))
            .header("authorization", format!("Bearer {}", self.token));
        self.read::<serde::de::IgnoredAny>(request.call()).map(drop)
    }

    fn patch<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(ClientError::Answer)?;
        let request = self
            .agent
            .patch(format!("{}{path}", self.base))
            .content_type("application/json")
            .header("authorization", format!("Bearer {}", self.token));
        self.read(request.send(&body[..]))
    }

    fn put<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(ClientError::Answer)?;
        let request = self
            .agent
            .put(format!("{}{path}", self.base))
            .content_type("application/json")
            .header("authorization", format!("Bearer {}", self.token));
        self.read(request.send(&body[..]))
    }

    fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(ClientError::Answer)?;
        let request = self
            .agent
            .post(format!("{}{path}", self.base))
            .content_type("application/json")
            .header("authorization", format!("Bearer {}", self.token));
        self.read(request.send(&body[..]))
    }

    fn read<T: DeserializeOwned>(
        &self,
        outcome: Result<Response<Body>, ureq::Error>,
    ) -> Result<T, ClientError> {
        let unreachable =
            |cause| ClientError::Unreachable { url: self.base.clone(), cause: Box::new(cause) };
        let mut response = outcome.map_err(|cause| {
            if self.answers_without_tls() {
                ClientError::NotTls { url: self.base.clone() }
            } else {
                unreachable(cause)
            }
        })?;
        let status = response.status();
        let body = response
            .body_mut()
            .with_config()
            .limit(ANSWER_BYTES_MAX)
            .read_to_vec()
            .map_err(unreachable)?;
        if status.is_success() {
            // 204 has no body.
            let body = if body.is_empty() { b"null" } else { &body[..] };
            return serde_json::from_slice(body).map_err(ClientError::Answer);
        }
        Err(refusal(status, &body))
    }
}

impl Client {
    /// Whether a server that failed to answer with TLS answers without. The token is not sent.
    fn answers_without_tls(&self) -> bool {
        let Some(rest) = self.base.strip_prefix("https://") else { return false };
        let authority = rest.split('/').next().unwrap_or(rest);
        // Without a port in the address, http:// would be another port.
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
        has_port && self.agent.get(format!("http://{authority}/health")).call().is_ok()
    }
}

/// What sends the requests: without redirects, which would send a token elsewhere, and without a
/// proxy from the environment, which only `main` reads.
fn agent() -> Agent {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .timeout_global(Some(REQUEST_TIMEOUT))
        .user_agent(concat!("ecowatt/", env!("CARGO_PKG_VERSION")))
        .build();
    config.new_agent()
}

fn refusal(status: StatusCode, body: &[u8]) -> ClientError {
    let status = status.as_u16();
    match serde_json::from_slice::<ErrorAnswer>(body) {
        Ok(ErrorAnswer { error }) => ClientError::Refused {
            status,
            code: error.code,
            message: error.message,
            request_id: error.request_id,
        },
        Err(_) => ClientError::Foreign { status },
    }
}

fn push<T: ToString>(
    pairs: &mut Vec<(&'static str, String)>,
    name: &'static str,
    value: Option<&T>,
) {
    pairs.extend(value.map(|value| (name, value.to_string())));
}

/// Returns a value that is one word in JSON in the form that queries have.
fn word(value: &impl Serialize) -> Result<String, ClientError> {
    match serde_json::to_value(value).map_err(ClientError::Answer)? {
        serde_json::Value::String(word) => Ok(word),
        other => Ok(other.to_string()),
    }
}

/// The address of a template, or of what belongs to it.
fn template(name: &str, rest: &str) -> String {
    format!("/api/v1/config/templates/{}{rest}", segment(name))
}

/// Encodes text as one segment of a path (RFC 3986, section 3.3): only unreserved characters stay.
fn segment(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_is_checked_before_a_token_is_sent() {
        for good in ["http://127.0.0.1:8080", "https://eco.example/", " http://[::1]:1 "] {
            assert!(Client::new(good, "t").is_ok(), "{good}");
        }
        for bad in ["", "127.0.0.1:8080", "ftp://x", "http://", "http://x/#token=1"] {
            assert!(matches!(Client::new(bad, "t"), Err(ClientError::Url(_))), "{bad}");
        }
    }

    #[test]
    fn device_id_stays_one_segment() {
        assert_eq!(segment("dev-42"), "dev-42");
        assert_eq!(segment("../x?y"), "%2E%2E%2Fx%3Fy");
    }

    #[test]
    fn client_does_not_print_its_token() {
        let client = Client::new("http://h", "ew_1_secret").unwrap();
        assert!(!format!("{client:?}").contains("secret"));
    }
}

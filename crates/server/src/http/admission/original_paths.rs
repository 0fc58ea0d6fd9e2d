//! The paths of the earlier EcoWatt: which are its devices' and which its operators'.

use axum::http::Method;

/// Who calls a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Caller {
    /// A device, which has no token.
    Device,
    /// An operator or a program of one.
    Operator,
}

/// First parts of its paths. `/health` is the server's own.
const FIRST: [&str; 20] = [
    "aggregated",
    "aggregation",
    "changes",
    "command",
    "commands",
    "compression",
    "config",
    "device_settings",
    "devices",
    "diagnostics",
    "fault",
    "integration",
    "latest",
    "ota",
    "ping",
    "power",
    "process",
    "security",
    "stats",
    "status",
];

/// What devices call; `*` stands for any one part.
const OF_DEVICES: [(Method, &str); 27] = [
    (Method::POST, "aggregated/*"),
    (Method::GET, "changes"),
    (Method::POST, "changes"),
    (Method::POST, "command/get"),
    (Method::POST, "command/poll"),
    (Method::POST, "command/report"),
    (Method::POST, "command/result"),
    (Method::GET, "commands/*/poll"),
    (Method::POST, "commands/*/result"),
    (Method::GET, "config"),
    (Method::GET, "config/*"),
    (Method::POST, "config/*/acknowledge"),
    (Method::POST, "config/*/current"),
    (Method::POST, "devices"),
    (Method::POST, "diagnostics/*"),
    (Method::POST, "fault/recovery"),
    (Method::POST, "integration/test/sync"),
    (Method::POST, "ota/check"),
    (Method::GET, "ota/status"),
    (Method::GET, "ota/check/*"),
    (Method::POST, "ota/initiate/*"),
    (Method::GET, "ota/chunk/*"),
    (Method::POST, "ota/*/progress"),
    (Method::POST, "ota/*/complete"),
    (Method::GET, "ping"),
    (Method::POST, "power/energy/*"),
    (Method::POST, "process"),
];

/// Returns who calls a path, if it is one of the original's.
pub(super) fn caller(method: &Method, path: &str) -> Option<Caller> {
    let path = path.strip_prefix('/')?;
    let first = path.split('/').next()?;
    // Below it are pages of our own.
    let is_page = path.starts_with("devices/");
    if is_page || !FIRST.contains(&first) {
        return None;
    }
    let is_of_devices =
        OF_DEVICES.iter().any(|(of, pattern)| of == method && matches(pattern, path));
    Some(if is_of_devices { Caller::Device } else { Caller::Operator })
}

fn matches(pattern: &str, path: &str) -> bool {
    let (mut pattern, mut path) = (pattern.split('/'), path.split('/'));
    loop {
        match (pattern.next(), path.next()) {
            (None, None) => return true,
            (Some("*"), Some(part)) if !part.is_empty() => {}
            (Some(wanted), Some(part)) if wanted == part => {}
            _ => return false,
        }
    }
}

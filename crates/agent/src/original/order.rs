//! Commands of the original's server.

use serde_json::Value;

/// The register that may be written, and its largest value: the limit of power in percent. The
/// original's devices write any register.
const LIMIT_REGISTER: u16 = 8;
const PERCENT_MAX: u16 = 100;

/// What its devices take for the power at 100 %.
const RATED_W: u64 = 10_000;

/// A command to execute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Order {
    /// Repeated in the result.
    pub(super) id: String,
    /// The percentage to write, or why nothing is written.
    pub(super) percent: Result<u16, String>,
}

/// Longest id that is repeated: a UUID has 36 characters.
const ID_MAX: usize = 128;

/// Most commands of an answer that are executed; the server sends what waits, all at once.
pub(super) const ORDERS_MAX: usize = 32;

/// Reads the answer to a poll.
pub(super) fn orders(answer: &Value) -> Vec<Order> {
    let items = answer["commands"].as_array().map(Vec::as_slice).unwrap_or_default();
    items.iter().take(ORDERS_MAX).filter_map(order).collect()
}

fn order(item: &Value) -> Option<Order> {
    let id = item["command_id"].as_str().filter(|id| !id.is_empty() && id.len() <= ID_MAX)?;
    Some(Order { id: id.to_owned(), percent: percent(&item["command"]) })
}

fn percent(command: &Value) -> Result<u16, String> {
    let value = command["value"].as_u64();
    let given = || value.ok_or_else(|| "value must be a whole number".to_owned());
    let clamped = |percent: u64| u16::try_from(percent).unwrap_or(u16::MAX).min(PERCENT_MAX);
    match command["action"].as_str() {
        Some("set_power") => Ok(clamped(given()?.saturating_mul(100) / RATED_W)),
        Some("set_power_percentage") => Ok(clamped(given()?)),
        Some("write_register") => {
            let value = given()?;
            if address(command) != Some(LIMIT_REGISTER) {
                return Err(format!("only register {LIMIT_REGISTER} may be written"));
            }
            let percent = u16::try_from(value).ok().filter(|value| *value <= PERCENT_MAX);
            percent.ok_or_else(|| format!("register {LIMIT_REGISTER} takes 0 to {PERCENT_MAX}"))
        }
        Some(_) => Err("this device does not know the action".to_owned()),
        None => Err("the command has no action".to_owned()),
    }
}

fn address(command: &Value) -> Option<u16> {
    if let Some(address) = command["register_address"].as_u64() {
        return u16::try_from(address).ok();
    }
    let target = &command["target_register"];
    match target.as_str() {
        Some("export_power" | "export_power_percent") => Some(LIMIT_REGISTER),
        Some(text) => text.parse().ok(),
        None => target.as_u64().and_then(|address| u16::try_from(address).ok()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn percent_of(command: Value) -> Result<u16, String> {
        let answer = json!({ "commands": [{ "command_id": "c", "command": command }], "count": 1 });
        orders(&answer).remove(0).percent
    }

    #[test]
    fn commands_mean_what_they_mean_to_the_originals_devices() {
        for (command, percent) in [
            (json!({ "action": "set_power", "value": 5_000 }), 50),
            (json!({ "action": "set_power", "value": 5_099 }), 50),
            (json!({ "action": "set_power", "value": 99_999 }), 100),
            (json!({ "action": "set_power_percentage", "value": 0 }), 0),
            (json!({ "action": "set_power_percentage", "value": 300 }), 100),
            (json!({ "action": "write_register", "register_address": 8, "value": 7 }), 7),
            (json!({ "action": "write_register", "target_register": "8", "value": 7 }), 7),
            (
                json!({ "action": "write_register", "target_register": "export_power", "value": 1 }),
                1,
            ),
        ] {
            assert_eq!(percent_of(command.clone()), Ok(percent), "{command}");
        }
        for command in [
            json!({ "action": "write_register", "register_address": 0, "value": 7 }),
            json!({ "action": "write_register", "register_address": 8, "value": 101 }),
            json!({ "action": "write_register", "value": 7 }),
            json!({ "action": "set_power", "value": "full" }),
            json!({ "action": "set_power", "value": -1 }),
            json!({ "action": "restart" }),
            json!({}),
        ] {
            assert!(percent_of(command.clone()).is_err(), "{command}");
        }
        assert!(orders(&json!({ "commands": [{ "command": {} }], "count": 1 })).is_empty());
        assert!(orders(&json!([])).is_empty());
    }
}

//! Commands in the original's JSON, of its present and earlier generations.

use serde_json::{Map, Value, json};

use crate::command::OriginalAction;

/// Reads a command: `{"command": {"action", "target_register", "value"}}`, or
/// `{"command_type", "parameters"}` of the earlier generations.
pub(super) fn action(body: &Map<String, Value>) -> Result<OriginalAction, String> {
    let (action, fields) = match (body.get("command"), body.get("command_type")) {
        (Some(Value::Object(command)), _) => (command.get("action"), command),
        (Some(_), None) => {
            return Err("command must be an object with action, target_register, and value".into());
        }
        (_, Some(kind)) => {
            let parameters = body.get("parameters").and_then(Value::as_object);
            (Some(kind), parameters.ok_or("parameters must be an object")?)
        }
        (None, None) => return Err("command field is required".into()),
    };
    let action = action.and_then(Value::as_str).ok_or("command.action is required")?;
    match action {
        "set_power" => match first(fields, &["value", "power_value", "power"]) {
            Some(Value::String(text)) if text.ends_with('%') => percent(&text[..text.len() - 1]),
            value => Ok(OriginalAction::SetPower(whole(value, "value")?)),
        },
        "set_power_percentage" => {
            let value = first(fields, &["value", "percentage"]);
            let value: u32 = whole(value, "value")?;
            let value = u8::try_from(value).ok().filter(|value| *value <= 100);
            Ok(OriginalAction::SetPowerPercentage(value.ok_or("value is 0 to 100")?))
        }
        "write_register" => {
            let target = first(fields, &["target_register", "register_address", "register"]);
            let value = whole(first(fields, &["value"]), "value")?;
            Ok(OriginalAction::WriteRegister { address: register(target)?, value })
        }
        other => Err(format!("a device of the earlier EcoWatt has no action `{other}`")),
    }
}

fn first<'a>(fields: &'a Map<String, Value>, names: &[&str]) -> Option<&'a Value> {
    names.iter().find_map(|name| fields.get(*name))
}

/// Reads a whole number; the firmware reads a text or a fraction as 0.
fn whole<N: TryFrom<u64>>(value: Option<&Value>, name: &str) -> Result<N, String> {
    let number = value.and_then(Value::as_u64).and_then(|number| number.try_into().ok());
    number.ok_or_else(|| format!("{name} is a whole number within the register's bounds"))
}

fn percent(text: &str) -> Result<OriginalAction, String> {
    let value = text.parse().ok().filter(|value| *value <= 100);
    Ok(OriginalAction::SetPowerPercentage(value.ok_or("a percentage is 0 to 100")?))
}

fn register(target: Option<&Value>) -> Result<u16, String> {
    let address = match target {
        Some(Value::String(name)) => match name.as_str() {
            "export_power" | "export_power_percent" => Some(8),
            "status_flag" => Some(0),
            digits => digits.parse().ok(),
        },
        Some(value) => value.as_u64().and_then(|value| value.try_into().ok()),
        None => None,
    };
    address.ok_or_else(|| {
        let target = target.map(ToString::to_string).unwrap_or_default();
        format!("Invalid target_register: {target:.40}")
    })
}

/// Writes what a device is to do, in as few bytes as its parser has room for.
pub(super) fn item(action: OriginalAction) -> Value {
    match action {
        OriginalAction::SetPower(watts) => json!({ "action": "set_power", "value": watts }),
        OriginalAction::SetPowerPercentage(percent) => {
            json!({ "action": "set_power_percentage", "value": percent })
        }
        OriginalAction::WriteRegister { address, value } => json!({
            "action": "write_register",
            "target_register": address.to_string(),
            "value": value,
            "register_address": address,
        }),
    }
}

/// Writes the same as the earlier generations do: its type and parameters.
pub(super) fn parameters(action: OriginalAction) -> (&'static str, Value) {
    match action {
        OriginalAction::SetPower(watts) => ("set_power", json!({ "power_value": watts })),
        OriginalAction::SetPowerPercentage(percent) => {
            ("set_power_percentage", json!({ "percentage": percent }))
        }
        OriginalAction::WriteRegister { address, value } => {
            ("write_register", json!({ "register_address": address, "value": value }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<OriginalAction, String> {
        action(serde_json::from_str::<Value>(text).unwrap().as_object().unwrap())
    }

    #[test]
    fn both_generations_are_read() {
        use OriginalAction::{SetPower, SetPowerPercentage, WriteRegister};
        for (text, expected) in [
            (r#"{"command":{"action":"set_power","value":3000}}"#, SetPower(3000)),
            (r#"{"command_type":"set_power","parameters":{"power_value":5000}}"#, SetPower(5000)),
            (
                r#"{"command_type":"set_power","parameters":{"power":"75%"}}"#,
                SetPowerPercentage(75),
            ),
            (
                r#"{"command_type":"set_power_percentage","parameters":{"percentage":50}}"#,
                SetPowerPercentage(50),
            ),
            (
                r#"{"command":{"action":"write_register","target_register":"export_power","value":7}}"#,
                WriteRegister { address: 8, value: 7 },
            ),
            (
                r#"{"command_type":"write_register","parameters":{"register":3,"value":9}}"#,
                WriteRegister { address: 3, value: 9 },
            ),
        ] {
            assert_eq!(read(text), Ok(expected), "{text}");
        }
        for bad in [
            "{}",
            r#"{"command":"set_power"}"#,
            r#"{"command":{"value":1}}"#,
            r#"{"command":{"action":"set_power","value":"1"}}"#,
            r#"{"command":{"action":"set_power","value":1.5}}"#,
            r#"{"command":{"action":"set_power_percentage","value":101}}"#,
            r#"{"command":{"action":"write_register","target_register":"power","value":1}}"#,
            r#"{"command":{"action":"write_register","target_register":1,"value":70000}}"#,
            r#"{"command":{"action":"update_config"}}"#,
            r#"{"command_type":"set_power"}"#,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}

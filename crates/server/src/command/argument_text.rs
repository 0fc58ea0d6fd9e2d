//! How arguments of commands are written: `watts=3000`, checked against the list of all kinds.
//!
//! The store keeps them as one text, `address=40000 count=2 table=holding`, each value as it was
//! checked.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use ecowatt_model::command::{Argument, ArgumentKind, COMMANDS, CommandKind};
use ecowatt_profile::{Scaled, names};
use ecowatt_wire::POINT_MAX;

/// Why a text is not a kind of command or its argument.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CommandTextError {
    #[error("there is no command `{0}`; the commands are {names}", names = all_kinds())]
    Kind(String),
    #[error("`{kind}` has no argument `{name}`; it takes {taken}", taken = taken(.kind))]
    Argument { kind: &'static str, name: String },
    #[error("there is no point `{0}`; a point's name is one such as control.p_limit")]
    Point(String),
    #[error("`{kind}` needs {name}, {allowed}")]
    Missing { kind: &'static str, name: &'static str, allowed: String },
    #[error("`{name}` is {allowed}, not `{value}`")]
    Value { name: String, allowed: String, value: String },
    #[error("`{0}` sets one point at a time")]
    OnePoint(&'static str),
}

fn all_kinds() -> String {
    COMMANDS.map(|kind| kind.name).join(", ")
}

fn taken(kind: &str) -> String {
    let arguments = CommandKind::named(kind).map_or(&[][..], |kind| kind.arguments);
    let names: Vec<_> = arguments.iter().map(|argument| argument.name).collect();
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

/// Finds a kind by its name.
pub(super) fn kind(name: &str) -> Result<&'static CommandKind, CommandTextError> {
    CommandKind::named(name).ok_or_else(|| CommandTextError::Kind(name.into()))
}

/// Checks arguments and writes them as one text, with the defaults of those that are not given.
pub(super) fn written(
    kind: &'static CommandKind,
    given: &BTreeMap<String, String>,
) -> Result<String, CommandTextError> {
    let has_point = kind.arguments.iter().any(|argument| argument.kind == ArgumentKind::Point);
    let mut text = String::new();
    let mut add = |name: &str, value: &str| {
        let gap = if text.is_empty() { "" } else { " " };
        // Writing into a string cannot fail.
        let _ = write!(text, "{gap}{name}={value}");
    };
    let is_known = |name: &str| kind.arguments.iter().any(|argument| argument.name == name);
    for (name, value) in given {
        match kind.arguments.iter().find(|argument| argument.kind == ArgumentKind::Point) {
            Some(point) if name.len() <= POINT_MAX && names::is_allowed(name) => {
                add(name, &checked(point, name, value)?);
            }
            _ if !has_point && is_known(name) => {}
            Some(_) if name.contains('.') => return Err(CommandTextError::Point(name.clone())),
            _ => {
                return Err(CommandTextError::Argument { kind: kind.name, name: name.clone() });
            }
        }
    }
    if has_point && given.len() > 1 {
        return Err(CommandTextError::OnePoint(kind.name));
    }
    for argument in kind.arguments {
        match given.get(argument.name).map(String::as_str).or(argument.default) {
            Some(value) if !has_point => {
                add(argument.name, &checked(argument, argument.name, value)?)
            }
            _ if has_point && !given.is_empty() => {}
            _ => {
                let (kind, name) = (kind.name, argument.name);
                return Err(CommandTextError::Missing { kind, name, allowed: allowed(argument) });
            }
        }
    }
    Ok(text)
}

/// Checks a value and returns its plain spelling.
fn checked(argument: &Argument, name: &str, value: &str) -> Result<String, CommandTextError> {
    let plain = match argument.kind {
        ArgumentKind::Number { decimals, .. } => units(argument, value).map(|units| {
            let exponent = 0i8.saturating_sub_unsigned(decimals);
            shortest(Scaled { mantissa: i64::from(units), exponent }).to_string()
        }),
        ArgumentKind::OneOf(choices) => {
            choices.iter().find(|choice| **choice == value).map(|choice| (*choice).into())
        }
        ArgumentKind::Point => value.parse().ok().map(|value: Scaled| value.to_string()),
    };
    plain.ok_or_else(|| CommandTextError::Value {
        name: name.into(),
        allowed: allowed(argument),
        value: value.into(),
    })
}

/// Drops zeros after the decimal point.
fn shortest(mut value: Scaled) -> Scaled {
    while value.exponent < 0 {
        let Some(mantissa) = value.rescale(value.exponent + 1) else { break };
        value = Scaled { mantissa, exponent: value.exponent + 1 };
    }
    value
}

/// Parses a number in units of its last decimal; `None` if it is not allowed.
pub(crate) fn units(argument: &Argument, text: &str) -> Option<u32> {
    let ArgumentKind::Number { min, max, decimals } = argument.kind else { return None };
    let value: Scaled = text.parse().ok()?;
    let units = value.rescale(0i8.saturating_sub_unsigned(decimals))?;
    u32::try_from(units).ok().filter(|units| (min..=max).contains(units))
}

/// Returns the arguments of a text that [`written`] made.
pub(crate) fn pairs(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split_whitespace().filter_map(|pair| pair.split_once('='))
}

/// Returns a bound of a number, which is in units of its last decimal.
pub(crate) fn bound(units: u32, decimals: u8) -> f64 {
    f64::from(units) / 10f64.powi(i32::from(decimals))
}

/// Describes the allowed values.
pub(super) fn allowed(argument: &Argument) -> String {
    let unit = argument.unit.symbol();
    let gap = if unit.is_empty() { "" } else { " " };
    match argument.kind {
        ArgumentKind::Number { min, max, decimals } => {
            let (min, max) = (bound(min, decimals), bound(max, decimals));
            let kind = if decimals == 0 { "whole number" } else { "number" };
            format!("a {kind} from {min} to {max}{gap}{unit}")
        }
        ArgumentKind::OneOf(choices) => format!("one of {}", choices.join(", ")),
        ArgumentKind::Point => "a point's name and its value, such as control.p_limit=50".into(),
    }
}

#[cfg(test)]
mod tests {
    use ecowatt_model::command::CommandScope;

    use super::*;

    fn check(kind_name: &str, given: &[(&str, &str)]) -> Result<String, CommandTextError> {
        let given = given.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        written(kind(kind_name)?, &given.collect())
    }

    #[test]
    fn arguments_are_written_as_they_were_checked() {
        for (kind, given, text) in [
            ("set_power", &[("watts", "3000")][..], "watts=3000"),
            ("set_power", &[("watts", "0")], "watts=0"),
            ("set_power_percentage", &[("percent", "50.50")], "percent=50.5"),
            ("set_power_percentage", &[("percent", "100")], "percent=100"),
            ("set_power_percentage", &[("percent", "0.1")], "percent=0.1"),
            ("read_register", &[("address", "40000")], "address=40000 count=1 table=holding"),
            (
                "read_register",
                &[("table", "input"), ("count", "30"), ("address", "65535")],
                "address=65535 count=30 table=input",
            ),
            ("write_register", &[("value", "7"), ("address", "3")], "address=3 value=7"),
            ("write", &[("control.p_limit", "-12.5")], "control.p_limit=-12.5"),
            ("reboot", &[], ""),
        ] {
            assert_eq!(check(kind, given).as_deref(), Ok(text));
            let kept: Vec<_> = pairs(text).collect();
            assert!(given.iter().all(|(name, _)| kept.iter().any(|(kept, _)| kept == name)));
        }
    }

    #[test]
    fn other_arguments_are_refused_with_what_is_allowed() {
        for (kind, given, message) in [
            ("stop", &[][..], "there is no command `stop`; the commands are set_power, "),
            ("set_power", &[], "`set_power` needs watts, a whole number from 0 to 10000000 W"),
            (
                "set_power",
                &[("watts", "-1")],
                "`watts` is a whole number from 0 to 10000000 W, not",
            ),
            ("set_power", &[("watts", "0.5")], "`watts` is a whole number"),
            ("set_power", &[("watts", "10000001")], "`watts` is a whole number"),
            (
                "set_power",
                &[("percent", "5")],
                "`set_power` has no argument `percent`; it takes watts",
            ),
            (
                "set_power_percentage",
                &[("percent", "100.1")],
                "`percent` is a number from 0 to 100 %",
            ),
            (
                "set_power_percentage",
                &[("percent", "1.05")],
                "`percent` is a number from 0 to 100 %",
            ),
            (
                "read_register",
                &[("address", "1"), ("count", "31")],
                "`count` is a whole number from 1",
            ),
            (
                "read_register",
                &[("address", "1"), ("table", "coil")],
                "`table` is one of holding, inp",
            ),
            ("write_register", &[("address", "1")], "`write_register` needs value, "),
            ("write", &[], "`write` needs POINT, a point's name and its value"),
            ("write", &[("POINT", "1")], "`write` has no argument `POINT`"),
            ("write", &[("control.nope", "1")], "there is no point `control.nope`; a point's name"),
            ("write", &[("control.p_limit", "on")], "`control.p_limit` is a point's name and its"),
            ("write", &[("x.a", "1"), ("x.b", "1")], "`write` sets one point at a time"),
            ("reboot", &[("now", "1")], "`reboot` has no argument `now`; it takes none"),
        ] {
            let error = check(kind, given).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
        let long = format!("x.{}", "a".repeat(POINT_MAX));
        assert!(check("write", &[(&long, "1")]).is_err());
    }

    #[test]
    fn page_lists_every_kind_as_it_is() {
        let page = include_str!("../../../../docs/commands.md");
        let listed: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
        let argument = |argument: &Argument| {
            let default = argument.default.map(|value| format!(" (default: {value})"));
            let default = default.unwrap_or_default();
            match argument.kind {
                ArgumentKind::Point => allowed(argument),
                _ => format!("`{}`: {}{default}", argument.name, allowed(argument)),
            }
        };
        let row = |kind: &CommandKind| {
            let scope = match kind.scope {
                CommandScope::Device => "the device",
                CommandScope::Inverter => "an inverter",
                CommandScope::Inverters => "an inverter, or all",
            };
            let arguments: Vec<_> = kind.arguments.iter().map(argument).collect();
            let arguments = if arguments.is_empty() { "–".into() } else { arguments.join("; ") };
            format!("| `{}` | {scope} | {arguments} | {} |", kind.name, kind.summary)
        };
        let kinds: Vec<_> = COMMANDS.iter().map(row).collect();
        assert_eq!(listed, kinds);
    }
}

//! The commands that a device can be sent.
//!
//! [`COMMANDS`] is the only list of them: the server checks arguments against it, and the API
//! document, the pages, the command line and `docs/commands.md` take names, units and bounds from
//! it.

use crate::Unit;

/// A kind of command and its arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommandKind {
    /// Its number on the wire; never used again for another kind.
    pub code: u8,
    /// Its name in the API, on the command line and on pages.
    pub name: &'static str,
    pub scope: CommandScope,
    pub arguments: &'static [Argument],
    /// Whether it goes past the checks of the inverter's profile, which needs a right of its own.
    pub needs_expert: bool,
    /// What it does, in one sentence.
    pub summary: &'static str,
}

/// What a command is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandScope {
    /// The device itself.
    Device,
    /// One inverter.
    Inverter,
    /// One inverter, or all of them.
    Inverters,
}

/// An argument of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Argument {
    /// Its name in requests; for [`ArgumentKind::Point`] the point's name stands there.
    pub name: &'static str,
    pub kind: ArgumentKind,
    pub unit: Unit,
    /// The value if it is not given; without one it must be given.
    pub default: Option<&'static str>,
}

/// What the value of an argument means, and the values that are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArgumentKind {
    /// A number with up to so many decimals. The bounds are in units of its last decimal.
    Number { min: u32, max: u32, decimals: u8 },
    /// A position in this list.
    OneOf(&'static [&'static str]),
    /// The value of a point in the point's unit; the inverter's profile knows its bounds.
    Point,
}

impl CommandKind {
    /// Finds a kind by its number on the wire.
    #[must_use]
    pub fn coded(code: u8) -> Option<&'static Self> {
        COMMANDS.iter().find(|kind| kind.code == code)
    }

    /// Finds a kind by its name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        COMMANDS.iter().find(|kind| kind.name == name)
    }
}

/// Most registers that one command reads: what fits a result on the wire.
pub const READ_REGISTERS_MAX: u32 = 30;

/// Most watts of a limit: more than any one inverter has.
const WATTS_MAX: u32 = 10_000_000;

const fn number(name: &'static str, min: u32, max: u32) -> Argument {
    let kind = ArgumentKind::Number { min, max, decimals: 0 };
    Argument { name, kind, unit: Unit::None, default: None }
}

/// A register's address as it stands in a request on the bus, from 0.
const ADDRESS: Argument = number("address", 0, 0xffff);

const fn plain(code: u8, name: &'static str, summary: &'static str) -> CommandKind {
    let scope = CommandScope::Device;
    CommandKind { code, name, scope, arguments: &[], needs_expert: false, summary }
}

/// All kinds of commands, in the order in which pages show them.
pub const COMMANDS: [CommandKind; 11] = [
    CommandKind {
        code: 5,
        name: "set_power",
        scope: CommandScope::Inverter,
        arguments: &[Argument { unit: Unit::Watt, ..number("watts", 0, WATTS_MAX) }],
        needs_expert: false,
        summary: "Limits the active power of an inverter.",
    },
    CommandKind {
        code: 4,
        name: "set_power_percentage",
        scope: CommandScope::Inverter,
        arguments: &[Argument {
            kind: ArgumentKind::Number { min: 0, max: 1_000, decimals: 1 },
            unit: Unit::Percent,
            ..number("percent", 0, 0)
        }],
        needs_expert: false,
        summary: "Limits the active power of an inverter to a part of its rated power.",
    },
    CommandKind {
        code: 1,
        name: "write",
        scope: CommandScope::Inverter,
        arguments: &[Argument { kind: ArgumentKind::Point, ..number("POINT", 0, 0) }],
        needs_expert: false,
        summary: "Sets a point that the inverter's profile allows to be written.",
    },
    CommandKind {
        code: 3,
        name: "read_register",
        scope: CommandScope::Inverter,
        arguments: &[
            ADDRESS,
            Argument { default: Some("1"), ..number("count", 1, READ_REGISTERS_MAX) },
            Argument {
                kind: ArgumentKind::OneOf(&["holding", "input"]),
                default: Some("holding"),
                ..number("table", 0, 0)
            },
        ],
        needs_expert: false,
        summary: "Reads registers of an inverter.",
    },
    CommandKind {
        code: 2,
        name: "write_register",
        scope: CommandScope::Inverter,
        arguments: &[ADDRESS, number("value", 0, 0xffff)],
        needs_expert: true,
        summary: "Writes one holding register of an inverter, whatever its profile says.",
    },
    plain(6, "upload", "Sends all samples now."),
    plain(7, "diagnose", "Sends diagnostics now."),
    CommandKind {
        scope: CommandScope::Inverters,
        ..plain(10, "clear_fault", "Tries inverters and registers again that were given up.")
    },
    plain(8, "restart", "Restarts the device's software."),
    plain(9, "reboot", "Restarts the machine."),
    plain(11, "factory_reset", "Returns to the device's own configuration."),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_names_are_unique_and_found() {
        for (index, kind) in COMMANDS.iter().enumerate() {
            assert_eq!(CommandKind::coded(kind.code), Some(kind));
            assert_eq!(CommandKind::named(kind.name), Some(kind));
            assert!(COMMANDS[..index].iter().all(|other| other.code != kind.code));
        }
        assert_eq!(CommandKind::coded(0), None);
        assert_eq!(CommandKind::named("explode"), None);
    }
}

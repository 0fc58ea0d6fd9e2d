//! Commands in replies and their results in messages, from the store's types to the wire's and back.

use ecowatt_model::command::CommandKind;
use ecowatt_profile::Scaled;
use ecowatt_store::{
    CommandFailure, CommandOrder, CommandOutcome, CommandResult, CommandState, SentCommand, limits,
};
use ecowatt_wire::{self as wire, COMMANDS_MAX, CommandAction};

use crate::command::{pairs, units};

/// A reply has room for every command that a device may have out.
const _: () = assert!(limits::COMMANDS_OUT_MAX <= COMMANDS_MAX);

/// Returns what a device reports of a command.
pub(super) fn result(result: &wire::CommandResult<'_>) -> CommandResult {
    CommandResult {
        id: result.id,
        state: match result.state {
            wire::CommandState::Unknown => CommandState::Unknown,
            wire::CommandState::Accepted => CommandState::Accepted,
            wire::CommandState::Succeeded => CommandState::Succeeded,
            wire::CommandState::Failed => CommandState::Failed,
            wire::CommandState::Expired => CommandState::Expired,
        },
        at: result.at,
        outcome: CommandOutcome {
            failure: CommandFailure(result.failure as u8),
            detail: result.detail,
            words: result.words.to_vec(),
        },
    }
}

/// Returns a command for a reply. One that cannot be read, as it was made by a later version, is not
/// sent, because it must not stop deliveries; time ends it.
pub(super) fn command(sent: &SentCommand) -> Option<wire::Command<'_>> {
    let SentCommand { id, order, not_before, deadline } = sent;
    let Some(wire_order) = wire_order(order) else {
        tracing::error!(kind = order.kind, "stored command is unreadable and is not sent");
        return None;
    };
    Some(wire::Command {
        id: *id,
        source: order.source,
        deadline: *deadline,
        not_before: *not_before,
        order: wire_order,
    })
}

fn wire_order(order: &CommandOrder) -> Option<CommandAction<'_>> {
    let kind = CommandKind::coded(order.kind)?;
    let text = |name: &str| pairs(&order.arguments).find(|(held, _)| *held == name);
    let number = |name: &str| {
        let argument = kind.arguments.iter().find(|argument| argument.name == name)?;
        units(argument, text(name)?.1)
    };
    let short = |name: &str| number(name).and_then(|number| u16::try_from(number).ok());
    Some(match kind.code {
        1 => {
            let (point, value) = pairs(&order.arguments).next()?;
            let Scaled { mantissa, exponent } = value.parse().ok()?;
            CommandAction::Write { point, mantissa, exponent }
        }
        2 => CommandAction::WriteRegister { address: short("address")?, value: short("value")? },
        3 => CommandAction::ReadRegisters {
            // The functions that read them (Modbus Application Protocol 1.1b3, sections 6.3, 6.4).
            function: if text("table")?.1 == "input" { 4 } else { 3 },
            address: short("address")?,
            count: u8::try_from(number("count")?).ok()?,
        },
        4 => CommandAction::LimitPower { permille: short("percent")? },
        5 => CommandAction::LimitPowerWatts { watts: number("watts")? },
        6 => CommandAction::Upload,
        7 => CommandAction::Diagnose,
        8 => CommandAction::Restart,
        9 => CommandAction::Reboot,
        10 => CommandAction::ClearFault,
        11 => CommandAction::FactoryReset,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use ecowatt_model::command::{COMMANDS, READ_REGISTERS_MAX};

    use super::*;

    fn of(kind: u8, arguments: &str) -> CommandOrder {
        CommandOrder { kind, arguments: arguments.into(), source: None }
    }

    #[test]
    fn every_kind_has_its_order_on_the_wire() {
        for (kind, arguments, expected) in [
            (
                1,
                "control.p_limit=-12.5",
                CommandAction::Write { point: "control.p_limit", mantissa: -125, exponent: -1 },
            ),
            (2, "address=3 value=7", CommandAction::WriteRegister { address: 3, value: 7 }),
            (
                3,
                "address=65535 count=30 table=input",
                CommandAction::ReadRegisters { function: 4, address: 0xffff, count: 30 },
            ),
            (
                3,
                "address=1 count=1 table=holding",
                CommandAction::ReadRegisters { function: 3, address: 1, count: 1 },
            ),
            (4, "percent=50.5", CommandAction::LimitPower { permille: 505 }),
            (5, "watts=3000", CommandAction::LimitPowerWatts { watts: 3_000 }),
            (6, "", CommandAction::Upload),
            (7, "", CommandAction::Diagnose),
            (8, "", CommandAction::Restart),
            (9, "", CommandAction::Reboot),
            (10, "", CommandAction::ClearFault),
            (11, "", CommandAction::FactoryReset),
        ] {
            assert_eq!(wire_order(&of(kind, arguments)), Some(expected));
        }
        assert_eq!(COMMANDS.len(), 11, "all of them are above");
        assert_eq!(usize::try_from(READ_REGISTERS_MAX), Ok(wire::REGISTERS_MAX));
    }

    #[test]
    fn unreadable_command_is_not_sent() {
        for order in [of(12, ""), of(5, ""), of(5, "watts=much"), of(1, ""), of(2, "address=3")] {
            assert_eq!(wire_order(&order), None, "{order:?}");
        }
    }
}

//! Commands as the API shows them.

use ecowatt_api::{
    Command, CommandArgument, CommandArgumentKind, CommandFailure, CommandKind, CommandScope,
    CommandState, CommandStatistics, CommandTransition,
};
use ecowatt_model::UnixMs;
use ecowatt_model::command as model;
use ecowatt_store as stored;
use ecowatt_wire as wire;

use crate::command::{bound, pairs};
use crate::http::states::command_state;
use crate::time::rfc3339;

pub(super) fn kind(kind: &model::CommandKind) -> CommandKind {
    CommandKind {
        name: kind.name.into(),
        summary: kind.summary.into(),
        scope: match kind.scope {
            model::CommandScope::Device => CommandScope::Device,
            model::CommandScope::Inverter => CommandScope::Inverter,
            model::CommandScope::Inverters => CommandScope::Inverters,
        },
        arguments: kind.arguments.iter().map(argument).collect(),
        needs_expert: kind.needs_expert,
    }
}

fn argument(argument: &model::Argument) -> CommandArgument {
    let (kind, bounds, choices) = match argument.kind {
        model::ArgumentKind::Number { min, max, decimals } => {
            (CommandArgumentKind::Number, Some((min, max, decimals)), &[][..])
        }
        model::ArgumentKind::OneOf(choices) => (CommandArgumentKind::OneOf, None, choices),
        model::ArgumentKind::Point => (CommandArgumentKind::Point, None, &[][..]),
    };
    CommandArgument {
        name: argument.name.into(),
        kind,
        unit: bounds.map(|_| argument.unit.symbol().into()),
        min: bounds.map(|(min, _, decimals)| bound(min, decimals)),
        max: bounds.map(|(_, max, decimals)| bound(max, decimals)),
        decimals: bounds.map_or(0, |(_, _, decimals)| decimals),
        choices: choices.iter().map(|choice| (*choice).into()).collect(),
        default: argument.default.map(Into::into),
    }
}

pub(super) fn command(found: &stored::Command) -> Command {
    let stored::Command { number, by, new, state, since, outcome } = found;
    let kind = model::CommandKind::coded(new.order.kind);
    let words = outcome.words.chunks_exact(2).map(|word| u16::from_be_bytes([word[0], word[1]]));
    let failure = failure(*state, outcome.failure);
    Command {
        id: number.to_string(),
        device: new.device.to_string(),
        // A command of a later version has its number alone.
        kind: kind.map_or_else(|| new.order.kind.to_string(), |kind| kind.name.into()),
        inverter: new.order.source.map(|source| source.0),
        arguments: pairs(&new.order.arguments).map(|(k, v)| (k.into(), v.into())).collect(),
        priority: new.priority,
        state: command_state(*state),
        since: rfc3339(*since),
        created: rfc3339(by.at),
        by: by.who.clone(),
        not_before: new.not_before.map(rfc3339),
        deadline: rfc3339(new.deadline),
        failure,
        exception: (failure == Some(CommandFailure::Exception)).then_some(outcome.detail),
        registers: words.collect(),
    }
}

pub(super) fn transition(step: &stored::CommandTransition) -> CommandTransition {
    CommandTransition {
        state: command_state(step.state),
        at: rfc3339(step.by.at),
        by: step.by.who.clone(),
        device_at: step.device_at.map(rfc3339),
        failure: failure(step.state, step.failure),
    }
}

/// Failures by their codes on the wire.
const FAILURES: [(wire::CommandFailure, CommandFailure); 15] = [
    (wire::CommandFailure::Unsupported, CommandFailure::Unsupported),
    (wire::CommandFailure::NoSource, CommandFailure::NoInverter),
    (wire::CommandFailure::NoPoint, CommandFailure::NoPoint),
    (wire::CommandFailure::ReadOnly, CommandFailure::ReadOnly),
    (wire::CommandFailure::OutOfBounds, CommandFailure::OutOfBounds),
    (wire::CommandFailure::NotAllowed, CommandFailure::NotAllowed),
    (wire::CommandFailure::Locked, CommandFailure::Locked),
    (wire::CommandFailure::Worn, CommandFailure::Worn),
    (wire::CommandFailure::NoRatedPower, CommandFailure::NoRatedPower),
    (wire::CommandFailure::NoAnswer, CommandFailure::NoAnswer),
    (wire::CommandFailure::Exception, CommandFailure::Exception),
    (wire::CommandFailure::ReadBack, CommandFailure::ReadBack),
    (wire::CommandFailure::NoTime, CommandFailure::NoTime),
    (wire::CommandFailure::Storage, CommandFailure::Storage),
    (wire::CommandFailure::Leased, CommandFailure::Leased),
];

/// The failure with this code on the wire; `None` for none.
pub(in crate::http) fn failure_on_wire(code: u8) -> Option<CommandFailure> {
    known_failure(code).or((code > 0).then_some(CommandFailure::Other))
}

fn known_failure(code: u8) -> Option<CommandFailure> {
    let known = FAILURES.iter().find(|(on_wire, _)| *on_wire as u8 == code);
    known.map(|(_, failure)| *failure)
}

fn failure(state: stored::CommandState, code: stored::CommandFailure) -> Option<CommandFailure> {
    let known = known_failure(code.0);
    known.or((state == stored::CommandState::Failed).then_some(CommandFailure::Other))
}

pub(super) fn stored_state(state: CommandState) -> stored::CommandState {
    let all = stored::CommandState::ALL;
    // Every state of the API is one of the store's.
    let found = all.into_iter().find(|stored| command_state(*stored) == state);
    found.unwrap_or(stored::CommandState::Unknown)
}

pub(super) fn statistics(from: UnixMs, figures: &stored::CommandFigures) -> CommandStatistics {
    let count = |wanted| {
        let found = figures.states.iter().find(|of| of.state == wanted);
        found.map_or(0, |of| of.commands)
    };
    let succeeded = count(stored::CommandState::Succeeded);
    let (failed, expired) =
        (count(stored::CommandState::Failed), count(stored::CommandState::Expired));
    let unknown = count(stored::CommandState::Unknown);
    let tried = succeeded + failed + expired + unknown;
    CommandStatistics {
        from: rfc3339(from),
        queued: count(stored::CommandState::Queued),
        sent: count(stored::CommandState::Sent),
        accepted: count(stored::CommandState::Accepted),
        succeeded,
        failed,
        expired,
        cancelled: count(stored::CommandState::Cancelled),
        unknown,
        success_rate: ratio(succeeded, tried),
        latency_median_ms: rank(&figures.latencies_ms, 50),
        latency_p99_ms: rank(&figures.latencies_ms, 99),
    }
}

fn ratio(part: u64, whole: u64) -> Option<f64> {
    let (part, whole) = (u32::try_from(part).ok()?, u32::try_from(whole).ok()?);
    (whole > 0).then(|| f64::from(part) / f64::from(whole))
}

/// Returns the smallest value that so many of a hundred do not exceed (the nearest rank).
fn rank(ascending: &[i64], percent: usize) -> Option<i64> {
    let place = (ascending.len() * percent).div_ceil(100);
    ascending.get(place.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rank_is_the_nearest() {
        let hundred: Vec<i64> = (1..=100).collect();
        assert_eq!((rank(&hundred, 50), rank(&hundred, 99)), (Some(50), Some(99)));
        assert_eq!((rank(&[7], 50), rank(&[7], 99)), (Some(7), Some(7)));
        assert_eq!((rank(&[1, 9], 50), rank(&[1, 9], 99)), (Some(1), Some(9)));
        assert_eq!(rank(&[], 50), None);
    }

    #[test]
    fn every_state_and_failure_has_a_name() {
        for state in stored::CommandState::ALL {
            assert_eq!(stored_state(command_state(state)), state);
        }
        let failed = |code| failure(stored::CommandState::Failed, stored::CommandFailure(code));
        assert_eq!(
            [0, 1, 14, 15, 16].map(failed),
            [
                Some(CommandFailure::Other),
                Some(CommandFailure::Unsupported),
                Some(CommandFailure::Storage),
                Some(CommandFailure::Leased),
                Some(CommandFailure::Other),
            ]
        );
        let none = stored::CommandFailure(0);
        assert_eq!(failure(stored::CommandState::Succeeded, none), None);
    }
}

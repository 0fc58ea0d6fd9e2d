//! Compares how commands ended with what their inverter did.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use anyhow::{Context as _, Result};
use ecowatt_api::{Command, CommandState};

use crate::rig::Inverter;

/// What an inverter has done so far for commands.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct RoundEvidence {
    /// Answers to reads of input registers, by address and count, in order.
    pub(crate) answers: BTreeMap<Stretch, Vec<Vec<u16>>>,
    /// Limits that were written.
    pub(crate) writes: u64,
}

/// Address and count of a read.
pub(crate) type Stretch = (u16, u16);

/// Commands by their ends, and broken promises.
#[derive(Debug, Default)]
pub(crate) struct CommandVerdict {
    pub(crate) kills: u32,
    pub(crate) sent: u64,
    pub(crate) succeeded: u64,
    pub(crate) failed: u64,
    pub(crate) expired: u64,
    pub(crate) unknown: u64,
    /// Seen at an inverter.
    pub(crate) executed: u64,
    pub(crate) findings: Vec<String>,
}

impl CommandVerdict {
    pub(crate) fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }

    /// Judges the commands of one device by what its inverter had done before and after them.
    pub(crate) fn judge<'a>(
        &mut self,
        commands: impl Iterator<Item = &'a Command>,
        before: &RoundEvidence,
        after: &RoundEvidence,
    ) {
        for command in commands {
            self.sent += 1;
            self.count(command);
            let seen = match command.kind.as_str() {
                "read_register" => {
                    let stretch = stretch(command);
                    let known = before.answers.get(&stretch).map_or(0, Vec::len);
                    let all = after.answers.get(&stretch).map_or(&[][..], Vec::as_slice);
                    let answers = all.get(known..).unwrap_or_default();
                    let is_shown = answers.contains(&command.registers);
                    if command.state == CommandState::Succeeded && !is_shown {
                        self.find(command, "has registers that the inverter did not answer");
                    }
                    answers.len() as u64
                }
                "set_power_percentage" => after.writes - before.writes,
                _ => continue,
            };
            self.executed += seen;
            if seen > 1 {
                self.find(command, &format!("was executed {seen} times"));
            }
            let is_over = matches!(command.state, CommandState::Expired | CommandState::Cancelled);
            if seen == 0 && command.state == CommandState::Succeeded || seen > 0 && is_over {
                self.find(command, &format!("was executed {seen} times"));
            }
        }
    }

    fn count(&mut self, command: &Command) {
        match command.state {
            CommandState::Succeeded => self.succeeded += 1,
            CommandState::Failed => self.failed += 1,
            CommandState::Expired => self.expired += 1,
            CommandState::Unknown => self.unknown += 1,
            CommandState::Queued
            | CommandState::Sent
            | CommandState::Accepted
            | CommandState::Cancelled => self.find(command, "has not ended"),
        }
    }

    fn find(&mut self, command: &Command, what: &str) {
        let Command { id, device, kind, state, .. } = command;
        self.findings.push(format!("{device}: {id}, {kind}, {state:?}, {what}"));
    }
}

impl fmt::Display for CommandVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kills, sent, succeeded, failed, expired, unknown, executed, findings } = self;
        write!(
            f,
            "kills: {kills}; commands sent {sent}, succeeded {succeeded}, failed {failed}, \
             expired {expired}, unknown {unknown}; executions seen at inverters {executed}; \
             promises broken {}",
            findings.len()
        )
    }
}

fn stretch(command: &Command) -> Stretch {
    let number = |name: &str| command.arguments.get(name).and_then(|text| text.parse().ok());
    (number("address").unwrap_or(0), number("count").unwrap_or(0))
}

/// Returns what an inverter has done for commands: reads by its journal, and writes by its state.
pub(crate) fn evidence(inverter: &Inverter) -> Result<RoundEvidence> {
    let mut evidence = RoundEvidence::default();
    for path in inverter.journals() {
        let text = std::fs::read_to_string(path).context("reading a journal")?;
        for line in text.lines() {
            let entry: serde_json::Value = serde_json::from_str(line).context("in a journal")?;
            if entry["table"] != "input" {
                continue;
            }
            let words: Vec<u16> = serde_json::from_value(entry["words"].clone())?;
            let address: u16 = serde_json::from_value(entry["address"].clone())?;
            let count = u16::try_from(words.len())?;
            evidence.answers.entry((address, count)).or_default().push(words);
        }
    }
    evidence.writes = limit_writes(&inverter.control)?;
    Ok(evidence)
}

/// Asks the inverter's control port how many limits were written.
fn limit_writes(control: &str) -> Result<u64> {
    let mut stream = TcpStream::connect(control).context("reaching an inverter's control port")?;
    write!(stream, "GET /state HTTP/1.1\r\nhost: {control}\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (_, body) = answer.split_once("\r\n\r\n").context("an answer without a body")?;
    let state: serde_json::Value = serde_json::from_str(body).context("reading the state")?;
    state["limit_writes"].as_u64().context("a state without `limit_writes`")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(kind: &str, state: CommandState, registers: &[u16]) -> Command {
        let arguments = [("address", "2"), ("count", "1")];
        Command {
            id: "cmd-1".into(),
            device: "dev-1".into(),
            kind: kind.into(),
            inverter: Some(0),
            arguments: arguments.map(|(name, value)| (name.into(), value.into())).into(),
            priority: 5,
            state,
            since: String::new(),
            created: String::new(),
            by: String::new(),
            not_before: None,
            deadline: String::new(),
            failure: None,
            exception: None,
            registers: registers.to_vec(),
        }
    }

    fn findings(command: &Command, answers: &[&[u16]], writes: u64) -> usize {
        let answers: Vec<_> = answers.iter().map(|words| words.to_vec()).collect();
        let before =
            RoundEvidence { answers: BTreeMap::from([((2, 1), vec![vec![7]])]), writes: 3 };
        let all = [vec![vec![7]], answers].concat();
        let after = RoundEvidence { answers: BTreeMap::from([((2, 1), all)]), writes: 3 + writes };
        let mut verdict = CommandVerdict::default();
        verdict.judge(std::iter::once(command), &before, &after);
        verdict.findings.len()
    }

    #[test]
    fn only_what_was_executed_once_has_succeeded() {
        let read = |state| command("read_register", state, &[9]);
        assert_eq!(findings(&read(CommandState::Succeeded), &[&[9]], 0), 0);
        assert_eq!(findings(&read(CommandState::Unknown), &[&[9]], 0), 0);
        assert_eq!(findings(&read(CommandState::Unknown), &[], 0), 0);
        assert_eq!(findings(&read(CommandState::Succeeded), &[&[8]], 0), 1);
        assert_eq!(findings(&read(CommandState::Succeeded), &[], 0), 2);
        assert_eq!(findings(&read(CommandState::Unknown), &[&[9], &[9]], 0), 1);
        assert_eq!(findings(&read(CommandState::Expired), &[&[9]], 0), 1);
        assert_eq!(findings(&read(CommandState::Sent), &[], 0), 1);
        let write = |state| command("set_power_percentage", state, &[20]);
        assert_eq!(findings(&write(CommandState::Succeeded), &[], 1), 0);
        assert_eq!(findings(&write(CommandState::Succeeded), &[], 0), 1);
        assert_eq!(findings(&write(CommandState::Unknown), &[], 2), 1);
    }
}

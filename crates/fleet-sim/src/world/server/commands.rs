//! The server's part of commands: requests of operators, and the end of those whose time has passed.

use std::collections::BTreeMap;

use ecowatt_model::{DeviceNumber, UnixMs};
use ecowatt_store::{Author, CancelCommandError};

use super::{Server, drive, number};
use crate::judges::orders::Ordered;
use crate::world::commands::CommandAct;

/// Commits that end commands at one look; each ends hundreds.
const COMMITS_MAX: u32 = 100;

impl Server {
    /// Lets the operator request a command, or ends those whose time has passed, as the server's
    /// reconciler does. An error shows only in the operator's answer: the next look is soon.
    pub(super) fn operate_commands(&mut self, now: UnixMs) {
        let shown = UnixMs(now.0 + self.clock_error_ms);
        match self.commands.act(number) {
            CommandAct::Request(index) => {
                let new = self.commands.request(index, shown);
                let answer = self.up.as_ref().map(|up| {
                    let _entered = self.runtime.enter();
                    let by = Author::new("simulation", shown);
                    drive(&up.stepper, up.store.create_command(by, new))
                });
                let made = match &answer {
                    Some(Ok(created)) => created.command.number.0.unsigned_abs(),
                    Some(Err(_)) => u64::MAX,
                    None => 0,
                };
                self.digest.add(made);
                self.commands.answered(now, index, answer);
            }
            CommandAct::Cancel(index, number) => {
                let answer = self.up.as_ref().map(|up| {
                    let _entered = self.runtime.enter();
                    let by = Author::new("simulation", shown);
                    drive(&up.stepper, up.store.cancel_command(by, number))
                });
                let is_done = match answer {
                    Some(Ok(_)) => Some(true),
                    None | Some(Err(CancelCommandError::Store(_))) => None,
                    Some(Err(_)) => Some(false),
                };
                self.digest.add(is_done.map_or(2, u64::from));
                self.commands.cancelled(now, index, is_done);
            }
            CommandAct::End => self.end_commands(shown),
        }
        if self.disk.is_off() && self.up.is_some() {
            self.lose_power(now);
        }
    }

    /// Ends all commands whose time has passed.
    pub(super) fn end_commands(&mut self, shown: UnixMs) {
        let Some(up) = &self.up else { return };
        let _entered = self.runtime.enter();
        for _ in 0..COMMITS_MAX {
            let Ok(ended) = drive(&up.stepper, up.store.end_commands(shown)) else { return };
            self.digest.add(u64::try_from(ended.len()).unwrap_or(0));
            if ended.is_empty() {
                return;
            }
        }
    }

    /// Returns what operators ordered, by device.
    pub(crate) fn take_orders(&mut self) -> BTreeMap<DeviceNumber, Vec<Ordered>> {
        self.commands.take_orders()
    }
}

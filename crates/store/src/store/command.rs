//! Commands to devices.

use ecowatt_model::{DeviceNumber, UnixMs};

use crate::audit::Audited;
use crate::limits::COMMANDS_PER_QUERY_MAX;
use crate::sqlite::command;
use crate::{
    Author, CancelCommandError, Command, CommandFigures, CommandNumber, CommandQuery,
    CommandTransition, CreateCommandError, CreatedCommand, MovedCommand, NewCommand, Store,
    StoreError,
};

/// Commands to devices.
impl Store {
    /// Queues a command, or returns the one that an earlier request of the same key made.
    pub async fn create_command(
        &self,
        by: Author,
        new: NewCommand,
    ) -> Result<CreatedCommand, CreateCommandError> {
        let author = by.clone();
        self.sqlite()
            .change(
                Audited::new(by, "command.create"),
                move |db, _| command::create_command(db, &author, &new),
                |created: &CreatedCommand| created.is_new.then(|| subject(&created.command)),
            )
            .await
    }

    /// Cancels a command that was not sent yet.
    pub async fn cancel_command(
        &self,
        by: Author,
        number: CommandNumber,
    ) -> Result<Command, CancelCommandError> {
        let author = by.clone();
        self.sqlite()
            .change(
                Audited::new(by, "command.cancel"),
                move |db, _| command::cancel_command(db, &author, number),
                |command: &Command| Some(subject(command)),
            )
            .await
    }

    /// Returns a command, also one of a deleted device whose data is being removed.
    pub async fn find_command(&self, number: CommandNumber) -> Result<Option<Command>, StoreError> {
        self.sqlite().look_up(move |db| command::find_command(db, number)).await
    }

    /// Returns the states that a command had, in order.
    pub async fn list_transitions(
        &self,
        command: &Command,
    ) -> Result<Vec<CommandTransition>, StoreError> {
        let (device, number) = (command.new.device, command.number);
        self.sqlite().look_up(move |db| command::list_transitions(db, device, number)).await
    }

    /// Returns commands, newest first, at most [`COMMANDS_PER_QUERY_MAX`].
    pub async fn list_commands(&self, query: CommandQuery) -> Result<Vec<Command>, StoreError> {
        let query = CommandQuery { limit: query.limit.min(COMMANDS_PER_QUERY_MAX), ..query };
        self.sqlite().read(move |db| command::list_commands(db, &query)).await
    }

    /// Ends some of the commands whose time has passed, and returns them; none if there are none.
    pub async fn end_commands(&self, now: UnixMs) -> Result<Vec<MovedCommand>, StoreError> {
        // A look costs less than a commit.
        if !self.sqlite().look_up(move |db| command::has_due(db, now)).await? {
            return Ok(Vec::new());
        }
        self.sqlite().write(move |db| command::end_due(db, now)).await
    }

    /// Returns figures on the commands of one device or of all: those that have not ended, and the
    /// newest [`crate::limits::COMMAND_FIGURES_MAX`] of those that ended since an instant.
    pub async fn command_figures(
        &self,
        device: Option<DeviceNumber>,
        since: UnixMs,
    ) -> Result<CommandFigures, StoreError> {
        self.sqlite().read(move |db| command::figures(db, device, since)).await
    }
}

fn subject(command: &Command) -> String {
    format!("{} of {}", command.number, command.new.device)
}

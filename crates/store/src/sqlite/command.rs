//! Statements on commands.

use ecowatt_model::{CommandId, DeviceNumber, KeyGeneration, SourceNumber, UnixMs};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, Row, params, params_from_iter};

use super::convert::{author, corrupt, count};
use super::device;
use crate::StoreError;
use crate::audit::Author;
use crate::command::{
    CancelCommandError, Command, CommandFailure, CommandFigures, CommandNumber, CommandOrder,
    CommandOutcome, CommandQuery, CommandState, CommandTransition, CreateCommandError,
    CreatedCommand, HeldCommand, Moved, MovedCommand, NewCommand, StateCount, WireName, due,
};
use crate::limits::{
    COMMAND_FIGURES_MAX, COMMAND_GRACE_MS, COMMAND_KEY_CHARS_MAX, COMMANDS_ENDED_PER_COMMIT,
    ENDED_COMMANDS_KEPT, OPEN_COMMANDS_MAX,
};

/// Who ends commands whose time has passed, and sends them.
const SERVER: &str = "server";

const HELD: &str = "id, kind, arguments, source, priority, not_before, deadline, state, wire_id,
     key_generation, guessed";

const COMMAND: &str = "id, kind, arguments, source, priority, not_before, deadline, state, device,
     made, who, request, request_key, since, failure, detail, words";

fn order(row: &Row<'_>) -> rusqlite::Result<CommandOrder> {
    let source = row.get::<_, Option<u8>>("source")?.map(SourceNumber);
    Ok(CommandOrder { kind: row.get("kind")?, arguments: row.get("arguments")?, source })
}

fn state(row: &Row<'_>) -> rusqlite::Result<CommandState> {
    CommandState::from_code(row.get("state")?).ok_or_else(|| corrupt("state of a command"))
}

fn held(row: &Row<'_>) -> rusqlite::Result<HeldCommand> {
    let wire = row.get::<_, Option<u32>>("wire_id")?.map(CommandId);
    let under = row.get::<_, Option<u16>>("key_generation")?.map(KeyGeneration);
    Ok(HeldCommand {
        number: CommandNumber(row.get("id")?),
        order: order(row)?,
        priority: row.get("priority")?,
        not_before: row.get::<_, Option<i64>>("not_before")?.map(UnixMs),
        deadline: UnixMs(row.get("deadline")?),
        state: state(row)?,
        wire: wire.zip(under).map(|(id, under)| WireName { id, under }),
        is_guess: row.get("guessed")?,
    })
}

fn command(row: &Row<'_>) -> rusqlite::Result<Command> {
    Ok(Command {
        number: CommandNumber(row.get("id")?),
        by: Author {
            at: UnixMs(row.get("made")?),
            who: row.get("who")?,
            request: row.get("request")?,
        },
        new: NewCommand {
            device: DeviceNumber(row.get("device")?),
            order: order(row)?,
            priority: row.get("priority")?,
            not_before: row.get::<_, Option<i64>>("not_before")?.map(UnixMs),
            deadline: UnixMs(row.get("deadline")?),
            key: row.get("request_key")?,
        },
        state: state(row)?,
        since: UnixMs(row.get("since")?),
        outcome: CommandOutcome {
            failure: CommandFailure(row.get("failure")?),
            detail: row.get("detail")?,
            words: row.get::<_, Option<Vec<u8>>>("words")?.unwrap_or_default(),
        },
    })
}

/// Returns the commands of a device that have not ended, in the order in which they were made.
pub(super) fn list_open(
    db: &Connection,
    device: DeviceNumber,
) -> Result<Vec<HeldCommand>, StoreError> {
    let sql = format!(
        "SELECT {HELD} FROM command WHERE device = ?1 AND state < 3 ORDER BY id LIMIT {OPEN_COMMANDS_MAX}"
    );
    let mut statement = db.prepare_cached(&sql)?;
    Ok(statement.query_map([device.0], held)?.collect::<Result<_, _>>()?)
}

/// Returns the command that was sent to a device under this number.
pub(super) fn find_named(
    db: &Connection,
    device: DeviceNumber,
    id: CommandId,
) -> Result<Option<HeldCommand>, StoreError> {
    let sql = format!("SELECT {HELD} FROM command WHERE device = ?1 AND wire_id = ?2");
    Ok(db.prepare_cached(&sql)?.query_row(params![device.0, id.0], held).optional()?)
}

/// Returns whether a device has commands that have not ended.
pub(crate) fn has_open(db: &Connection, device: DeviceNumber) -> Result<bool, StoreError> {
    Ok(db
        .prepare_cached("SELECT 1 FROM command WHERE device = ?1 AND state < 3")?
        .exists([device.0])?)
}

/// Returns the number under which a command was sent to a device.
pub(crate) fn find_sent(
    db: &Connection,
    device: DeviceNumber,
    command: CommandNumber,
) -> Result<Option<CommandId>, StoreError> {
    let found: Option<Option<u32>> = db
        .prepare_cached("SELECT wire_id FROM command WHERE id = ?1 AND device = ?2")?
        .query_row(params![command.0, device.0], |row| row.get(0))
        .optional()?;
    Ok(found.flatten().map(CommandId))
}

/// Writes what a device's messages changed, and the last number on the wire.
pub(super) fn write_moves(
    db: &Connection,
    device: DeviceNumber,
    last: CommandId,
    moves: &[Moved],
) -> Result<(), StoreError> {
    for moved in moves {
        write_move(db, device, moved)?;
    }
    if moves.iter().any(|moved| moved.wire.is_some()) {
        db.prepare_cached("UPDATE device SET last_command = ?2 WHERE number = ?1")?
            .execute(params![device.0, last.0])?;
    }
    Ok(())
}

fn write_move(db: &Connection, device: DeviceNumber, moved: &Moved) -> Result<(), StoreError> {
    let Moved { number, state, at, wire, is_guess, reported } = moved;
    let outcome = reported.as_ref().map(|word| word.outcome.clone()).unwrap_or_default();
    let CommandOutcome { failure, detail, words } = outcome;
    db.prepare_cached(
        "UPDATE command SET state = ?2, since = ?3, wire_id = coalesce(?4, wire_id),
             key_generation = coalesce(?5, key_generation), guessed = ?6, failure = ?7,
             detail = ?8, words = ?9
         WHERE id = ?1",
    )?
    .execute(params![
        number.0,
        state.code(),
        at.0,
        wire.map(|wire| wire.id.0),
        wire.map(|wire| wire.under.0),
        is_guess,
        failure.0,
        detail,
        (!words.is_empty()).then_some(words)
    ])?;
    let who = reported.as_ref().map_or_else(|| SERVER.into(), |_| device.to_string());
    let transition = CommandTransition {
        state: *state,
        by: Author::new(who, *at),
        device_at: reported.as_ref().and_then(|word| word.at),
        failure,
        detail,
    };
    note(db, device, *number, &transition)
}

/// Adds a transition to the history of a command.
fn note(
    db: &Connection,
    device: DeviceNumber,
    number: CommandNumber,
    transition: &CommandTransition,
) -> Result<(), StoreError> {
    let CommandTransition { state, by, device_at, failure, detail } = transition;
    let Author { who, request, at } = by;
    db.prepare_cached(
        "INSERT INTO command_transition (device, command, step, state, at, who, request, device_at,
             failure, detail)
         SELECT ?1, ?2, coalesce(max(step), 0) + 1, ?3, ?4, ?5, ?6, ?7, ?8, ?9
         FROM command_transition WHERE device = ?1 AND command = ?2",
    )?
    .execute(params![
        device.0,
        number.0,
        state.code(),
        at.0,
        who,
        request,
        device_at.map(|at| at.0),
        failure.0,
        detail
    ])?;
    Ok(())
}

fn by_operator(state: CommandState, by: &Author) -> CommandTransition {
    let (device_at, failure) = (None, CommandFailure::default());
    CommandTransition { state, by: by.clone(), device_at, failure, detail: 0 }
}

/// Queues a command, unless an earlier request of the same key made it, and removes the oldest ended
/// ones.
pub(crate) fn create_command(
    db: &Connection,
    by: &Author,
    new: &NewCommand,
) -> Result<CreatedCommand, CreateCommandError> {
    let device = new.device;
    if !device::is_there(db, device)? {
        return Err(CreateCommandError::UnknownDevice);
    }
    if let Some(key) = &new.key {
        if key.is_empty() || key.chars().count() > COMMAND_KEY_CHARS_MAX {
            return Err(CreateCommandError::Key);
        }
        if let Some(command) = find_keyed(db, device, key)? {
            if !command.new.is_repeated_in(command.by.at, new, by.at) {
                return Err(CreateCommandError::KeyTaken(command.number));
            }
            return Ok(CreatedCommand { command, is_new: false });
        }
    }
    if new.deadline <= by.at {
        return Err(CreateCommandError::Late);
    }
    let open = db
        .prepare_cached("SELECT count(*) FROM command WHERE device = ?1 AND state < 3")?
        .query_row([device.0], |row| count(row, 0))?;
    if open >= u64::from(OPEN_COMMANDS_MAX) {
        return Err(CreateCommandError::TooMany);
    }
    let number = insert(db, by, new)?;
    note(db, device, number, &by_operator(CommandState::Queued, by))?;
    remove_oldest(db, device)?;
    let command = Command {
        number,
        by: by.clone(),
        new: new.clone(),
        state: CommandState::Queued,
        since: by.at,
        outcome: CommandOutcome::default(),
    };
    Ok(CreatedCommand { command, is_new: true })
}

fn find_keyed(
    db: &Connection,
    device: DeviceNumber,
    key: &str,
) -> Result<Option<Command>, StoreError> {
    let sql = format!("SELECT {COMMAND} FROM command WHERE device = ?1 AND request_key = ?2");
    Ok(db.prepare_cached(&sql)?.query_row(params![device.0, key], command).optional()?)
}

fn insert(db: &Connection, by: &Author, new: &NewCommand) -> rusqlite::Result<CommandNumber> {
    let Author { who, request, at } = by;
    let NewCommand { device, order, priority, not_before, deadline, key } = new;
    db.prepare_cached(
        "INSERT INTO command (device, made, who, request, request_key, kind, arguments, source,
             priority, not_before, deadline, state, since)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, 0, ?2) RETURNING id",
    )?
    .query_row(
        params![
            device.0,
            at.0,
            who,
            request,
            key,
            order.kind,
            order.arguments,
            order.source.map(|source| source.0),
            priority,
            not_before.map(|at| at.0),
            deadline.0
        ],
        |row| row.get(0).map(CommandNumber),
    )
}

fn remove_oldest(db: &Connection, device: DeviceNumber) -> rusqlite::Result<()> {
    // The newest of those that go; ids grow with time.
    let last: Option<i64> = db
        .prepare_cached(
            "SELECT id FROM command WHERE device = ?1 AND state >= 3
             ORDER BY id DESC LIMIT 1 OFFSET ?2",
        )?
        .query_row(params![device.0, ENDED_COMMANDS_KEPT], |row| row.get(0))
        .optional()?;
    let Some(last) = last else { return Ok(()) };
    db.prepare_cached(
        "DELETE FROM command_transition WHERE device = ?1 AND command <= ?2 AND command IN (
             SELECT id FROM command WHERE device = ?1 AND id <= ?2 AND state >= 3)",
    )?
    .execute(params![device.0, last])?;
    db.prepare_cached("DELETE FROM command WHERE device = ?1 AND id <= ?2 AND state >= 3")?
        .execute(params![device.0, last])?;
    Ok(())
}

/// Cancels a command that was not sent yet.
pub(crate) fn cancel_command(
    db: &Connection,
    by: &Author,
    number: CommandNumber,
) -> Result<Command, CancelCommandError> {
    let mut command = find_command(db, number)?.ok_or(CancelCommandError::Unknown)?;
    match command.state {
        CommandState::Queued => {}
        CommandState::Sent | CommandState::Accepted => return Err(CancelCommandError::Sent),
        _ => return Err(CancelCommandError::Ended),
    }
    (command.state, command.since) = (CommandState::Cancelled, by.at);
    db.prepare_cached("UPDATE command SET state = ?2, since = ?3 WHERE id = ?1")?
        .execute(params![number.0, command.state.code(), command.since.0])?;
    note(db, command.new.device, number, &by_operator(command.state, by))?;
    Ok(command)
}

pub(crate) fn find_command(
    db: &Connection,
    number: CommandNumber,
) -> Result<Option<Command>, StoreError> {
    let sql = format!("SELECT {COMMAND} FROM command WHERE id = ?1");
    Ok(db.prepare_cached(&sql)?.query_row([number.0], command).optional()?)
}

/// Returns the states that a command had, in order.
pub(crate) fn list_transitions(
    db: &Connection,
    device: DeviceNumber,
    number: CommandNumber,
) -> Result<Vec<CommandTransition>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT state, at, who, request, device_at, failure, detail FROM command_transition
         WHERE device = ?1 AND command = ?2 ORDER BY step",
    )?;
    let found = statement
        .query_map(params![device.0, number.0], |row| {
            Ok(CommandTransition {
                state: state(row)?,
                by: author(row)?,
                device_at: row.get::<_, Option<i64>>("device_at")?.map(UnixMs),
                failure: CommandFailure(row.get("failure")?),
                detail: row.get("detail")?,
            })
        })?
        .collect::<Result<_, _>>()?;
    Ok(found)
}

/// Returns commands of a device, newest first.
pub(crate) fn list_commands(
    db: &Connection,
    query: &CommandQuery,
) -> Result<Vec<Command>, StoreError> {
    let CommandQuery { device, state, before, limit } = *query;
    let before = before.map_or(i64::MAX, |before| before.0);
    let mut values = vec![device.0.into(), before.into(), Value::from(i64::from(limit))];
    let of_state = match state {
        Some(state) => {
            values.push(i64::from(state.code()).into());
            "AND state = ?4"
        }
        None => "",
    };
    let sql = format!(
        "SELECT {COMMAND} FROM command WHERE device = ?1 AND id < ?2 {of_state}
         ORDER BY id DESC LIMIT ?3"
    );
    let mut statement = db.prepare_cached(&sql)?;
    let found =
        statement.query_map(params_from_iter(values), command)?.collect::<Result<_, _>>()?;
    Ok(found)
}

/// Returns whether a command has not ended although its time has passed.
pub(crate) fn has_due(db: &Connection, now: UnixMs) -> Result<bool, StoreError> {
    let given_up = now.0.saturating_sub(COMMAND_GRACE_MS);
    Ok(db
        .prepare_cached(
            "SELECT 1 FROM command
             WHERE state < 3 AND deadline <= ?1 AND (state = 0 OR deadline <= ?2)",
        )?
        .exists(params![now.0, given_up])?)
}

/// Ends some of the commands whose time has passed; returns them.
pub(crate) fn end_due(db: &Connection, now: UnixMs) -> Result<Vec<MovedCommand>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT id, device, state, deadline, wire_id IS NOT NULL AS was_sent FROM command
         WHERE state < 3 AND deadline <= ?1 AND (state = 0 OR deadline <= ?2)
         ORDER BY deadline LIMIT ?3",
    )?;
    let given_up = now.0.saturating_sub(COMMAND_GRACE_MS);
    let mut found = statement.query(params![now.0, given_up, COMMANDS_ENDED_PER_COMMIT])?;
    let mut ended = Vec::new();
    while let Some(row) = found.next()? {
        let (number, device) = (CommandNumber(row.get("id")?), DeviceNumber(row.get("device")?));
        if let Some(state) = due(state(row)?, UnixMs(row.get("deadline")?), now) {
            ended.push((MovedCommand { device, number, state }, row.get("was_sent")?));
        }
    }
    drop(found);
    for (MovedCommand { device, number, state }, is_guess) in &ended {
        let (wire, reported) = (None, None);
        let moved =
            Moved { number: *number, state: *state, at: now, wire, is_guess: *is_guess, reported };
        write_move(db, *device, &moved)?;
    }
    Ok(ended.into_iter().map(|(moved, _)| moved).collect())
}

/// Counts commands by state, of one device or of all: those that have not ended, and the newest of
/// those that ended since an instant.
pub(crate) fn figures(
    db: &Connection,
    device: Option<DeviceNumber>,
    since: UnixMs,
) -> Result<CommandFigures, StoreError> {
    let of = device.map_or("", |_| "AND device = ?2");
    let values = |first: i64| {
        let device = device.map(|device| i64::from(device.0));
        params_from_iter(std::iter::once(first).chain(device))
    };
    let mut figures = CommandFigures::default();
    let mut counts = [0u64; CommandState::ALL.len()];
    let open = format!("SELECT state FROM command WHERE state < ?1 {of}");
    let mut open = db.prepare_cached(&open)?;
    let mut found = open.query(values(3))?;
    while let Some(row) = found.next()? {
        counts[usize::from(state(row)?.code())] += 1;
    }
    let ended = format!(
        "SELECT state, since - CASE WHEN not_before > made THEN not_before ELSE made END AS latency
         FROM command WHERE state >= 3 AND since >= ?1 {of}
         ORDER BY since DESC LIMIT {COMMAND_FIGURES_MAX}"
    );
    let mut ended = db.prepare_cached(&ended)?;
    let mut found = ended.query(values(since.0))?;
    while let Some(row) = found.next()? {
        let state = state(row)?;
        counts[usize::from(state.code())] += 1;
        if matches!(state, CommandState::Succeeded | CommandState::Failed) {
            figures.latencies_ms.push(row.get("latency")?);
        }
    }
    figures.latencies_ms.sort_unstable();
    let states = CommandState::ALL.into_iter().zip(counts);
    figures.states = states.map(|(state, commands)| StateCount { state, commands }).collect();
    Ok(figures)
}

/// Ends, in a copy that is being restored, all commands that had not ended when it was made: whether
/// they were sent or executed since is not known, and a command is executed at most once.
pub(super) fn end_restored(db: &Connection) -> rusqlite::Result<()> {
    db.execute(
        "INSERT INTO command_transition (device, command, step, state, at, who, failure, detail)
         SELECT command.device, command.id, max(step) + 1, ?1, max(at), ?2, 0, 0
         FROM command JOIN command_transition AS held
             ON held.device = command.device AND held.command = command.id
         WHERE command.state < 3 GROUP BY command.device, command.id",
        params![CommandState::Unknown.code(), "restore"],
    )?;
    db.execute(
        "UPDATE command SET state = ?1, guessed = wire_id IS NOT NULL WHERE state < 3",
        params![CommandState::Unknown.code()],
    )?;
    Ok(())
}

//! Commands from the server, on a running agent.

use ecowatt_agent::Config;
use ecowatt_model::CommandId;
use ecowatt_wire::{CommandAction, CommandFailure, CommandState};

use crate::rig::agents::{Agent, assert_stored, config, logged, until};
use crate::rig::inverter::Inverter;
use crate::rig::kept::CommandReport;
use crate::rig::server::Server;

/// A command is executed only by a device whose clock the server has confirmed.
async fn start() -> (Server, Inverter) {
    let (server, inverter) = (Server::start().await, Inverter::start().await);
    server.set_clock();
    (server, inverter)
}

/// Orders a command and waits for its end.
pub(crate) async fn execute(
    server: &Server,
    source: Option<u8>,
    order: CommandAction<'static>,
) -> CommandReport {
    let id = server.kept.lock().unwrap().order(source, order);
    until("the end of a command", || server.kept.lock().unwrap().ended(id).is_some()).await;
    server.kept.lock().unwrap().ended(id).unwrap().clone()
}

fn reports(server: &Server, id: CommandId) -> Vec<CommandState> {
    let kept = server.kept.lock().unwrap();
    kept.results.iter().filter(|result| result.id == id).map(|result| result.state).collect()
}

fn reboot(config: Config, words: &[&str]) -> Config {
    let mut config = config;
    config.permits.reboot = Some(words.iter().map(ToString::to_string).collect());
    config
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_begins_one_epoch_and_loses_nothing() {
    let (server, inverter) = start().await;
    let data = tempfile::tempdir().unwrap();
    let agent = Agent::start(config(&server, &inverter, data.path()));
    until("samples", || server.rows().len() >= 5).await;
    let restart = execute(&server, None, CommandAction::Restart).await;
    assert_eq!(restart.state, CommandState::Succeeded);
    let count = server.rows().len();
    until("samples of the second epoch", || server.rows().len() >= count + 5).await;
    let upload = execute(&server, None, CommandAction::Upload).await;
    assert_eq!(upload.state, CommandState::Succeeded);
    agent.stop().await;
    let epochs = logged(data.path()).last().unwrap().epoch;
    assert_eq!(epochs, 2, "it was restarted once");
    assert_stored(&server.rows(), data.path());
    // Nothing is executed again, whatever ends the epoch.
    let agent = Agent::start(config(&server, &inverter, data.path()));
    let count = server.rows().len();
    until("samples of the third epoch", || server.rows().len() >= count + 5).await;
    agent.kill().await;
    assert_eq!(logged(data.path()).last().unwrap().epoch, 3);
    let mut states = reports(&server, restart.id);
    states.dedup();
    let accepted = usize::from(states[0] == CommandState::Accepted);
    assert_eq!(states[accepted..], [CommandState::Succeeded]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn registers_are_read_over_modbus_while_samples_go_on() {
    let (server, inverter) = start().await;
    let data = tempfile::tempdir().unwrap();
    let agent = Agent::start(config(&server, &inverter, data.path()));
    until("samples", || server.rows().len() >= 5).await;
    let order = CommandAction::ReadRegisters { function: 3, address: 0, count: 3 };
    let read = execute(&server, Some(0), order).await;
    assert_eq!((read.state, read.words), (CommandState::Succeeded, vec![0, 100, 0, 101, 0, 102]));
    let order = CommandAction::ReadRegisters { function: 3, address: 60_000, count: 30 };
    let refused = execute(&server, Some(0), order).await;
    assert_eq!((refused.failure, refused.detail), (CommandFailure::Exception, 2));
    let order = CommandAction::ReadRegisters { function: 3, address: 0, count: 1 };
    assert_eq!(execute(&server, Some(1), order).await.failure, CommandFailure::NoSource);
    let count = server.rows().len();
    until("more samples", || server.rows().len() >= count + 5).await;
    agent.stop().await;
    assert_stored(&server.rows(), data.path());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_machine_restarts_if_the_owner_allows_it() {
    let (server, inverter) = start().await;
    let data = tempfile::tempdir().unwrap();
    let agent = Agent::start(config(&server, &inverter, data.path()));
    let not_allowed = execute(&server, None, CommandAction::Reboot).await;
    assert_eq!(not_allowed.failure, CommandFailure::Unsupported);
    agent.stop().await;

    let done = data.path().join("rebooted");
    let program = ["touch", done.to_str().unwrap()];
    let agent = Agent::start(reboot(config(&server, &inverter, data.path()), &program));
    let id = server.kept.lock().unwrap().order(None, CommandAction::Reboot);
    until("the program", || done.exists()).await;
    // The machine goes down.
    agent.kill().await;
    std::fs::remove_file(&done).unwrap();
    let agent = Agent::start(reboot(config(&server, &inverter, data.path()), &program));
    until("its end", || server.kept.lock().unwrap().ended(id).is_some()).await;
    let state = server.kept.lock().unwrap().ended(id).unwrap().state;
    assert_eq!((state, done.exists()), (CommandState::Succeeded, false));
    agent.stop().await;

    let agent = Agent::start(reboot(config(&server, &inverter, data.path()), &["false"]));
    let failed = execute(&server, None, CommandAction::Reboot).await;
    assert_eq!((failed.state, failed.failure), (CommandState::Failed, CommandFailure::Unsupported));
    // It goes on as before.
    let upload = execute(&server, None, CommandAction::Upload).await;
    assert_eq!(upload.state, CommandState::Succeeded);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_is_written_once_and_read_back() {
    let (server, inverter) = start().await;
    let data = tempfile::tempdir().unwrap();
    let agent = Agent::start(config(&server, &inverter, data.path()));
    until("samples", || server.rows().len() >= 5).await;
    let limited = execute(&server, Some(0), CommandAction::LimitPower { permille: 400 }).await;
    assert_eq!((limited.state, limited.words), (CommandState::Succeeded, vec![0, 40]));
    // The seed profile's inverter has 30 kW.
    let watts = execute(&server, Some(0), CommandAction::LimitPowerWatts { watts: 15_299 }).await;
    assert_eq!((watts.state, watts.words), (CommandState::Succeeded, vec![0, 50]));
    let again =
        execute(&server, Some(0), CommandAction::WriteRegister { address: 8, value: 50 }).await;
    assert_eq!((again.state, again.words), (CommandState::Succeeded, vec![0, 50]));
    assert_eq!(inverter.writes(), 2, "it had the value already");
    let point = "control.p_limit";
    let order = CommandAction::Write { point, mantissa: 1_001, exponent: -1 };
    assert_eq!(execute(&server, Some(0), order).await.failure, CommandFailure::NotAllowed);
    let order = CommandAction::Write { point, mantissa: 101, exponent: 0 };
    assert_eq!(execute(&server, Some(0), order).await.failure, CommandFailure::OutOfBounds);
    let order = CommandAction::Write { point: "ac.power", mantissa: 1, exponent: 0 };
    assert_eq!(execute(&server, Some(0), order).await.failure, CommandFailure::ReadOnly);
    // A write without an answer is not repeated; what is read back decides.
    inverter.mute_writes();
    let unanswered = execute(&server, Some(0), CommandAction::LimitPower { permille: 0 }).await;
    assert_eq!((unanswered.state, unanswered.words), (CommandState::Succeeded, vec![0, 0]));
    assert_eq!(inverter.writes(), 3);
    agent.stop().await;
    assert_stored(&server.rows(), data.path());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_only_device_writes_nothing() {
    let (server, inverter) = start().await;
    let data = tempfile::tempdir().unwrap();
    let mut config = config(&server, &inverter, data.path());
    config.permits.read_only = true;
    let agent = Agent::start(config);
    until("samples", || server.rows().len() >= 5).await;
    for order in [
        CommandAction::LimitPower { permille: 400 },
        CommandAction::WriteRegister { address: 8, value: 50 },
        CommandAction::Write { point: "control.p_limit", mantissa: 50, exponent: 0 },
    ] {
        let refused = execute(&server, Some(0), order).await;
        let expected = (CommandState::Failed, CommandFailure::Locked);
        assert_eq!((refused.state, refused.failure), expected);
    }
    assert_eq!(inverter.writes(), 0);
    agent.stop().await;
}

//! Settings from the server, on a running agent.

use ecowatt_agent::LogLevel;
use ecowatt_model::setting::{
    BATCH_ROWS, COMMAND_WAIT, LOG_LEVEL, REVERT_AFTER, SAMPLING_INTERVAL, UPLOAD_INTERVAL,
};
use ecowatt_wire::{ConfigState, SettingRefusal};

use crate::rig::agents::{Agent, assert_stored, config, logged, until};
use crate::rig::inverter::Inverter;
use crate::rig::server::{Mode, Server};

/// Rows sampled at an interval of 20 s: in sequence, none in between.
fn slow_rows(server: &Server) -> usize {
    let rows = server.rows();
    rows.windows(2).filter(|pair| pair[1].t_ms - pair[0].t_ms == 20_000).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_change_a_running_agent_and_survive_a_kill() {
    let (server, inverter) = (Server::start().await, Inverter::start().await);
    let data = tempfile::tempdir().unwrap();
    let agent = Agent::start(config(&server, &inverter, data.path()));
    let reported = || server.kept.lock().unwrap().reported();
    until("own settings", || reported() == Some((0, ConfigState::Applied))).await;
    until("samples", || server.rows().len() >= 5).await;

    server.kept.lock().unwrap().want(&[
        (SAMPLING_INTERVAL, 20_000),
        (UPLOAD_INTERVAL, 60_000),
        (LOG_LEVEL, 3),
        (BATCH_ROWS, 1_000),
        (COMMAND_WAIT, 5_000),
        // A busy machine may take long for a message, and the clock is fast.
        (REVERT_AFTER, 86_400_000),
    ]);
    until("confirmed settings", || reported() == Some((1, ConfigState::Applied))).await;
    until("samples at the new interval", || slow_rows(&server) >= 5).await;
    assert_eq!(*agent.levels.lock().unwrap(), [LogLevel::Debug]);
    assert!(logged(data.path()).iter().all(|row| row.epoch == 1), "it was restarted");

    agent.kill().await;
    let count = server.kept.lock().unwrap().reports.len();
    let agent = Agent::start(config(&server, &inverter, data.path()));
    until("a report", || server.kept.lock().unwrap().reports.len() > count).await;
    {
        let kept = server.kept.lock().unwrap();
        let states: Vec<_> = kept.reports.iter().map(|r| (r.generation, r.state)).collect();
        let (trial, applied) = ((1, ConfigState::Trial), (1, ConfigState::Applied));
        assert_eq!(states[states.len() - 3..], [trial, applied, applied], "{states:?}");
        let report = kept.reports.last().unwrap();
        let values = [SAMPLING_INTERVAL, UPLOAD_INTERVAL, LOG_LEVEL, BATCH_ROWS, COMMAND_WAIT];
        let values = values.map(|setting| report.value(setting));
        assert_eq!(values, [Some(20_000), Some(60_000), Some(3), Some(180), Some(5_000)]);
        let refused: Vec<_> = report.refused.iter().map(|r| (r.setting, r.reason)).collect();
        assert_eq!(refused, [(BATCH_ROWS, SettingRefusal::OutOfBounds)]);
    }
    assert_eq!(*agent.levels.lock().unwrap(), [LogLevel::Debug]);
    let slow = slow_rows(&server);
    until("more samples at that interval", || slow_rows(&server) >= slow + 3).await;
    agent.stop().await;
    assert_stored(&server.rows(), data.path());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_loses_its_server_with_settings_returns_to_the_former_ones() {
    let (server, inverter) = (Server::start().await, Inverter::start().await);
    let data = tempfile::tempdir().unwrap();
    let agent = Agent::start(config(&server, &inverter, data.path()));
    until("samples", || server.rows().len() >= 5).await;
    server.set_mode(Mode::LeavesWithSettings);
    let wanted = [(SAMPLING_INTERVAL, 20_000), (REVERT_AFTER, 60_000), (LOG_LEVEL, 0)];
    server.kept.lock().unwrap().want(&wanted);
    until("the level to return", || {
        *agent.levels.lock().unwrap() == [LogLevel::Error, LogLevel::Info]
    })
    .await;
    server.set_mode(Mode::Well);
    let reported = || server.kept.lock().unwrap().reported();
    until("the return in a report", || reported() == Some((1, ConfigState::Reverted))).await;
    agent.stop().await;
    let kept = server.kept.lock().unwrap();
    assert_eq!(kept.reports.last().unwrap().value(SAMPLING_INTERVAL), Some(5_000));
}

//! Agents as processes of their own: killed without warning, and on a disk that is full.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ecowatt_agent::Config;
use ecowatt_clock::Clock;
use ecowatt_model::UnixMs;

use crate::rig::agents::{Agent, logged, text, until};
use crate::rig::inverter::Inverter;
use crate::rig::server::Server;

const CONFIG: &str = "ECOWATT_TEST_AGENT_CONFIG";

/// The other process: this test binary again, with nothing but this test. Without the variable it
/// has nothing to do.
#[test]
fn process_of_an_agent() {
    let Some(path) = std::env::var_os(CONFIG).map(PathBuf::from) else { return };
    let config = Config::load(&path).unwrap();
    // Every start is later than the one before, as in reality.
    let started = Clock::system().now().0 - 1_700_000_000_000;
    let clock = Clock::simulated(UnixMs(1_767_268_800_000 + started * 100), 100.0);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(ecowatt_agent::run(config, clock, std::future::pending())).unwrap();
}

fn spawn(config: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "process::process_of_an_agent", "--nocapture"])
        .env(CONFIG, config)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_the_process_loses_and_doubles_nothing() {
    let (server, inverter) = (Server::start().await, Inverter::start().await);
    let data = tempfile::tempdir().unwrap();
    let path = data.path().join("agent.toml");
    let transport = format!("tcp://{}", inverter.address);
    let text = text(&server, &[(&transport, "ecowatt/seed-sim")], data.path());
    std::fs::write(&path, text).unwrap();
    for kill in 0..12 {
        let mut child = spawn(&path);
        let before = logged(data.path()).len();
        until("more samples", || logged(data.path()).len() >= before + 3).await;
        // Not at the same point of its cycle every time.
        tokio::time::sleep(Duration::from_millis(7 * kill)).await;
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let mut child = spawn(&path);
    let persisted = logged(data.path());
    until("everything that was persisted", || {
        let stored = server.rows();
        persisted.iter().all(|row| stored.contains(row))
    })
    .await;
    child.kill().unwrap();
    child.wait().unwrap();
    let stored = server.rows();
    let mut once = stored.clone();
    once.dedup();
    assert_eq!(once.len(), stored.len(), "a sample is stored twice");
    // A kill between the draft and its line leaves a sample that is stored and not logged.
    let logged = logged(data.path());
    let surplus = stored.iter().filter(|row| !logged.contains(row)).count();
    assert!(surplus <= 13, "{surplus} samples were never taken");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_waited_for_and_no_sample_is_lost() {
    let data = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(&data.path().join("data")) else {
        println!("not tried: mounting a small file system needs root");
        return;
    };
    let (server, inverter) = (Server::start().await, Inverter::start().await);
    let transport = format!("tcp://{}", inverter.address);
    let text = text(&server, &[(&transport, "ecowatt/seed-sim")], data.path());
    let agent = Agent::start(Config::parse(&text, data.path()).unwrap());
    until("first samples", || server.rows().len() >= 3).await;
    let filler = disk.0.join("filler");
    let written = std::fs::write(&filler, vec![1; 4 * 1024 * 1024]);
    assert!(written.is_err(), "the disk is not full");
    let before = inverter.requests();
    until("more polls", || inverter.requests() >= before + 40).await;
    std::fs::remove_file(&filler).unwrap();
    let rows = server.rows().len();
    until("the samples of that time", || server.rows().len() >= rows + 40).await;
    agent.stop().await;
    // The inverter counts its reads in the last register; each is in one sample.
    let reads: Vec<u16> =
        server.rows().iter().filter_map(|row| row.words.last().copied()).collect();
    let is_gapless = reads.windows(2).all(|pair| pair[1] == pair[0] + 1);
    assert!(is_gapless, "{reads:?}");
}

/// A file system of one MiB.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(path: &Path) -> Option<Self> {
        std::fs::create_dir(path).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(path).stderr(Stdio::null());
        let is_mounted = mount.status().is_ok_and(|status| status.success());
        is_mounted.then(|| Self(path.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

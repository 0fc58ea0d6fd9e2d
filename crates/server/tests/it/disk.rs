//! A full disk: writes are rejected, and freeing space is all that the operator has to do.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use ecowatt_clock::Clock;
use ecowatt_server::Config;
use ecowatt_wire::SourceState;

use crate::rig::device::TestDevice;
use crate::rig::world::{Answer, JSON, World, within};

/// Bytes of a page of a new database.
const PAGE_BYTES: usize = 2048;

/// A file system of 4 MiB.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(path: &Path) -> Option<Self> {
        std::fs::create_dir(path).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"]).arg(path).stderr(Stdio::null());
        let is_mounted = mount.status().is_ok_and(|status| status.success());
        is_mounted.then(|| Self(path.to_owned()))
    }

    fn fill(&self) {
        assert!(std::fs::write(self.0.join("filler"), vec![1; 8 * 1024 * 1024]).is_err());
    }

    fn free(&self) {
        std::fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

async fn enrol(world: &World) -> Answer {
    world
        .post(
            "/api/v1/devices",
            r#"{"name":"Roof","site":{"name":"Home","time_zone":"Europe/Berlin"}}"#,
        )
        .await
}

/// Writes until the disk is full; free space inside the database may last for a while.
async fn enrol_until(world: &World, status: u16) -> Answer {
    within(&format!("an answer {status}"), async {
        loop {
            let answer = enrol(world).await;
            if answer.status == status {
                return answer;
            }
            assert!([201, 503].contains(&answer.status), "{answer:?}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await
}

async fn send_until(world: &World, device: &mut TestDevice, status: u16) -> Answer {
    within(&format!("an answer {status} to a device"), async {
        loop {
            let now = Clock::system().now();
            let answer = device.send(world, now, &[(now, Some(1))], SourceState::Online).await;
            if answer.status == status {
                return answer;
            }
            assert!([200, 503].contains(&answer.status), "{answer:?}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_disk_puts_writers_off_and_does_not_keep_an_owned_server_from_starting() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(&folder.path().join("data")) else {
        println!("not tried: mounting a small file system needs root");
        return;
    };
    let mut world = World::start_in(&disk.0, Config::default()).await;
    let code = format!(r#"{{"code":"{}"}}"#, world.code());
    let answer = world.send("POST", "/api/v1/setup", &[JSON], &code).await;
    world.token = answer.json()["token"].as_str().unwrap().into();
    let mut device = TestDevice::enrol(&world, "Roof").await;

    disk.fill();
    assert_eq!(world.get("/health").await.text(), "ok\n");
    let answer = enrol_until(&world, 503).await;
    assert_eq!((answer.code().as_str(), answer.header("retry-after")), ("storage_full", Some("2")));
    assert_eq!(world.get("/api/v1/devices").await.status, 200, "reading needs no space");
    assert_eq!(world.get("/ready").await.status, 200);
    let health = world.get("/health").await;
    assert_eq!(health.status, 200, "a supervisor that starts it again makes nothing better");
    assert!(health.text().contains("disk is full"), "{health:?}");
    assert!(world.get("/metrics").await.text().contains("ecowatt_store_full 1\n"));

    world.stop();
    world.stopped().await;
    let token = std::mem::take(&mut world.token);
    drop(world);
    let mut world = World::start_in(&disk.0, Config::default()).await;
    world.token = token;
    assert!(world.setup_link.is_none());
    assert_eq!(world.get("/api/v1/devices").await.status, 200);
    enrol_until(&world, 503).await;
    let answer = send_until(&world, &mut device, 503).await;
    assert_eq!((answer.code().as_str(), answer.header("retry-after")), ("storage_full", Some("2")));
    assert!(world.get("/health").await.text().contains("disk is full"));

    disk.free();
    send_until(&world, &mut device, 200).await;
    assert_eq!(world.get("/health").await.text(), "ok\n");
    assert!(world.get("/metrics").await.text().contains("ecowatt_store_full 0\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_database_is_named_and_takes_nothing_that_devices_still_have() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::start_in(folder.path(), Config::default()).await;
    let code = format!(r#"{{"code":"{}"}}"#, world.code());
    let answer = world.send("POST", "/api/v1/setup", &[JSON], &code).await;
    world.token = answer.json()["token"].as_str().unwrap().into();
    let mut device = TestDevice::enrol(&world, "Roof").await;
    let now = Clock::system().now();
    device.deliver(&world, now, &[(now, Some(1))]).await;
    let token = std::mem::take(&mut world.token);
    world.stop();
    world.stopped().await;
    drop(world);

    // The pages that hold the device, and so its name. While the server runs they may be in its log.
    let path = folder.path().join("ecowatt.db");
    let mut bytes = std::fs::read(&path).unwrap();
    for page in bytes.chunks_mut(PAGE_BYTES).skip(1) {
        if page.windows(4).any(|word| word == b"Roof") {
            page.fill(0x55);
        }
    }
    let mut file = std::fs::File::options().write(true).open(&path).unwrap();
    std::io::Write::write_all(&mut file, &bytes).unwrap();

    let mut world = World::start_in(folder.path(), Config::default()).await;
    world.token = token;
    let ready = within("an answer that it is damaged", async {
        loop {
            device.send(&world, now, &[(now, Some(2))], SourceState::Online).await;
            world.get("/api/v1/devices").await;
            let ready = world.get("/ready").await;
            if ready.status != 200 {
                return ready;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    assert_eq!((ready.status, ready.code().as_str()), (503, "storage_failed"));
    assert!(ready.text().contains("ecowatt store restore"), "{ready:?}");
    assert!(world.get("/metrics").await.text().contains("ecowatt_store_damaged 1\n"));
    let answer = device.send(&world, now, &[(now, Some(2))], SourceState::Online).await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "storage_failed"));
    assert_eq!(world.get("/health").await.status, 200);
}

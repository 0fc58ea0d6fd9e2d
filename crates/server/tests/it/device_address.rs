//! An address for devices only.

use std::net::SocketAddr;

use ecowatt_clock::Clock;
use ecowatt_model::UnixMs;
use ecowatt_server::Config;
use serde_json::{Value, json};

use crate::rig::device::TestDevice;
use crate::rig::world::World;

/// Operations that are answered at the devices' address. A new one must be added here.
const FOR_DEVICES: [&str; 30] = [
    "get /changes",
    "get /commands/{id}/poll",
    "get /config",
    "get /config/{id}",
    "get /health",
    "get /ota/check/{id}",
    "get /ota/chunk/{id}",
    "get /ota/status",
    "get /ping",
    "post /aggregated/{id}",
    "post /changes",
    "post /command/get",
    "post /command/poll",
    "post /command/report",
    "post /command/result",
    "post /commands/{id}/result",
    "post /config/{id}/acknowledge",
    "post /config/{id}/current",
    "post /devices",
    "post /diagnostics/{id}",
    "post /fault/recovery",
    "post /integration/test/sync",
    "post /link",
    "post /link/enrol",
    "post /ota/check",
    "post /ota/initiate/{id}",
    "post /ota/{id}/complete",
    "post /ota/{id}/progress",
    "post /power/energy/{id}",
    "post /process",
];

async fn world() -> World {
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    World::start_with(Config { listen_devices: Some(free), ..Config::default() }).await
}

#[tokio::test]
async fn devices_enrol_and_deliver_at_an_address_of_their_own() {
    let mut world = world().await;
    let main = world.address;
    let claim = TestDevice::claim(&world, "Roof").await;
    world.address = world.device_address.unwrap();
    let mut device = TestDevice::redeemed(&world, claim).await;
    let now = Clock::system().now();
    device.deliver(&world, now, &[(UnixMs(now.0 - 5_000), Some(1_000))]).await;
    world.address = main;
    assert_eq!(world.get_json("/api/v1/devices").await["total"], 1);
    device.deliver(&world, now, &[(UnixMs(now.0 - 4_000), Some(1_000))]).await;
}

#[tokio::test]
async fn nothing_else_is_answered_there_whatever_it_shows() {
    let mut world = world().await;
    world.address = world.device_address.unwrap();
    let document: Value = serde_json::from_str(&ecowatt_server::openapi()).unwrap();
    let operations = document["paths"].as_object().unwrap().iter().flat_map(|(path, item)| {
        item.as_object().unwrap().iter().map(move |(method, operation)| {
            let is_original = operation["tags"][0] == "original";
            (method.clone(), path.clone(), is_original)
        })
    });
    let pages = ["/", "/app.js", "/nothing"].map(|path| ("get".to_owned(), path.to_owned(), false));
    let (name, bearer) = world.bearer();
    for (method, path, is_original) in operations.chain(pages) {
        let is_for_devices = FOR_DEVICES.contains(&format!("{method} {path}").as_str());
        let target = path.replace("{id}", "dev-1");
        for body in ["", "{}"] {
            let headers = [(name, bearer.as_str()), ("content-type", "application/json")];
            let answer = world.send(&method.to_uppercase(), &target, &headers, body).await;
            assert_eq!(answer.status == 404, !is_for_devices, "{method} {path}: {answer:?}");
            if !is_for_devices && is_original {
                let error = "there is no such route for devices";
                assert_eq!(answer.json(), json!({ "success": false, "error": error }));
            } else if !is_for_devices {
                assert_eq!(answer.code(), "route_unknown", "{method} {path}");
            }
        }
    }
}

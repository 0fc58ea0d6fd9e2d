//! Names of devices and sites, and where devices stand.

use ecowatt_clock::Clock;
use ecowatt_model::UnixMs;
use serde_json::Value;

use crate::device::TestDevice;
use crate::world::{Answer, JSON, World};

async fn patch(world: &World, target: &str, body: &str) -> Answer {
    let (name, token) = world.bearer();
    world.send("PATCH", target, &[(name, &token), JSON], body).await
}

async fn sites(world: &World) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let listed = world.get_json("/api/v1/sites").await;
    let listed = listed.as_array().unwrap();
    listed.iter().map(|site| (text(&site["name"]), text(&site["time_zone"]))).collect()
}

fn site(name: &str, zone: &str) -> (String, String) {
    (name.into(), zone.into())
}

#[tokio::test]
async fn device_is_renamed_and_moved_and_an_empty_site_goes() {
    let world = World::start().await;
    let mut device = TestDevice::enrol(&world, "Rof").await;
    let target = format!("/api/v1/devices/{}", device.id);
    let zone = world.get_json(&target).await["site"]["time_zone"].as_str().unwrap().to_owned();
    let renamed = patch(&world, &target, r#"{"name":" Roof "}"#).await;
    assert_eq!(renamed.status, 204, "{}", renamed.text());
    assert_eq!(world.get_json(&target).await["name"], "Roof");

    let body = format!(r#"{{"site":{{"name":"Farm","time_zone":"{zone}"}}}}"#);
    assert_eq!(patch(&world, &target, &body).await.status, 204);
    assert_eq!(world.get_json(&target).await["site"]["name"], "Farm");
    assert_eq!(sites(&world).await, [site("Farm", &zone)]);

    // What is received afterwards belongs to the same device.
    let now = Clock::system().now();
    device.deliver(&world, now, &[(UnixMs(now.0 - 5_000), Some(700))]).await;
    assert_eq!(world.get_json(&target).await["power_w"], 700.0);
}

#[tokio::test]
async fn days_stay_in_the_zone_that_they_were_counted_in() {
    let world = World::start().await;
    let mut device = TestDevice::enrol(&world, "Roof").await;
    let target = format!("/api/v1/devices/{}", device.id);
    let at = world.get_json(&target).await["site"].clone();
    let site_target = format!("/api/v1/sites/{}", at["id"]);

    let moved = r#"{"site":{"name":"Island","time_zone":"Asia/Kolkata"}}"#;
    let back = format!(r#"{{"site":{{"name":"{}","time_zone":{}}}}}"#, "Home", at["time_zone"]);
    assert_eq!(patch(&world, &target, moved).await.status, 204, "nothing was counted yet");
    assert_eq!(patch(&world, &target, &back).await.status, 204);

    let now = Clock::system().now();
    device.deliver(&world, now, &[(UnixMs(now.0 - 5_000), Some(700))]).await;
    let home = world.get_json(&target).await["site"]["id"].clone();
    let refused = patch(&world, &target, moved).await;
    assert_eq!((refused.status, refused.code()), (409, "days_counted".into()));
    let refused = patch(&world, &format!("/api/v1/sites/{home}"), r#"{"time_zone":"UTC"}"#).await;
    assert_eq!((refused.status, refused.code()), (409, "days_counted".into()));
    assert_eq!(sites(&world).await.len(), 1, "a move that is refused makes no site");
    let same = format!(r#"{{"name":"House","time_zone":{}}}"#, at["time_zone"]);
    assert_eq!(patch(&world, &format!("/api/v1/sites/{home}"), &same).await.status, 204);
    assert_eq!(world.get_json(&target).await["site"]["name"], "House");
    assert_eq!(
        patch(&world, &site_target, "{}").await.status,
        if at["id"] == home { 204 } else { 404 }
    );
}

#[tokio::test]
async fn zone_of_a_site_where_nothing_was_measured_is_put_right() {
    let world = World::start().await;
    let mut device = TestDevice::enrol(&world, "Roof").await;
    let target = format!("/api/v1/devices/{}", device.id);
    let home = world.get_json(&target).await["site"]["id"].clone();
    let site_target = format!("/api/v1/sites/{home}");
    assert_eq!(patch(&world, &site_target, r#"{"time_zone":"asia/kolkata"}"#).await.status, 204);
    assert_eq!(world.get_json(&target).await["site"]["time_zone"], "Asia/Kolkata");
    // Its first day is counted by the zone that holds.
    let now = Clock::system().now();
    device.deliver(&world, now, &[(UnixMs(now.0 - 5_000), Some(700))]).await;
    let spark = world.get_json(&target).await["spark"]["from"].clone();
    assert!(spark.as_str().unwrap().contains("T18:30:00"), "midnight in Kolkata: {spark}");
}

#[tokio::test]
async fn what_is_no_name_place_or_zone_is_refused() {
    let world = World::start().await;
    let device = TestDevice::enrol(&world, "Roof").await;
    let target = format!("/api/v1/devices/{}", device.id);
    let home = world.get_json(&target).await["site"]["id"].clone();
    let other = r#"{"name":"Barn","site":{"name":"Farm","time_zone":"UTC"}}"#;
    assert_eq!(world.post("/api/v1/devices", other).await.status, 201);
    let long = "x".repeat(81);
    let site_target = format!("/api/v1/sites/{home}");
    let cases = [
        (target.as_str(), r#"{"name":""}"#.to_owned(), 400, "invalid_name"),
        (&target, format!(r#"{{"name":"{long}"}}"#), 400, "invalid_name"),
        (&target, r#"{"name":"a\u001bb"}"#.into(), 400, "invalid_name"),
        (&target, r#"{"site":{"name":"Nowhere"}}"#.into(), 400, "site_unknown"),
        (&target, r#"{"site":{"name":"X","time_zone":"Mars"}}"#.into(), 400, "invalid_time_zone"),
        (
            &target,
            r#"{"site":{"name":"Farm","time_zone":"Asia/Kolkata"}}"#.into(),
            409,
            "site_in_other_time_zone",
        ),
        ("/api/v1/devices/dev-99", r#"{"name":"Roof"}"#.into(), 404, "device_unknown"),
        (&site_target, r#"{"name":"Farm"}"#.into(), 409, "name_taken"),
        (&site_target, r#"{"time_zone":"Mars"}"#.into(), 400, "invalid_time_zone"),
        ("/api/v1/sites/99", r#"{"name":"Farm"}"#.into(), 404, "site_unknown"),
    ];
    for (target, body, status, code) in cases {
        let refused = patch(&world, target, &body).await;
        assert_eq!((refused.status, refused.code()), (status, code.into()), "{target} {body}");
    }
    assert_eq!(world.get_json(&target).await["name"], "Roof");
}

//! Who changed what, page by page.

use serde_json::{Value, json};

use crate::rig::device::TestDevice;
use crate::rig::world::{JSON, World};

async fn page(world: &World, target: &str) -> (Vec<(String, String)>, Value) {
    let page = world.get_json(target).await;
    let text = |line: &Value, field: &str| line[field].as_str().unwrap().to_owned();
    let changes = page["changes"].as_array().unwrap().iter();
    let changes = changes.map(|line| (text(line, "change"), text(line, "subject"))).collect();
    (changes, page["next_cursor"].clone())
}

#[tokio::test]
async fn every_change_is_listed_once_with_its_author_and_request() {
    let world = World::start().await;
    let device = TestDevice::enrol(&world, "Roof").await;
    let (name, token) = world.bearer();
    let target = format!("/api/v1/devices/{}", device.id);
    for roof in ["South", "North", "North"] {
        let body = json!({ "name": roof }).to_string();
        let answer = world.send("PATCH", &target, &[(name, &token), JSON], body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    let (all, next) = page(&world, "/api/v1/audit").await;
    assert_eq!(next, Value::Null);
    let edits = all.iter().filter(|(_, subject)| *subject == device.id);
    let edits: Vec<_> = edits.map(|(change, _)| change.as_str()).collect();
    // The name that it had already is no change.
    assert_eq!(edits.iter().filter(|change| **change == "device.edit").count(), 2, "{all:?}");
    let newest = &world.get_json("/api/v1/audit?limit=1").await["changes"][0];
    assert_eq!(
        (&newest["change"], &newest["subject"]),
        (&"device.edit".into(), &(*device.id).into())
    );
    assert!(newest["who"].as_str().unwrap().starts_with("token "), "{newest}");
    assert!(newest["request"].as_str().unwrap().len() == 16, "{newest}");

    let mut found = Vec::new();
    let mut target = "/api/v1/audit?limit=2".to_owned();
    loop {
        let (changes, next) = page(&world, &target).await;
        assert!(!changes.is_empty() && changes.len() <= 2);
        found.extend(changes);
        let Some(cursor) = next.as_str() else { break };
        target = format!("/api/v1/audit?limit=2&cursor={cursor}");
    }
    assert_eq!(found, all);
}

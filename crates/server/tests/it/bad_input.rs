//! Faults of clients are reported as theirs: a status from 400 to 499 and a JSON error.

use crate::rig::world::{JSON, World};

#[tokio::test]
async fn bad_queries_are_refused_by_name() {
    let world = World::start().await;
    let enrolled = world
        .post(
            "/api/v1/devices",
            r#"{"name":"Roof","site":{"name":"Home","time_zone":"Europe/Berlin"}}"#,
        )
        .await;
    assert_eq!(enrolled.json()["device"], "dev-1");
    let telemetry = "/api/v1/devices/dev-1/telemetry";
    let energy = "/api/v1/devices/dev-1/energy";
    let cases = [
        (format!("{telemetry}?from=yesterday"), 400, "invalid_time"),
        (format!("{telemetry}?from=2026-06-21T10:00:00"), 400, "invalid_time"),
        (format!("{telemetry}?to=2026-02-30"), 400, "invalid_time"),
        (format!("{telemetry}?from=99999-01-01T00:00:00Z"), 400, "invalid_time"),
        (format!("{telemetry}?from="), 400, "invalid_time"),
        (format!("{telemetry}?from=2026-06-22&to=2026-06-21"), 400, "invalid_range"),
        (format!("{telemetry}?resolution=5m"), 400, "invalid_query"),
        (format!("{telemetry}?inverter=-1"), 400, "invalid_query"),
        (format!("{telemetry}?inverter=256"), 400, "invalid_query"),
        (format!("{telemetry}?inverter=8"), 400, "invalid_inverter"),
        (format!("{telemetry}?inverter=7"), 404, "inverter_unknown"),
        (format!("{telemetry}?points=ac.power"), 400, "point_unknown"),
        (format!("{telemetry}?points={}", "a,".repeat(200)), 400, "invalid_points"),
        (format!("{telemetry}?form=2026-06-21"), 400, "invalid_query"),
        (format!("{energy}?from=0001-01-01&to=9999-01-01"), 400, "invalid_range"),
        (format!("{energy}?from=x"), 400, "invalid_time"),
        ("/api/v1/devices/dev-2/telemetry".into(), 404, "device_unknown"),
        ("/api/v1/devices/dev-2/energy".into(), 404, "device_unknown"),
        ("/api/v1/devices/dev-2".into(), 404, "device_unknown"),
        ("/api/v1/devices/dev-4294967295".into(), 404, "device_unknown"),
        ("/api/v1/devices/dev-4294967296".into(), 400, "invalid_device"),
        ("/api/v1/devices/1".into(), 400, "invalid_device"),
        ("/api/v1/devices/dev-01".into(), 400, "invalid_device"),
        ("/api/v1/devices/%ff".into(), 400, "invalid_device"),
        ("/api/v1/devices/..%2f..%2fetc".into(), 400, "invalid_device"),
        ("/api/v1/devices?limit=0".into(), 400, "invalid_limit"),
        ("/api/v1/devices?limit=501".into(), 400, "invalid_limit"),
        ("/api/v1/audit?limit=0".into(), 400, "invalid_limit"),
        ("/api/v1/audit?limit=501".into(), 400, "invalid_limit"),
        ("/api/v1/audit?cursor=x".into(), 400, "invalid_cursor"),
        ("/api/v1/devices?limit=99999999999999999999999".into(), 400, "invalid_query"),
        ("/api/v1/devices?limit=ten".into(), 400, "invalid_query"),
        ("/api/v1/devices?cursor=next".into(), 400, "invalid_cursor"),
        ("/api/v1/devices?state=broken".into(), 400, "invalid_query"),
        (format!("/api/v1/devices?search={}", "x".repeat(81)), 400, "invalid_search"),
        ("/api/v1/events?device=all".into(), 400, "invalid_device"),
        ("/api/v1/devices/dev-1/keys".into(), 405, "method_not_allowed"),
        ("/api/v1/nothing".into(), 404, "route_unknown"),
        ("/api/v2/devices".into(), 404, "route_unknown"),
        ("/api".into(), 404, "route_unknown"),
        ("/link/other".into(), 404, "route_unknown"),
    ];
    for (target, status, code) in cases {
        let answer = world.get(&target).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{target}");
    }
}

#[tokio::test]
async fn bad_bodies_are_refused_by_name() {
    let world = World::start().await;
    let long = format!(r#"{{"name":"{}"}}"#, "x".repeat(70_000));
    let name_of_81 = format!(r#"{{"name":"{}","site":{{"name":"s"}}}}"#, "x".repeat(81));
    let deep = "[".repeat(10_000);
    let cases = [
        ("", 400, "invalid_body"),
        ("{", 400, "invalid_body"),
        ("null", 422, "invalid_body"),
        ("[]", 422, "invalid_body"),
        (r#"{"name":"Roof"}"#, 422, "invalid_body"),
        (r#"{"name":1,"site":{"name":"s"}}"#, 422, "invalid_body"),
        (r#"{"name":"n","site":{"name":"s"},"extra":1}"#, 422, "invalid_body"),
        (r#"{"name":"n","site":{"name":"s"}}"#, 400, "site_unknown"),
        (r#"{"name":"","site":{"name":"s","time_zone":"UTC"}}"#, 400, "invalid_name"),
        (r#"{"name":"a\u0000","site":{"name":"s","time_zone":"UTC"}}"#, 400, "invalid_name"),
        (r#"{"name":"n","site":{"name":" ","time_zone":"UTC"}}"#, 400, "invalid_name"),
        (
            r#"{"name":"n","site":{"name":"s","time_zone":"Mars/Olympus"}}"#,
            400,
            "invalid_time_zone",
        ),
        (r#"{"name":"n","site":{"name":"s","time_zone":"../etc"}}"#, 400, "invalid_time_zone"),
        (
            r#"{"name":"n","site":{"name":"s","time_zone":"UTC"},"valid_for_s":0}"#,
            400,
            "invalid_duration",
        ),
        (
            r#"{"name":"n","site":{"name":"s","time_zone":"UTC"},"valid_for_s":18446744073709551615}"#,
            400,
            "invalid_duration",
        ),
        (r#"{"name":"n","site":{"name":"s"},"device":"dev-9"}"#, 422, "invalid_body"),
        (name_of_81.as_str(), 400, "invalid_name"),
        (long.as_str(), 413, "too_large"),
        (deep.as_str(), 422, "invalid_body"),
    ];
    for (body, status, code) in cases {
        let answer = world.post("/api/v1/devices", body).await;
        let shown: String = body.chars().take(60).collect();
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{shown}");
    }
    let body = r#"{"name":"n","site":{"name":"s","time_zone":"UTC"}}"#;
    assert_eq!(world.post("/api/v1/devices", body).await.status, 201);
    for (device, body, status, code) in [
        ("dev-9", "{}", 404, "device_unknown"),
        ("nine", "{}", 400, "invalid_device"),
        ("dev-1", r#"{"name":"n"}"#, 422, "invalid_body"),
        ("dev-1", r#"{"valid_for_s":0}"#, 400, "invalid_duration"),
    ] {
        let answer = world.post(&format!("/api/v1/devices/{device}/claim"), body).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{device} {body}");
    }
    let (name, value) = world.bearer();
    let plain = [(name, value.as_str()), ("content-type", "text/plain")];
    let answer = world.send("POST", "/api/v1/devices", &plain, "{}").await;
    assert_eq!((answer.status, answer.code().as_str()), (415, "unsupported_media_type"));
    let answer = world.send("PUT", "/api/v1/devices", &[(name, value.as_str())], "").await;
    assert_eq!((answer.status, answer.code().as_str()), (405, "method_not_allowed"));
    assert!(answer.header("allow").unwrap().contains("GET"));
}

#[tokio::test]
async fn link_refuses_without_a_word() {
    let world = World::start().await;
    let cose = [("content-type", "application/cose")];
    for (target, length_max) in [("/link", 60 * 1024), ("/link/enrol", 128)] {
        let full = vec![0u8; length_max];
        for body in [&b""[..], b"\xd0", b"hello", &[0xff; 100], &full] {
            let answer = world.send("POST", target, &cose, body).await;
            assert_eq!((answer.status, answer.body.as_slice()), (401, &b""[..]), "{target}");
        }
        let over = vec![0u8; length_max + 1];
        assert_eq!(world.send("POST", target, &cose, &over).await.status, 413, "{target}");
    }
    assert_eq!(world.send("POST", "/link", &[JSON], "{}").await.status, 415);
    assert_eq!(world.send("GET", "/link", &[], "").await.status, 405);
    let metrics = world.get("/metrics").await.text();
    assert!(
        metrics.contains(r#"ecowatt_link_messages_total{outcome="bad_envelope"} 5"#),
        "{metrics}"
    );
    assert!(
        metrics.contains(r#"ecowatt_link_enrolments_total{outcome="malformed"} 5"#),
        "{metrics}"
    );
}

#[tokio::test]
async fn bytes_that_are_no_http_are_refused() {
    let world = World::start().await;
    let head = format!("GET /health HTTP/1.1\r\nhost: x\r\n{}: y\r\n\r\n", "a".repeat(20_000));
    assert_eq!(world.send_raw(head.as_bytes()).await.status, 431);
    let many = "a: b\r\n".repeat(100);
    let head = format!("GET /health HTTP/1.1\r\nhost: x\r\n{many}\r\n");
    assert_eq!(world.send_raw(head.as_bytes()).await.status, 431);
    let answer = world.send_raw(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n").await;
    assert!(answer.status == 400 || answer.body.is_empty(), "{answer:?}");
    let both = b"POST /link HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 5\r\n\
        content-length: 6\r\n\r\nhello";
    assert_eq!(world.send_raw(both).await.status, 400);
    assert_eq!(world.get("/health").await.status, 200);
}

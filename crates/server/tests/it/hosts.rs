//! How a request must name its server, and which bodies are not read.

use ecowatt_envelope::MESSAGE_MAX;
use ecowatt_server::Config;

use crate::rig::world::World;

fn request(method: &str, target: &str, hosts: &[&str], more: &str) -> Vec<u8> {
    let hosts: String = hosts.iter().map(|host| format!("host: {host}\r\n")).collect();
    format!("{method} {target} HTTP/1.1\r\n{hosts}connection: close\r\n{more}\r\n").into_bytes()
}

#[tokio::test]
async fn browsers_get_nothing_under_a_name_that_is_not_the_servers() {
    let config = Config {
        public_url: Some("https://eco.example".into()),
        hosts: vec!["eco.lan".into()],
        ..Config::default()
    };
    let world = World::start_with(config).await;
    let here = world.address.to_string();
    let good = [here.as_str(), "localhost:1", "eco.example", "ECO.LAN:8080", "[::1]"];
    for target in ["/", "/app.js", "/api/v1/openapi.json"] {
        for host in good {
            let answer = world.send_raw(&request("GET", target, &[host], "")).await;
            assert_eq!(answer.status, 200, "{target} {host}");
        }
        for (hosts, status, code) in [
            (&["evil.example"][..], 421, "host_unknown"),
            (&["eco.example.evil.example"], 421, "host_unknown"),
            (&[], 400, "invalid_host"),
            (&[here.as_str(), here.as_str()], 400, "invalid_host"),
            (&[here.as_str(), "evil.example"], 400, "invalid_host"),
            (&["evil.example/"], 400, "invalid_host"),
        ] {
            let answer = world.send_raw(&request("GET", target, hosts, "")).await;
            let found = (answer.status, answer.code());
            assert_eq!(found, (status, code.to_owned()), "{target} {hosts:?}");
        }
    }
    // A token does not help, nor does a target in absolute form.
    let token = format!("authorization: Bearer {}\r\n", world.token);
    let answer = world.send_raw(&request("GET", "/api/v1/devices", &["evil"], &token)).await;
    assert_eq!(answer.status, 421);
    let answer = world.send_raw(&request("GET", "http://evil/", &[&here], "")).await;
    assert_eq!(answer.status, 421);
    // Devices and probes may use any name, but exactly one.
    for (method, target, status) in [("POST", "/link", 415), ("GET", "/health", 200)] {
        let answer = world.send_raw(&request(method, target, &["eco.intern"], "")).await;
        assert_eq!(answer.status, status, "{target}");
        let answer = world.send_raw(&request(method, target, &[], "")).await;
        assert_eq!(answer.status, 400, "{target}");
    }
}

#[tokio::test]
async fn body_that_is_too_long_is_refused_before_the_client_is_told_to_go_on() {
    let world = World::start().await;
    let here = world.address.to_string();
    let ask = |length: usize| {
        let more = format!(
            "content-type: application/cose\r\ncontent-length: {length}\r\nexpect: 100-continue\r\n"
        );
        request("POST", "/link", &[&here], &more)
    };
    for length in [100_000_000, MESSAGE_MAX + 1] {
        assert_eq!(world.send_raw(&ask(length)).await.status, 413, "{length}");
    }
    let mut fits = ask(3);
    fits.extend(b"abc");
    assert_eq!(world.send_raw(&fits).await.status, 100);
}

#[tokio::test]
async fn refusal_arrives_whatever_the_client_still_sends() {
    let world = World::start().await;
    let here = world.address.to_string();
    let body = vec![7u8; 3 * 1024 * 1024];
    let cose = "content-type: application/cose\r\n";
    let length = format!("content-length: {}\r\n", body.len());
    let cases = [
        ("/link", format!("{cose}{length}"), 413),
        ("/link/enrol", format!("{cose}{length}"), 413),
        ("/link", length.clone(), 413),
        ("/api/v1/session", length.clone(), 413),
        ("/nowhere", length.clone(), 405),
        ("/api/v1/session", format!("host: twice\r\n{length}"), 400),
    ];
    for (target, more, status) in cases {
        let mut bytes = request("POST", target, &[&here], &more);
        bytes.extend(&body);
        assert_eq!(world.send_raw(&bytes).await.status, status, "{target} {more}");
    }
    // As long as allowed, and of the wrong content type.
    let more = format!("content-type: text/plain\r\ncontent-length: {MESSAGE_MAX}\r\n");
    let mut bytes = request("POST", "/link", &[&here], &more);
    bytes.extend(&body[..MESSAGE_MAX]);
    assert_eq!(world.send_raw(&bytes).await.status, 415);
    // In chunks, whose total length was not announced.
    let mut bytes =
        request("POST", "/link", &[&here], &format!("{cose}transfer-encoding: chunked\r\n"));
    for piece in body.chunks(1 << 16) {
        bytes.extend(format!("{:x}\r\n", piece.len()).as_bytes());
        bytes.extend(piece);
        bytes.extend(b"\r\n");
    }
    assert_eq!(world.send_raw(&bytes).await.status, 413);
}

//! Our master against pymodbus's server and its client against our slave, over loopback TCP.
//!
//! Runs with the interpreter that `ECOWATT_PYTHON` names (`cargo xtask test` provides one with
//! pymodbus), and prints a warning when it is not set.

use std::ffi::OsString;
use std::io::Write;
use std::process::Stdio;

use ecowatt_modbus::Framing;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;

use crate::ours::{PATIENCE, ask_everything, slave};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/pymodbus_oracle.py");

fn interpreter(test: &str) -> Option<OsString> {
    let python = std::env::var_os("ECOWATT_PYTHON");
    if python.is_none() {
        // Not with `eprintln!`: the test harness hides its output when a test passes.
        let line = format!("SKIPPED {test}: ECOWATT_PYTHON names no interpreter with pymodbus\n");
        std::io::stderr().write_all(line.as_bytes()).unwrap();
    }
    python
}

fn name(framing: Framing) -> &'static str {
    match framing {
        Framing::Tcp => "tcp",
        Framing::Rtu => "rtu",
    }
}

async fn our_master_understands_its_server(framing: Framing) {
    let Some(python) = interpreter("our_master_understands_its_server") else { return };
    let mut server = Command::new(python)
        .args([SCRIPT, "server", name(framing)])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
    let port = tokio::time::timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap();
    let port: u16 = port.expect("pymodbus starts").parse().unwrap();
    ask_everything(TcpStream::connect(("127.0.0.1", port)).await.unwrap(), framing).await;
}

async fn its_client_understands_our_slave(framing: Framing) {
    let Some(python) = interpreter("its_client_understands_our_slave") else { return };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let ours = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        slave(stream, framing).await;
    });
    let client = Command::new(python)
        .args([SCRIPT, "client", name(framing), &port])
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(PATIENCE, client).await.unwrap().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    ours.await.unwrap();
}

#[tokio::test]
async fn our_master_understands_its_tcp_server() {
    our_master_understands_its_server(Framing::Tcp).await;
}

#[tokio::test]
async fn our_master_understands_its_rtu_server() {
    our_master_understands_its_server(Framing::Rtu).await;
}

#[tokio::test]
async fn its_tcp_client_understands_our_slave() {
    its_client_understands_our_slave(Framing::Tcp).await;
}

#[tokio::test]
async fn its_rtu_client_understands_our_slave() {
    its_client_understands_our_slave(Framing::Rtu).await;
}

//! The Python client of `examples/python-client`, which shares no code with the product:
//! as a device of the real server, as the server of a real agent, and with the vectors of both.
//!
//! Runs with the interpreter that `ECOWATT_PYTHON` names (`cargo xtask test` provides one with what
//! the client needs), and prints a warning without one.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use ecowatt_clock::Clock;
use ecowatt_codec::{
    Batch, COLUMNS_MAX, CodecMemory, Decoder, Mark, TimeBase, encode, encoded_len_max,
};
use ecowatt_profile::Layout;
use serde_json::{Value, json};

use crate::rig::server::{Plant, Server, wait_for};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A script of the client, or none if there is nothing to run it with.
fn script(test: &str, name: &str) -> Option<Command> {
    let Some(python) = std::env::var_os("ECOWATT_PYTHON") else {
        // Not by `eprintln!`, which the test harness swallows when a test passes.
        let line = format!("NOT TESTED {test}: ECOWATT_PYTHON names no interpreter\n");
        std::io::stderr().write_all(line.as_bytes()).unwrap();
        return None;
    };
    let mut command = Command::new(python);
    // Compiled code would lie in the repository.
    command.arg("-B").arg(repository().join("examples/python-client").join(name));
    Some(command)
}

fn vectors_file() -> OsString {
    repository().join("testdata/link/vectors.json").into()
}

fn vectors() -> Value {
    serde_json::from_str(&std::fs::read_to_string(vectors_file()).unwrap()).unwrap()
}

fn bytes(hex: &Value) -> Vec<u8> {
    let hex = hex.as_str().unwrap();
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// A table of numbers, row after row.
fn cells(table: &Value) -> Vec<u16> {
    let rows = table.as_array().unwrap().iter();
    let cells = rows.flat_map(|row| row.as_array().unwrap());
    cells.map(|cell| u16::try_from(cell.as_u64().unwrap()).unwrap()).collect()
}

#[test]
fn vectors_are_what_the_codec_writes_and_reads() {
    for vector in vectors()["batches"].as_array().unwrap() {
        let name = &vector["name"];
        let times: Vec<i64> = serde_json::from_value(vector["times"].clone()).unwrap();
        let (words, marks) = (cells(&vector["words"]), cells(&vector["marks"]));
        let marks: Vec<_> = marks
            .iter()
            .map(|code| Mark::from_code(u8::try_from(*code).unwrap()).unwrap())
            .collect();
        let columns = words.len() / times.len();
        let base = match vector["since_boot"].as_bool() {
            Some(true) => TimeBase::SinceBoot,
            _ => TimeBase::Unix,
        };
        let batch = Batch { base, columns, times: &times, words: &words, marks: Some(&marks) };
        let mut state = Box::new(CodecMemory::<COLUMNS_MAX>::new());
        let mut out = vec![0; encoded_len_max(times.len(), columns)];
        let length = encode(&batch, &mut state, &mut out).unwrap();
        let expected = bytes(&vector["bytes"]);
        assert_eq!(out[..length], expected, "{name}");

        let mut decoder = Decoder::new(&expected, &mut state).unwrap();
        assert_eq!((decoder.base(), decoder.columns()), (base, columns), "{name}");
        let (mut row, mut row_marks) = (vec![0; columns], vec![Mark::Read; columns]);
        let mut decoded = (Vec::new(), Vec::new(), Vec::new());
        while let Some(time) = decoder.next_row(&mut row, &mut row_marks).unwrap() {
            decoded.0.push(time);
            decoded.1.extend_from_slice(&row);
            decoded.2.extend_from_slice(&row_marks);
        }
        assert_eq!(decoded, (times, words, marks), "{name}");
    }
}

#[test]
fn vectors_are_layouts() {
    for vector in vectors()["layouts"].as_array().unwrap() {
        let encoded = bytes(&vector["bytes"]);
        let layout = Layout::from_cbor(&encoded).unwrap();
        assert_eq!(json!(layout.columns().len()), vector["columns"]);
        assert_eq!(layout.to_cbor(), encoded);
    }
}

#[test]
fn client_reads_and_writes_the_vectors() {
    let Some(mut vectors) = script("client_reads_and_writes_the_vectors", "vectors.py") else {
        return;
    };
    let output = vectors.arg(vectors_file()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// One inverter with a scale of its own for each of three points.
fn layout() -> Value {
    json!({
        "profile": "acme/solo", "profile_version": 1, "groups_ms": [1000, 60_000],
        "reads": [
            {"table": "input", "group": 0, "runs": [[10, 1], [12, 2]]},
            {"table": "holding", "group": 1, "runs": [[40, 1]]},
        ],
        "points": [
            {"name": "ac.power", "unit": "W", "kind": "i16", "first_column": 0,
             "min": -100, "max": 6000, "sentinels": [0x8000]},
            {"name": "ac.energy.total", "unit": "Wh", "kind": "u32", "first_column": 1,
             "multiplier": 100, "counter": "monotonic"},
            {"name": "temp.internal", "unit": "degC", "kind": "i16", "first_column": 3, "places": 1},
        ],
    })
}

/// What the device is to send, with times from `start`: samples with and without gaps, samples from
/// before the clock was set, and news of lost ones.
fn plan(start: i64) -> Value {
    let regular: Vec<_> = (0..6).map(|row| start + 1000 * row).collect();
    json!({
        "layout": layout(),
        "status": ["acme 1.2", 3, 10, 2, 1234, 65_536, 7, -250, [[0, 1, 40, 3, 1]]],
        "batches": [
            {"times": regular,
             "words": [[1500, 1, 0, 215], [0, 1, 1, 0], [65_500, 1, 1, 0], [0x8000, 1, 2, 0],
                       [0, 0, 0, 0], [6001, 1, 3, 65_531]],
             "marks": [[0, 0, 0, 0], [2, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 1],
                       [7, 7, 7, 7], [0, 0, 0, 0]]},
            // An hour later, at odd instants.
            {"times": [start + 3_600_123, start + 3_601_131, start + 3_650_001],
             "words": [[1, 1, 4, 10], [2, 1, 4, 11], [3, 1, 5, 12]]},
            // Ten seconds after the start of the epoch, two hours after the first.
            {"times": [10_000, 11_000], "since_boot": true, "start": [start + 7_200_000, 1],
             "words": [[4, 1, 6, 13], [5, 1, 6, 14]]},
        ],
        "dropped": [[4, 5, 20], [0, 0, 6]],
    })
}

/// Asks the operator API.
fn get(server: &Server, path: &str) -> Value {
    let host = server.url.strip_prefix("http://").unwrap();
    let token = std::fs::read_to_string(server.file("owner")).unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    write!(
        stream,
        "GET /api/v1/{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\
         authorization: Bearer {token}\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
    serde_json::from_str(body).unwrap_or_else(|_| panic!("{answer}"))
}

fn run(mut client: Command, plan: &Value) -> Value {
    let piped = client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap();
    child.stdin.take().unwrap().write_all(plan.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn client_is_a_device_of_the_server() {
    let Some(mut client) = script("client_is_a_device_of_the_server", "device.py") else { return };
    let server = Server::start();
    let code = server.enrol("Roof", "Home");
    client.args([&server.url, &code]);
    let now = Clock::system().now().0;
    let start = now - now % 1000 - 86_400_000;
    let said = run(client, &plan(start));

    // Three messages: nothing to acknowledge, three batches, the same again.
    let replies = said["replies"].as_array().unwrap();
    let acks: Vec<_> = replies.iter().map(|reply| &reply["1"]).collect();
    let all = json!([[said["epoch"], 1, 3]]);
    assert_eq!(acks, [&Value::Null, &all, &all], "{said}");
    assert!(replies.iter().all(|reply| reply["3"].is_null() && reply["4"].is_null()), "{said}");
    let time = replies[0]["2"].as_i64().unwrap();
    assert!((time - now).abs() < 600_000, "{said}");

    let shown = get(&server, "devices/dev-1");
    assert_eq!(shown["link"]["samples"], 11, "{shown}");
    assert_eq!(shown["link"]["batches"], 3, "{shown}");
    assert_eq!(shown["firmware"], "acme 1.2", "{shown}");
    let diagnostics = [
        ("boot_reason", "first"),
        ("samples", "10"),
        ("backlog_batches", "2"),
        ("spool_bytes", "1234"),
        ("spool_capacity_bytes", "65536"),
        ("link_failures", "7"),
        ("clock_deviation_ms", "-250"),
        ("inverter_0_requests", "40"),
        ("inverter_0_failures", "3"),
        ("inverter_0_quarantined", "1"),
    ];
    assert_eq!(shown["diagnostics"], json!(diagnostics), "{shown}");

    let [from, to] = [start, now].map(|ms| jiff::Timestamp::from_millisecond(ms).unwrap());
    let range = format!("from={from}&to={to}");
    let history = get(&server, &format!("devices/dev-1/telemetry?resolution=raw&{range}"));
    let times: Vec<_> = [0, 1000, 2000, 3000, 4000, 5000, 3_600_123, 3_601_131, 3_650_001]
        .iter()
        .chain(&[7_210_000, 7_211_000])
        .map(|after| start + after)
        .collect();
    assert_eq!(history["t_ms"], json!(times), "{history}");
    let series = |name: &str| {
        let all = history["series"].as_array().unwrap();
        all.iter().find(|series| series["point"] == name).unwrap().clone()
    };
    let power = series("ac.power");
    let expected = json!([1500.0, null, -36.0, null, null, null, 1.0, 2.0, 3.0, 4.0, 5.0]);
    assert_eq!(power["value"], expected, "{power}");
    let why = json!([[1, "timeout"], [3, "not_implemented"], [4, "asleep"], [5, "out_of_range"]]);
    assert_eq!(power["not_good"], why, "{power}");
    let energy = series("ac.energy.total");
    let hundreds = [65536, 65537, 65537, 65538, 0, 65539, 65540, 65540, 65541, 65542, 65542];
    let expected: Vec<_> = hundreds
        .iter()
        .map(|count| if *count == 0 { Value::Null } else { json!(f64::from(*count) * 100.0) })
        .collect();
    assert_eq!(energy["value"], json!(expected), "{energy}");
    let temperature = series("temp.internal");
    let expected = json!([21.5, null, null, null, null, -0.5, 1.0, 1.1, 1.2, 1.3, 1.4]);
    assert_eq!(temperature["value"], expected, "{temperature}");
    let why = json!([[1, "not_due"], [2, "not_due"], [3, "not_due"], [4, "asleep"]]);
    assert_eq!(temperature["not_good"], why, "{temperature}");
}

/// The client as a server, with what it has printed.
struct ForeignServer {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl ForeignServer {
    fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.lines.read_line(&mut line).unwrap() > 0, "it ended");
        line
    }
}

impl Drop for ForeignServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Samples of an agent's log as the client prints them.
fn logged(path: &str) -> BTreeSet<String> {
    let numbers = |text: &str| text.split('|').map(str::to_owned).collect::<Vec<_>>().join(", ");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let complete = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    complete
        .map(|line| {
            let [epoch, _, source, time, words, marks] =
                line.trim_end().split(',').collect::<Vec<_>>()[..]
            else {
                panic!("{line}")
            };
            // Samples from before the first reply get their instant with the batch.
            let time = if time.starts_with('b') { "?" } else { time };
            format!("[{epoch}, {source}, {time}, [{}], [{}]]", numbers(words), numbers(marks))
        })
        .collect()
}

#[test]
fn client_reads_what_an_agent_sends() {
    let Some(mut client) = script("client_reads_what_an_agent_sends", "server.py") else { return };
    let code = "7KQ2M-0ABCD-EFGHJ-KMNPQ";
    let mut child = client.arg(code).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap());
    let mut foreign = ForeignServer { child, lines };
    let port = foreign.line();
    let plant = Plant::start();
    let _agent = plant.agent_of(&format!("http://127.0.0.1:{}", port.trim()), code);

    // Enough for several batches, most of them from after the clock was set.
    let log = plant.file("samples.csv");
    for _ in 0..20 {
        let line = foreign.line();
        let printed = line.trim_end().to_owned();
        let mut parts = printed.splitn(4, ", ");
        let (epoch, source) = (parts.next().unwrap(), parts.next().unwrap());
        let (_, rest) = (parts.next().unwrap(), parts.next().unwrap());
        let before_the_clock = format!("{epoch}, {source}, ?, {rest}");
        let found = || {
            let logged = logged(&log);
            (logged.contains(&printed) || logged.contains(&before_the_clock)).then_some(())
        };
        wait_for(&format!("{printed} in the agent's log"), found);
    }
    // Before its client goes, which it would complain about.
    drop(foreign);
}

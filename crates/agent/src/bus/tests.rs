//! Buses against scripted inverters and gateways on real sockets and lines.

mod simulated;
mod units;
mod writes;

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc as threads;

use ecowatt_modbus::{Header, Reply, Words, encode_reply};
use rustix::pty::OpenptFlags;

use super::*;

// Long enough that a script is not late by itself on a busy machine.
const TIMEOUT: Duration = Duration::from_millis(400);
const PACE: Pace = Pace {
    connect_delay: Duration::ZERO,
    gap_min: Duration::ZERO,
    answer_max: Duration::from_millis(1_200),
};
/// Register n of the scripted inverters holds this much more than n.
const BASE: u16 = 0x1100;
const UNIT: u8 = 1;

/// What a scripted gateway sends for one request: bytes, each after a pause.
type Script = Vec<(Duration, Vec<u8>)>;

fn at_once(bytes: Vec<u8>) -> (Duration, Vec<u8>) {
    (Duration::ZERO, bytes)
}

fn after(ms: u64, bytes: Vec<u8>) -> (Duration, Vec<u8>) {
    (Duration::from_millis(ms), bytes)
}

/// The right answer to a request in RTU framing.
fn rtu_answer(request: &[u8]) -> Vec<u8> {
    let (address, count) = (word(request, 2), word(request, 4));
    answer_with(Framing::Rtu, 0, &(0..count).map(|i| BASE + address + i).collect::<Vec<_>>())
}

/// Another master's request for one register.
fn foreign_request() -> Vec<u8> {
    let request = [UNIT, 3, 0, 7, 0, 1];
    [&request[..], &ecowatt_modbus::crc16(&request).to_le_bytes()].concat()
}

fn answer_with(framing: Framing, transaction: u16, words: &[u16]) -> Vec<u8> {
    let reply: Reply<'_> = Ok(Response::ReadHoldingRegisters(Words::new(words)));
    let mut out = [0; 260];
    let len = encode_reply(framing, Header { transaction, unit: UNIT }, &reply, &mut out).unwrap();
    out[..len].to_vec()
}

fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// Serves requests of `len` bytes by a script that knows their number, until the bus is gone.
fn serve(
    mut port: impl std::io::Read + std::io::Write,
    len: usize,
    mut script: impl FnMut(usize, &[u8]) -> Script,
    number: &mut usize,
) {
    let mut request = vec![0; len];
    while port.read_exact(&mut request).is_ok() {
        for (pause, bytes) in script(*number, &request) {
            std::thread::sleep(pause);
            if port.write_all(&bytes).is_err() {
                return;
            }
        }
        *number += 1;
    }
}

/// A gateway on a socket. Connections follow each other; each may also be spoken on by others.
fn gateway(
    len: usize,
    mut script: impl FnMut(usize, &[u8]) -> Script + Send + 'static,
    mut others: impl FnMut(TcpStream) + Send + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let mut number = 0;
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            stream.set_nodelay(true).unwrap();
            others(stream.try_clone().unwrap());
            serve(stream, len, &mut script, &mut number);
        }
    });
    address
}

fn rtu_gateway(script: impl FnMut(usize, &[u8]) -> Script + Send + 'static) -> Bus {
    bus(Address::RtuOverTcp(gateway(8, script, |_| {})))
}

fn bus(address: Address) -> Bus {
    Bus::new(address, PACE, Clock::system())
}

/// A line whose other end follows a script.
fn line(script: impl FnMut(usize, &[u8]) -> Script + Send + 'static) -> Bus {
    let master = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    rustix::pty::grantpt(&master).unwrap();
    rustix::pty::unlockpt(&master).unwrap();
    let name = rustix::pty::ptsname(&master, Vec::new()).unwrap();
    let path = std::path::PathBuf::from(name.to_str().unwrap());
    let format = ecowatt_profile::SerialFormat::NoneOne;
    let bus = bus(Address::Serial(Serial { path, baud: 9_600, format }));
    std::thread::spawn(move || {
        let mut script = script;
        let mut port = File::from(master);
        // Without an open other end, a read fails.
        loop {
            serve(&mut port, 8, &mut script, &mut 0);
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    bus
}

async fn read(bus: &mut Bus, address: u16, count: u16) -> Answer {
    read_within(bus, address, count, TIMEOUT).await
}

async fn read_within(bus: &mut Bus, address: u16, count: u16, timeout: Duration) -> Answer {
    let read = Read::of_all(Table::Holding, address, count, 0, 0);
    let (exchange, (done, _)) = (Exchange::Read(read), mpsc::channel(1));
    bus.carry_out(&Job { source: SourceNumber(0), unit: UNIT, exchange, timeout, done })
        .await
        .answer
}

fn right(address: u16, count: u16) -> Answer {
    Answer::Words((0..count).map(|i| BASE + address + i).collect())
}

/// Reads one register after the other; none may have another's word. How many were read.
async fn read_many(bus: &mut Bus, count: u16) -> usize {
    let mut is_read = 0;
    for address in 0..count {
        match read(bus, address, 1).await {
            Answer::Words(words) => {
                assert_eq!(Answer::Words(words), right(address, 1), "register {address}");
                is_read += 1;
            }
            Answer::Timeout | Answer::Garbled => {}
            other => panic!("{other:?}"),
        }
    }
    is_read
}

#[tokio::test]
async fn answer_that_came_during_a_standstill_is_a_timeout() {
    let (asked, mut requests) = mpsc::unbounded_channel();
    let (answer, may_answer) = threads::channel();
    let mut bus = rtu_gateway(move |_, request| {
        asked.send(()).unwrap();
        may_answer.recv().unwrap();
        vec![at_once(rtu_answer(request))]
    });
    let stand_still = async {
        requests.recv().await.unwrap();
        answer.send(()).unwrap();
        // The executor is this thread, so the answer is not seen before the sleep ends.
        std::thread::sleep(TIMEOUT + LATE_MAX + Duration::from_millis(100));
    };
    let (done, ()) = tokio::join!(read(&mut bus, 0, 1), stand_still);
    assert_eq!(done, Answer::Timeout);

    answer.send(()).unwrap();
    assert_eq!(read(&mut bus, 1, 1).await, right(1, 1));
}

#[tokio::test]
async fn a_stray_answer_between_two_reads_shifts_nothing() {
    for stray in [answer_with(Framing::Rtu, 0, &[9]), vec![UNIT, 3, 2], vec![0xFF; 40]] {
        let mut bus = rtu_gateway(move |number, request| {
            let mut script = vec![at_once(rtu_answer(request))];
            if number == 2 {
                script.push(after(300, stray.clone()));
            }
            script
        });
        assert_eq!(read_many(&mut bus, 3).await, 3);
        tokio::time::sleep(Duration::from_millis(400)).await;
        assert_eq!(read_many(&mut bus, 5).await, 5);
    }
}

#[tokio::test]
async fn doubled_answers_do_no_harm() {
    for gap in [0, 5, 80, 150] {
        let mut bus = rtu_gateway(move |_, request| {
            vec![at_once(rtu_answer(request)), after(gap, rtu_answer(request))]
        });
        assert!(read_many(&mut bus, 6).await >= 3, "doubled after {gap} ms");
    }
}

#[tokio::test]
async fn late_answers_pass_for_no_other() {
    // Later than the wait, and later than any answer should be.
    for late in [500, 1_500] {
        let script = move |number: usize, request: &[u8]| {
            let late = if number % 4 == 1 { late } else { 0 };
            vec![after(late, rtu_answer(request))]
        };
        let mut gateway = rtu_gateway(script);
        assert!(read_many(&mut gateway, 8).await >= 4, "{late} ms late");
        let mut line = line(script);
        assert!(read_many(&mut line, 8).await >= 4, "{late} ms late on a line");
    }
}

#[tokio::test]
async fn of_two_answers_none_is_believed() {
    let foreign = answer_with(Framing::Rtu, 0, &[9]);
    let first = foreign.clone();
    let mut bus = rtu_gateway(move |number, request| match number {
        // The other master's answer comes before ours, apart from it or glued to it, or after it.
        1 => vec![at_once(first.clone()), after(30, rtu_answer(request))],
        3 => vec![at_once([first.clone(), rtu_answer(request)].concat())],
        5 => vec![at_once(rtu_answer(request)), after(30, first.clone())],
        _ => vec![at_once(rtu_answer(request))],
    });
    for number in 0..8 {
        let answer = read(&mut bus, number, 1).await;
        let expected = if [1, 3, 5].contains(&number) { Answer::Garbled } else { right(number, 1) };
        assert_eq!(answer, expected, "read {number}");
    }
}

#[tokio::test]
async fn a_second_master_behind_the_gateway_is_told_apart() {
    // It hears both masters' answers, and each of them takes its time.
    let (slow, fast) = (Duration::from_millis(40), Duration::from_millis(23));
    let address = gateway(
        8,
        move |_, request| vec![(slow, rtu_answer(request))],
        move |mut stream| {
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(500));
                while stream.write_all(&answer_with(Framing::Rtu, 0, &[9])).is_ok() {
                    std::thread::sleep(fast * 31);
                }
            });
        },
    );
    let mut bus = bus(Address::RtuOverTcp(address));
    assert!(read_many(&mut bus, 24).await >= 12);
}

#[tokio::test]
async fn a_foreign_request_on_the_line_tells_whose_the_answer_is() {
    let mut bus = line(|number, request| match number {
        1 => vec![at_once([foreign_request(), answer_with(Framing::Rtu, 0, &[9])].concat())],
        _ => vec![at_once(rtu_answer(request))],
    });
    assert_eq!(read(&mut bus, 0, 1).await, right(0, 1));
    assert_eq!(read(&mut bus, 1, 1).await, Answer::Garbled);
    assert_eq!(read(&mut bus, 2, 1).await, right(2, 1));
}

#[tokio::test]
async fn an_echo_on_the_line_is_taken_off() {
    let mut bus =
        line(|_, request| vec![at_once(request.to_vec()), after(10, rtu_answer(request))]);
    assert_eq!(read_many(&mut bus, 6).await, 6);
    let mut dead = line(|_, request| vec![at_once(request.to_vec())]);
    assert_eq!(read(&mut dead, 0, 1).await, Answer::Timeout);
}

#[tokio::test]
async fn an_answer_that_has_begun_is_let_in() {
    // 100 registers at 9,600 Bd take 213 ms after the first byte.
    let dribble = |_: usize, request: &[u8]| {
        let bytes = rtu_answer(request);
        let mut script = vec![after(150, bytes[..5].to_vec())];
        script.extend(bytes[5..].chunks(20).map(|piece| after(20, piece.to_vec())));
        script
    };
    assert_eq!(read(&mut line(dribble), 0, 100).await, right(0, 100));
    assert_eq!(read(&mut rtu_gateway(dribble), 0, 100).await, right(0, 100));

    let babble = |_: usize, _: &[u8]| vec![after(10, vec![0x55; 8]); 400];
    let world = Clock::system();
    let began = world.mono();
    assert_eq!(read(&mut line(babble), 0, 1).await, Answer::Garbled);
    let took = world.mono().since(began);
    assert!(took < TIMEOUT + Duration::from_secs(1), "{took:?}");
}

#[tokio::test]
async fn a_connection_outlives_one_late_answer() {
    let (connected, connections) = threads::channel();
    let address = gateway(
        12,
        |number, request| {
            if number > 3 {
                return Script::new();
            }
            let late = if number == 1 { 600 } else { 0 };
            vec![after(
                late,
                answer_with(Framing::Tcp, word(request, 0), &[BASE + word(request, 8)]),
            )]
        },
        move |_| connected.send(()).unwrap(),
    );
    let mut bus = bus(Address::Tcp(address));
    assert_eq!(read(&mut bus, 0, 1).await, right(0, 1));
    assert_eq!(read(&mut bus, 1, 1).await, Answer::Timeout);
    assert_eq!(read(&mut bus, 2, 1).await, right(2, 1), "the late answer is skipped by its number");
    assert_eq!(read(&mut bus, 3, 1).await, right(3, 1));
    assert_eq!(connections.try_iter().count(), 1);
    assert_eq!(read(&mut bus, 4, 1).await, Answer::Timeout);
    assert_eq!(read(&mut bus, 5, 1).await, Answer::Timeout);
    assert_eq!(read(&mut bus, 6, 1).await, Answer::Timeout);
    connections.recv_timeout(Duration::from_secs(10)).expect("two in a row open it again");
}

#[tokio::test]
async fn pieces_of_the_next_frame_are_kept() {
    // Each answer comes with half of a doubled one; the other half comes before the next answer.
    let address = gateway(
        12,
        |_, request| {
            let bytes = answer_with(Framing::Tcp, word(request, 0), &[BASE + word(request, 8)]);
            let (head, tail) = (bytes[..4].to_vec(), bytes[4..].to_vec());
            vec![at_once([bytes, head].concat()), after(30, tail)]
        },
        |_| {},
    );
    let mut bus = bus(Address::Tcp(address));
    assert_eq!(read_many(&mut bus, 6).await, 6);
}

#[tokio::test]
async fn a_gateway_without_transaction_numbers_is_named_and_can_be_used() {
    let constant = |_: usize, request: &[u8]| {
        vec![at_once(answer_with(Framing::Tcp, 0, &[BASE + word(request, 8)]))]
    };
    let mut strict = bus(Address::Tcp(gateway(12, constant, |_| {})));
    let answer = read(&mut strict, 0, 1).await;
    assert_eq!(answer, Answer::OtherNumber);
    assert!(answer.hint().unwrap().contains("transactions=any"));

    let mut lenient = bus(Address::UnnumberedTcp(gateway(12, constant, |_| {})));
    assert_eq!(read_many(&mut lenient, 5).await, 5);
    let late = move |number: usize, request: &[u8]| {
        let late = if number % 4 == 1 { 250 } else { 0 };
        vec![after(late, answer_with(Framing::Tcp, 0, &[BASE + word(request, 8)]))]
    };
    let mut lenient = bus(Address::UnnumberedTcp(gateway(12, late, |_| {})));
    assert!(read_many(&mut lenient, 8).await >= 4);
}

#[tokio::test]
async fn an_answer_that_comes_on_the_next_connection_shifts_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let (mut unanswered, mut has_broken): (Option<Vec<u8>>, bool) = (None, false);
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            // The answer to the request at which the connection broke.
            if let Some(request) = unanswered.take() {
                std::thread::sleep(Duration::from_millis(200));
                stream.write_all(&rtu_answer(&request)).unwrap();
            }
            let mut request = vec![0; 8];
            while stream.read_exact(&mut request).is_ok() {
                if word(&request, 2) == 3 && !has_broken {
                    (unanswered, has_broken) = (Some(request), true);
                    break;
                }
                std::thread::sleep(Duration::from_millis(600));
                if stream.write_all(&rtu_answer(&request)).is_err() {
                    break;
                }
            }
        }
    });
    let mut bus = bus(Address::RtuOverTcp(address));
    for address in 0..8 {
        let answer = read_within(&mut bus, address, 1, PACE.answer_max).await;
        assert_eq!(answer, right(address, 1), "register {address}");
    }
}

#[tokio::test]
async fn a_gateway_that_closes_after_each_answer_is_read() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 8];
            if stream.read_exact(&mut request).is_ok() {
                stream.write_all(&rtu_answer(&request)).unwrap();
            }
        }
    });
    let mut bus = bus(Address::RtuOverTcp(address));
    assert_eq!(read_many(&mut bus, 8).await, 8);
}

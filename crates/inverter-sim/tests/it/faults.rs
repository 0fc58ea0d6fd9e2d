//! Each fault has its documented effect on the wire.

use std::time::Duration;

use ecowatt_inverter_sim::fault::{FaultSpec, Kind};
use ecowatt_inverter_sim::{Running, Simulation};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::rig::{
    READ_TEN, assert_well, calm, everywhere, exchange, get, healthy, http, rtu, start, tcp, within,
};

async fn faulty(spec: FaultSpec) -> Running {
    let simulation = Simulation { faults: vec![spec], ..Simulation::healthy(calm()) };
    start(simulation, &everywhere(), 1.0).await
}

/// Removes the fault and checks that the inverter is healthy again.
async fn heals(running: &Running) {
    assert_eq!(http(running, "DELETE", "/faults", None).await.0, 204);
    assert_well(running).await;
}

async fn ask_rtu(running: &Running, pdu: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(running.addresses().rtu_tcp.unwrap()).await.unwrap();
    within(exchange(&mut stream, &rtu(0x11, pdu))).await
}

async fn ask_tcp(running: &Running, pdu: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(running.addresses().tcp.unwrap()).await.unwrap();
    within(exchange(&mut stream, &tcp(3, 0x11, pdu))).await
}

#[tokio::test]
async fn wrong_crc_breaks_only_the_frame() {
    let running = faulty(FaultSpec::always(Kind::WrongCrc)).await;
    let answer = ask_rtu(&running, &READ_TEN).await;
    assert_eq!((answer.len(), &answer[..3]), (25, &[0x11, 3, 20][..]));
    assert_ne!(ecowatt_modbus::crc16(&answer), 0);
    let answer = ask_tcp(&running, &READ_TEN).await;
    assert_ne!(answer[2..4], [0, 0]);
    heals(&running).await;
}

#[tokio::test]
async fn truncated_answers_end_early() {
    let running = faulty(FaultSpec::always(Kind::Truncated)).await;
    let answer = ask_rtu(&running, &READ_TEN).await;
    assert!((1..25).contains(&answer.len()), "{answer:?}");
    assert!((1..29).contains(&ask_tcp(&running, &READ_TEN).await.len()));
    heals(&running).await;
}

#[tokio::test]
async fn garbage_precedes_an_answer() {
    let running = faulty(FaultSpec::always(Kind::Garbage)).await;
    let answer = ask_rtu(&running, &READ_TEN).await;
    assert!((26..=41).contains(&answer.len()), "{answer:?}");
    assert_eq!(ecowatt_modbus::crc16(&answer[answer.len() - 25..]), 0);
    heals(&running).await;
}

#[tokio::test]
async fn overlong_answers_have_more_than_was_requested() {
    let running = faulty(FaultSpec::always(Kind::Overlong)).await;
    let answer = ask_rtu(&running, &READ_TEN).await;
    assert!(answer.len() > 25 && answer[2] > 20, "{answer:?}");
    assert_eq!(ecowatt_modbus::crc16(&answer), 0);
    heals(&running).await;
}

#[tokio::test]
async fn a_duplicate_is_the_same_answer_twice() {
    let running = faulty(FaultSpec::always(Kind::Duplicate)).await;
    let answer = ask_rtu(&running, &READ_TEN).await;
    assert_eq!((answer.len(), &answer[..25]), (50, &answer[25..]));
    heals(&running).await;
}

#[tokio::test]
async fn wrong_unit_and_wrong_function_are_in_valid_frames() {
    let running = faulty(FaultSpec::always(Kind::WrongUnit)).await;
    let answer = ask_rtu(&running, &READ_TEN).await;
    assert_eq!((answer[0] == 0x11, answer[1], ecowatt_modbus::crc16(&answer)), (false, 3, 0));
    heals(&running).await;

    let running = faulty(FaultSpec::always(Kind::WrongFunction)).await;
    let answer = ask_rtu(&running, &READ_TEN).await;
    assert_eq!((answer[0], answer[1] == 3, ecowatt_modbus::crc16(&answer)), (0x11, false, 0));
    heals(&running).await;
}

#[tokio::test]
async fn a_stale_answer_is_the_previous_one() {
    let running = faulty(FaultSpec::always(Kind::StaleAnswer)).await;
    let mut stream = TcpStream::connect(running.addresses().tcp.unwrap()).await.unwrap();
    let ask = |transaction, address| tcp(transaction, 0x11, &[3, 0, address, 0, 1]);
    assert!(exchange(&mut stream, &ask(1, 8)).await.is_empty());
    let answer = exchange(&mut stream, &ask(2, 0)).await;
    assert_eq!(answer, [0, 1, 0, 0, 0, 5, 0x11, 3, 2, 0, 100]);
    heals(&running).await;
}

#[tokio::test]
async fn exceptions_refuse_only_their_registers() {
    for code in 1..=6 {
        let spec = FaultSpec {
            code: Some(code),
            addresses: Some([4, 4]),
            ..FaultSpec::always(Kind::Exception)
        };
        let running = faulty(spec).await;
        assert_eq!(ask_rtu(&running, &READ_TEN).await[..3], [0x11, 0x83, code]);
        assert_eq!(ask_tcp(&running, &[3, 0, 0, 0, 4]).await.len(), 17);
        let write = ask_rtu(&running, &[6, 0, 8, 0, 50]).await;
        assert_eq!(write[..6], [0x11, 6, 0, 8, 0, 50]);
    }
}

#[tokio::test]
async fn silence_leaves_the_connection_open() {
    let spec = FaultSpec { times: Some(2), ..FaultSpec::always(Kind::Silence) };
    let running = faulty(spec).await;
    let mut stream = TcpStream::connect(running.addresses().tcp.unwrap()).await.unwrap();
    for expected in [0, 0, 29] {
        let answer = within(exchange(&mut stream, &tcp(1, 0x11, &READ_TEN))).await;
        assert_eq!(answer.len(), expected);
    }
}

#[tokio::test]
async fn a_delay_is_at_least_as_long_as_configured() {
    let spec = FaultSpec { delay_ms: Some(400), ..FaultSpec::always(Kind::Delay) };
    let running = faulty(spec).await;
    let clock = ecowatt_clock::Clock::system();
    let mut stream = TcpStream::connect(running.addresses().tcp.unwrap()).await.unwrap();
    let before = clock.mono();
    stream.write_all(&tcp(1, 0x11, &READ_TEN)).await.unwrap();
    let mut answer = [0; 29];
    within(stream.read_exact(&mut answer)).await.unwrap();
    assert!(clock.mono().since(before) >= Duration::from_millis(399));
}

#[tokio::test]
async fn a_reset_reaches_the_client() {
    let running = faulty(FaultSpec::always(Kind::Reset)).await;
    let mut stream = TcpStream::connect(running.addresses().tcp.unwrap()).await.unwrap();
    stream.write_all(&tcp(1, 0x11, &READ_TEN)).await.unwrap();
    let error = within(stream.read(&mut [0; 64])).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    heals(&running).await;
}

#[tokio::test]
async fn a_rebooting_inverter_is_unreachable_for_a_simulated_minute() {
    let running = start(Simulation::healthy(calm()), &everywhere(), 30.0).await;
    assert_eq!(ask_rtu(&running, &[6, 0, 8, 0, 50]).await.len(), 8);
    let mut before = TcpStream::connect(running.addresses().tcp.unwrap()).await.unwrap();
    assert_eq!(exchange(&mut before, &tcp(1, 0x11, &READ_TEN)).await.len(), 29);
    assert_eq!(http(&running, "POST", "/faults", Some(r#"{"kind":"reboot"}"#)).await.0, 201);
    before.write_all(&tcp(2, 0x11, &READ_TEN)).await.unwrap();
    assert!(within(before.read(&mut [0; 64])).await.is_err());
    assert!(ask_tcp(&running, &READ_TEN).await.is_empty());
    within(async {
        while get(&running, "/state").await["is_away"] == true {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    let answer = ask_rtu(&running, &[3, 0, 8, 0, 1]).await;
    assert_eq!(answer[..5], [0x11, 3, 2, 0, 100]);
    let own_clock = get(&running, "/state").await["reading"]["own_clock_ms"].as_i64().unwrap();
    assert!((946_684_800_000..946_771_200_000).contains(&own_clock), "{own_clock}");
}

#[tokio::test]
async fn frozen_registers_stay_as_they_were() {
    let running = start(
        Simulation { faults: vec![FaultSpec::always(Kind::Frozen)], ..Simulation::healthy(calm()) },
        &everywhere(),
        600.0,
    )
    .await;
    let first = ask_rtu(&running, &READ_TEN).await;
    assert_eq!(ask_rtu(&running, &READ_TEN).await, first);
    http(&running, "DELETE", "/faults", None).await;
    assert_ne!(ask_rtu(&running, &READ_TEN).await, first);
}

#[tokio::test]
async fn a_second_client_is_refused_while_the_first_is_connected() {
    let running = faulty(FaultSpec::always(Kind::RefuseSecondClient)).await;
    let mut first = TcpStream::connect(running.addresses().tcp.unwrap()).await.unwrap();
    assert_eq!(exchange(&mut first, &tcp(1, 0x11, &READ_TEN)).await.len(), 29);
    assert!(ask_tcp(&running, &READ_TEN).await.is_empty());
    assert_eq!(exchange(&mut first, &tcp(2, 0x11, &READ_TEN)).await.len(), 29);
    drop(first);
    within(async { while ask_tcp(&running, &READ_TEN).await.is_empty() {} }).await;
}

#[tokio::test]
async fn a_write_may_be_confirmed_and_ignored() {
    let running = faulty(FaultSpec::always(Kind::WriteIgnored)).await;
    assert_eq!(ask_rtu(&running, &[6, 0, 8, 0, 50]).await[..6], [0x11, 6, 0, 8, 0, 50]);
    assert_eq!(ask_rtu(&running, &[3, 0, 8, 0, 1]).await[..5], [0x11, 3, 2, 0, 100]);
}

#[tokio::test]
async fn a_night_sleeper_answers_by_day() {
    let faults = vec![FaultSpec::always(Kind::NightSleep)];
    let simulation = Simulation { faults, ..Simulation::healthy(calm()) };
    let running = start(simulation, &everywhere(), 60.0).await;
    assert_eq!(ask_rtu(&running, &READ_TEN).await.len(), 25);
    let dark = r#"{"ghi_w_m2":0,"for_s":86400}"#;
    assert_eq!(http(&running, "POST", "/irradiance", Some(dark)).await.0, 204);
    within(async { while !ask_rtu(&running, &READ_TEN).await.is_empty() {} }).await;
    assert_eq!(http(&running, "DELETE", "/irradiance", None).await.0, 204);
    within(async { while ask_rtu(&running, &READ_TEN).await.is_empty() {} }).await;
}

#[tokio::test]
async fn without_a_grid_there_is_no_voltage_and_no_power() {
    let running = healthy().await;
    http(&running, "POST", "/faults", Some(r#"{"kind":"grid_loss","for_s":600}"#)).await;
    within(async {
        loop {
            let answer = ask_rtu(&running, &READ_TEN).await;
            let words: Vec<&[u8]> = answer[3..23].chunks(2).collect();
            if words[0] == [0, 0] && words[2] == [0, 0] && words[9] == [0, 0] {
                return;
            }
        }
    })
    .await;
}

//! Whatever is sent to a port, the next client is served.

use ecowatt_inverter_sim::physics::random::Random;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::rig::{READ_TEN, assert_well, exchange, get, healthy, listen, rtu, tcp, within};

fn noise(random: &mut Random, length: usize) -> Vec<u8> {
    (0..length).map(|_| u8::try_from(random.below(256)).unwrap()).collect()
}

#[tokio::test]
async fn noise_on_every_port_does_no_harm() {
    let running = healthy().await;
    let addresses = running.addresses().clone();
    let mut random = Random::new(2, 0);
    for round in 0..60 {
        for address in [addresses.tcp, addresses.rtu_tcp, addresses.control] {
            let mut stream = TcpStream::connect(address.unwrap()).await.unwrap();
            let length = 1 + random.below(if round % 10 == 0 { 20_000 } else { 300 });
            // The peer may close before it has read everything.
            drop(within(stream.write_all(&noise(&mut random, length))).await);
        }
    }
    assert_well(&running).await;
    get(&running, "/state").await;
}

#[tokio::test]
async fn inconsistent_requests_are_refused_or_close_the_connection() {
    let running = healthy().await;
    let address = running.addresses().tcp.unwrap();
    for (pdu, refusal) in [
        (&[3, 0, 0, 0, 0][..], [0x83, 3]),
        (&[3, 0, 0, 0, 126], [0x83, 3]),
        (&[3, 0xFF, 0xFF, 0, 2], [0x83, 2]),
        (&[3, 0, 0], [0x83, 3]),
        (&[16, 0, 8, 0, 1, 4, 0, 1, 0, 1], [0x90, 3]),
        (&[99], [0x80 | 99, 1]),
    ] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let answer = within(exchange(&mut stream, &tcp(1, 0x11, pdu))).await;
        assert_eq!(answer[7..], refusal, "{pdu:?}: {answer:?}");
    }
    for bytes in
        [&[0, 1, 0, 1, 0, 6, 0x11, 3, 0, 0, 0, 1][..], &[0, 1, 0, 0, 0, 0], &[0, 1, 0, 0, 9, 9]]
    {
        let mut stream = TcpStream::connect(address).await.unwrap();
        assert!(within(exchange(&mut stream, bytes)).await.is_empty());
        assert!(stream.write_all(&[0]).await.is_err() || listen(&mut stream).await.is_empty());
    }
    assert_well(&running).await;
}

#[tokio::test]
async fn split_and_joined_requests_are_decoded() {
    let running = healthy().await;
    let mut stream = TcpStream::connect(running.addresses().tcp.unwrap()).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let request = tcp(5, 0x11, &READ_TEN);
    for byte in &request {
        stream.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(within(listen(&mut stream)).await.len(), 29);
    let both = [request, tcp(6, 0x11, &READ_TEN)].concat();
    let answer = within(exchange(&mut stream, &both)).await;
    assert_eq!((answer.len(), answer[1], answer[30]), (58, 5, 6));
}

#[tokio::test]
async fn rtu_noise_is_skipped_within_a_connection() {
    let running = healthy().await;
    let mut stream = TcpStream::connect(running.addresses().rtu_tcp.unwrap()).await.unwrap();
    let mut random = Random::new(3, 0);
    for _ in 0..5 {
        within(exchange(&mut stream, &noise(&mut random, 700))).await;
        let answer = within(exchange(&mut stream, &rtu(0x11, &READ_TEN))).await;
        assert_eq!((answer.len(), ecowatt_modbus::crc16(&answer)), (25, 0));
    }
}

#[tokio::test]
async fn excess_clients_are_refused_until_others_leave() {
    let running = healthy().await;
    let address = running.addresses().tcp.unwrap();
    let mut guests = Vec::new();
    for _ in 0..ecowatt_inverter_sim::listeners::CLIENTS_MAX {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(&tcp(1, 0x11, &READ_TEN)).await.unwrap();
        let mut answer = [0; 29];
        within(tokio::io::AsyncReadExt::read_exact(&mut stream, &mut answer)).await.unwrap();
        guests.push(stream);
    }
    let mut late = TcpStream::connect(address).await.unwrap();
    drop(late.write_all(&tcp(1, 0x11, &READ_TEN)).await);
    assert!(within(listen(&mut late)).await.is_empty());
    guests.clear();
    within(async {
        loop {
            let mut stream = TcpStream::connect(address).await.unwrap();
            drop(stream.write_all(&tcp(1, 0x11, &READ_TEN)).await);
            if listen(&mut stream).await.len() == 29 {
                return;
            }
        }
    })
    .await;
}

//! Healthy exchanges, checked with tokio-modbus.

use std::io::{Read as _, Write as _};

use ecowatt_inverter_sim::{Config, RegisterMap, SerialConfig, ServeConfig, Simulation};
use tokio::net::TcpStream;
use tokio_modbus::ExceptionCode;
use tokio_modbus::client::{Context, Reader as _, Writer as _, rtu, tcp};
use tokio_modbus::slave::Slave;

use crate::rig::{self, assert_well, calm, everywhere, healthy, start, within};

async fn check_seed_map(context: &mut Context) {
    let words = context.read_holding_registers(0, 10).await.unwrap().unwrap();
    assert!((2_200..2_500).contains(&words[0]), "{words:?}");
    assert!((4_980..5_020).contains(&words[2]), "{words:?}");
    assert_eq!(words[8], 100);
    assert_eq!(context.read_input_registers(8, 1).await.unwrap().unwrap(), [100]);
    context.write_single_register(8, 70).await.unwrap().unwrap();
    assert_eq!(context.read_holding_registers(8, 1).await.unwrap().unwrap(), [70]);
    context.write_multiple_registers(8, &[60]).await.unwrap().unwrap();
    assert_eq!(context.read_holding_registers(8, 1).await.unwrap().unwrap(), [60]);
    let address = ExceptionCode::IllegalDataAddress;
    assert_eq!(context.read_holding_registers(5, 6).await.unwrap(), Err(address));
    assert_eq!(context.write_single_register(0, 1).await.unwrap(), Err(address));
    let value = context.write_single_register(8, 101).await.unwrap();
    assert_eq!(value, Err(ExceptionCode::IllegalDataValue));
    let function = context.read_coils(0, 1).await.unwrap();
    assert_eq!(function, Err(ExceptionCode::IllegalFunction));
    context.write_single_register(8, 100).await.unwrap().unwrap();
}

#[tokio::test]
async fn tokio_modbus_reads_and_writes_over_tcp_and_over_rtu_in_tcp() {
    let running = healthy().await;
    within(async {
        let address = running.addresses().tcp.unwrap();
        let mut context = tcp::connect_slave(address, Slave(0x11)).await.unwrap();
        check_seed_map(&mut context).await;
        let stream = TcpStream::connect(running.addresses().rtu_tcp.unwrap()).await.unwrap();
        let mut context = rtu::attach_slave(stream, Slave(0x11));
        check_seed_map(&mut context).await;
    })
    .await;
    within(running.stop()).await;
}

#[tokio::test]
async fn sixteen_clients_are_answered_concurrently() {
    let running = healthy().await;
    let address = running.addresses().tcp.unwrap();
    let clients: Vec<_> = (0..16)
        .map(|_| {
            tokio::spawn(async move {
                let mut context = tcp::connect_slave(address, Slave(0x11)).await.unwrap();
                for _ in 0..50 {
                    let words = context.read_holding_registers(0, 10).await.unwrap().unwrap();
                    assert_eq!(words.len(), 10);
                }
            })
        })
        .collect();
    for client in clients {
        within(client).await.unwrap();
    }
}

#[tokio::test]
async fn the_sunspec_chain_is_walked_and_the_limit_set_by_tokio_modbus() {
    let config = Config { map: RegisterMap::SunSpec, ..calm() };
    let running = start(Simulation::healthy(config), &everywhere(), 60.0).await;
    within(async {
        let address = running.addresses().tcp.unwrap();
        let mut context = tcp::connect_slave(address, Slave(0x11)).await.unwrap();
        let marker = context.read_holding_registers(40_000, 2).await.unwrap().unwrap();
        assert_eq!(marker, [0x5375, 0x6E53]);
        let (mut at, mut models) = (40_002, Vec::new());
        loop {
            let head = context.read_holding_registers(at, 2).await.unwrap().unwrap();
            if head[0] == 0xFFFF {
                break;
            }
            models.push((head[0], at));
            at += 2 + head[1];
        }
        let ids: Vec<u16> = models.iter().map(|(id, _)| *id).collect();
        assert_eq!(ids, [1, 120, 121, 103, 123, 160]);
        let at = |id| models.iter().find(|(other, _)| *other == id).unwrap().1;

        // 20 % with a lease of 900 s, values first, switch last.
        context.write_multiple_registers(at(123) + 5, &[200, 0, 900, 0]).await.unwrap().unwrap();
        context.write_multiple_registers(at(123) + 9, &[1]).await.unwrap().unwrap();
        loop {
            let words = context.read_holding_registers(at(103), 52).await.unwrap().unwrap();
            // W, then its scale factor, then St: 5 is THROTTLED.
            if (950..=1_050).contains(&words[14]) && words[15] == 0 && words[38] == 5 {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_pseudo_terminal_works_as_a_serial_port() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("ttyInverter");
    let serial = SerialConfig { link: Some(link.clone()), baud: Some(115_200) };
    let config = ServeConfig { serial: Some(serial), ..everywhere() };
    let running = start(Simulation::healthy(calm()), &config, 1.0).await;
    assert_eq!(running.addresses().serial.as_deref(), Some(link.as_path()));

    let path = link.clone();
    let client = tokio::task::spawn_blocking(move || {
        let mut answers = Vec::new();
        // Noise, half a request, another client's request: the valid request is found behind all of
        // them.
        let noise = [&[0xFF, 0x00, 0x7E][..], &rig::rtu(0x11, &rig::READ_TEN)[..4]].concat();
        for prefix in [&[][..], &noise, &rig::rtu(0x12, &rig::READ_TEN)] {
            let mut port = std::fs::File::options().read(true).write(true).open(&path).unwrap();
            port.write_all(prefix).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(250));
            port.write_all(&rig::rtu(0x11, &rig::READ_TEN)).unwrap();
            let mut answer = [0; 25];
            port.read_exact(&mut answer).unwrap();
            answers.push(answer);
        }
        answers
    });
    for answer in within(client).await.unwrap() {
        assert_eq!(answer[..3], [0x11, 3, 20]);
        assert_eq!(ecowatt_modbus::crc16(&answer), 0);
    }
    assert_well(&running).await;
    within(running.stop()).await;
    assert!(!link.exists() && !link.is_symlink());
}

#[tokio::test]
async fn a_link_does_not_replace_an_ordinary_file() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("precious");
    std::fs::write(&link, "data").unwrap();
    let serial = SerialConfig { link: Some(link.clone()), baud: None };
    let config = ServeConfig { serial: Some(serial), ..ServeConfig::default() };
    let clock = ecowatt_clock::Clock::simulated(rig::NOON, 1.0);
    let simulation = Simulation::healthy(calm());
    let refused =
        ecowatt_inverter_sim::serve(simulation, &config, clock, std::future::pending()).await;
    assert!(refused.is_err());
    assert_eq!(std::fs::read_to_string(&link).unwrap(), "data");
}

#[tokio::test]
async fn at_full_speed_an_hour_passes_in_a_second() {
    let running = start(Simulation::healthy(calm()), &everywhere(), 3_600.0).await;
    let first = rig::get(&running, "/state").await;
    let wh = |state: &serde_json::Value| state["reading"]["day_wh"].as_u64().unwrap();
    within(async {
        loop {
            let state = rig::get(&running, "/state").await;
            let (now, shown) = (state["t_ms"].as_i64(), state["reading"]["t_ms"].as_i64());
            assert!(now.unwrap() - shown.unwrap() < 1_000, "the physics falls behind: {state}");
            if wh(&state) > wh(&first) + 2_000 {
                return;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn shutdown_closes_the_ports() {
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let clock = ecowatt_clock::Clock::simulated(rig::NOON, 1.0);
    let shutdown = async move { drop(stopped.await) };
    let simulation = Simulation::healthy(calm());
    let running =
        ecowatt_inverter_sim::serve(simulation, &everywhere(), clock, shutdown).await.unwrap();
    let address = running.addresses().tcp.unwrap();
    let mut client = TcpStream::connect(address).await.unwrap();
    assert!(!rig::exchange(&mut client, &rig::tcp(1, 0x11, &rig::READ_TEN)).await.is_empty());
    stop.send(()).unwrap();
    within(running.join()).await;
    assert!(TcpStream::connect(address).await.is_err());
}

//! Recorded registers are returned exactly, at their times.

use ecowatt_inverter_sim::series::{Series, SeriesAlignment};
use ecowatt_inverter_sim::{Config, Inverter, RegisterSource, Simulation, Table};
use ecowatt_model::UnixMs;
use tokio::net::TcpStream;

use crate::rig::{NOON, READ_TEN, calm, everywhere, exchange, start, tcp, within};

/// A synthetic day in the format of the traces: `t`, then the ten registers, one row per 5 s.
fn recording(first_s: i64) -> (String, Vec<Vec<u16>>) {
    let mut text = "t,Vac1,Iac1,Fac1,Vpv1,Vpv2,Ipv1,Ipv2,Temp,Pow,Pac\n".to_owned();
    let mut rows = Vec::new();
    for row in 0..2_000_u16 {
        let words: Vec<u16> =
            (0..10).map(|column| row.wrapping_mul(31).wrapping_add(column * 977)).collect();
        let fields: Vec<String> = words.iter().map(u16::to_string).collect();
        text.push_str(&format!("{},{}\n", first_s + i64::from(row) * 5, fields.join(",")));
        rows.push(words);
    }
    (text, rows)
}

#[test]
fn every_row_is_read_back_at_its_time() {
    let (text, rows) = recording(1_451_606_400);
    let series = Series::from_csv(text.as_bytes()).unwrap();
    let start = UnixMs(1_451_606_400_000);
    let mut inverter =
        Inverter::new(Config::default(), RegisterSource::Recorded(series), start).unwrap();
    for (row, words) in (0..).zip(&rows) {
        for offset in [0, 1, 4_999] {
            let now = UnixMs(start.0 + row * 5_000 + offset);
            assert_eq!(inverter.read(Table::Holding, 0, 10, now).as_ref(), Ok(words));
        }
    }
}

#[test]
fn a_recorded_day_is_read_back_exactly() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../testdata/pv/d1_surfrad_alamosa_20160101_clear_winter.csv"
    );
    let text = std::fs::read_to_string(path).unwrap();
    let series = Series::from_csv(text.as_bytes()).unwrap();
    let start = series.starts_at();
    let mut inverter =
        Inverter::new(Config::default(), RegisterSource::Recorded(series), start).unwrap();
    let mut rows = 0;
    for line in text.lines().skip(1) {
        let (seconds, words) = line.split_once(',').unwrap();
        let now = UnixMs(seconds.parse::<i64>().unwrap() * 1_000);
        let read = inverter.read(Table::Holding, 0, 10, now).unwrap();
        let read: Vec<String> = read.iter().map(u16::to_string).collect();
        assert_eq!(read.join(","), words);
        rows += 1;
    }
    assert_eq!(rows, 17_280);
}

#[tokio::test]
async fn a_shifted_recording_is_served_from_its_first_row_on() {
    let (text, rows) = recording(1_451_606_400);
    let alignment = SeriesAlignment { starts_at: Some(NOON), is_looped: true };
    let series = Series::from_csv(text.as_bytes()).unwrap().aligned(alignment);
    let simulation =
        Simulation { source: RegisterSource::Recorded(series), ..Simulation::healthy(calm()) };
    let running = start(simulation, &everywhere(), 20.0).await;
    let mut stream = TcpStream::connect(running.addresses().tcp.unwrap()).await.unwrap();
    let mut last = 0;
    for _ in 0..5 {
        let answer = within(exchange(&mut stream, &tcp(1, 0x11, &READ_TEN))).await;
        let words: Vec<u16> =
            answer[9..].chunks(2).map(|w| u16::from_be_bytes([w[0], w[1]])).collect();
        let row = rows.iter().position(|row| *row == words).expect("a row of the recording");
        assert!((last..200).contains(&row), "{row} after {last}");
        last = row;
    }
    assert!(last > 0);
}

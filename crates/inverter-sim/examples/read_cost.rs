//! Measures the cost of one read of ten registers, from a master's request to its words, and of a
//! table of the physics: `cargo run --release -p ecowatt-inverter-sim --example read_cost -- [READS]`.
//!
//! Times depend on the machine; only compare figures within one run.

use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ecowatt_inverter_sim::slave::{SimulatedSlave, SlaveAction};
use ecowatt_inverter_sim::{Config, Inverter, RegisterMap, RegisterSource, Tabulation, Weather};
use ecowatt_modbus::{Framing, Progress, Request, RequestDecoder, Response, Transaction};
use ecowatt_model::UnixMs;

type Failure = Box<dyn std::error::Error>;

/// 2026-06-21T00:00:00Z.
const START: UnixMs = UnixMs(1_782_000_000_000);
const STEP: Duration = Duration::from_secs(60);
const ROWS: usize = 1_440;

fn main() -> Result<(), Failure> {
    let reads: u32 =
        std::env::args().nth(1).map(|text| text.parse()).transpose()?.unwrap_or(2_000_000);
    for (map, address) in [(RegisterMap::Seed, 0), (RegisterMap::SunSpec, 40_132)] {
        let config = Config { map, ..Config::default() };
        let began = now();
        let table = Tabulation::compute(config.clone(), Weather::Modelled, START, STEP, ROWS)?;
        let seconds = f64::from(u32::try_from(ROWS)?) * STEP.as_secs_f64();
        let physics_us = began.elapsed().as_secs_f64() * 1e6 / seconds;
        let inverter = Inverter::new(config, RegisterSource::Tabulated(Arc::new(table)), START)?;
        let mut station = SimulatedSlave::new(inverter, 1, false);
        let read_ns = measure(&mut station, address, reads)?;
        say(&format!("{map}: {physics_us:.2} µs a simulated second, {read_ns:.0} ns a read"))?;
    }
    Ok(())
}

/// Nanoseconds per read.
fn measure(station: &mut SimulatedSlave, address: u16, reads: u32) -> Result<f64, Failure> {
    let mut decoder = RequestDecoder::new(Framing::Tcp);
    let mut words = Vec::new();
    let mut sum = 0_u64;
    let began = now();
    for number in 0..reads {
        let at = UnixMs(START.0 + i64::from(number) * 37);
        let transaction = u16::try_from(number & 0xFFFF)?;
        let request = Request::ReadHoldingRegisters { address, count: 10 };
        let unit = station.inverter().unit();
        let mut exchange = Transaction::new(Framing::Tcp, unit, &request, transaction)?;
        decoder.push(exchange.bytes());
        let incoming = decoder.next_request()?.ok_or("a whole request")?;
        let SlaveAction::Send { bytes, answered, .. } = station.answer(Framing::Tcp, &incoming, at)
        else {
            return Err("no answer".into());
        };
        let Progress::Done(Response::ReadHoldingRegisters(read)) = exchange.feed(&bytes) else {
            return Err("no words".into());
        };
        words.clear();
        words.extend(read.iter());
        if answered.is_none_or(|answered| answered.words != words) {
            return Err("the words differ from the answer".into());
        }
        sum += u64::from(words[9]);
    }
    let elapsed = began.elapsed();
    std::hint::black_box(sum);
    Ok(elapsed.as_secs_f64() * 1e9 / f64::from(reads))
}

#[expect(clippy::disallowed_methods, reason = "it measures")]
fn now() -> Instant {
    Instant::now()
}

fn say(text: &str) -> std::io::Result<()> {
    writeln!(std::io::stdout(), "{text}")
}

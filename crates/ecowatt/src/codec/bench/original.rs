//! The methods of the earlier EcoWatt's devices, and what of them reaches a server.

use ecowatt_original::{Encoder, History, Method, Shape};

use super::{Table, float};

/// The firmware knows ten registers, and keeps at most so many samples for a packet.
const REGISTERS_MAX: usize = 10;
const SAMPLES_MAX: usize = 50;

/// What the firmware's uploader sends of a packet; it cuts longer ones off.
const WIRE_BYTES_MAX: usize = 189;

/// A method on a whole table.
pub(super) struct Compared {
    pub(super) method: &'static str,
    pub(super) bytes: usize,
    /// Share of the values that can be restored exactly from what is sent.
    pub(super) exact: f64,
}

/// Encodes a table by each method in packets of at most `samples`.
pub(super) fn compare(table: &Table, samples: usize) -> anyhow::Result<Vec<Compared>> {
    anyhow::ensure!(
        (1..=REGISTERS_MAX).contains(&table.columns),
        "devices of the earlier EcoWatt have 1 to {REGISTERS_MAX} registers, and the file has {}",
        table.columns
    );
    let registers: Vec<u8> = (0..=u8::MAX).take(table.columns).collect();
    let smart = measure(table, &registers, samples, None);
    let single = Method::ALL.map(|method| measure(table, &registers, samples, Some(method)));
    Ok(std::iter::once(smart).chain(single).collect())
}

fn measure(table: &Table, registers: &[u8], samples: usize, method: Option<Method>) -> Compared {
    let mut encoder = Encoder::default();
    let mut history = History::default();
    let (mut bytes, mut exact) = (0, 0);
    for values in table.words.chunks(samples.min(SAMPLES_MAX) * registers.len()) {
        let packet = match method {
            None => encoder.encode(registers, values),
            Some(method) => encoder.encode_by(method, registers, values),
        };
        bytes += packet.len();
        let wire = &packet[..packet.len().min(WIRE_BYTES_MAX)];
        let shape = Shape { registers, samples: Some(values.len() / registers.len()) };
        match shape.decode(wire, &history) {
            Ok(decoded) => {
                exact += if decoded == values { values.len() } else { 0 };
                history.add(registers, &decoded);
            }
            Err(_) => history.forget(),
        }
    }
    let method = method.map_or("smart", Method::name);
    Compared { method, bytes, exact: float(exact) / float(table.words.len()).max(1.0) }
}

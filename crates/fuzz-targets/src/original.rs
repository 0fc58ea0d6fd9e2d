//! Packets of the earlier EcoWatt's devices: any bytes are restored or refused.

use ecowatt_original::{Aggregate, History, Memory, Sending, Shape, VALUES_MAX};

use crate::steer;

/// Registers of the inverter that the devices read.
const REGISTERS: [u8; 10] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];

/// A packet has whole samples within the limit, or is refused; what is restored enters a history.
pub fn original_packet(data: &[u8]) {
    let Some((&[columns, samples], packet)) = steer(data) else { return };
    let registers = &REGISTERS[..usize::from(columns) % 11];
    for samples in [None, Some(usize::from(samples)), Some(usize::from(samples) + 256)] {
        let shape = Shape { registers, samples };
        let mut history = History::default();
        history.add(registers, &[1000; 10][..registers.len()]);
        history.add(registers, &[1003; 10][..registers.len()]);
        let Ok(values) = shape.decode(packet, &history) else { continue };
        assert!(!values.is_empty() && values.len() <= VALUES_MAX);
        assert!(values.len().is_multiple_of(registers.len()));
        assert!(samples.is_none_or(|samples| values.len() == samples * registers.len()));
        history.add(registers, &values);
    }
}

/// An aggregate has as many figures as registers.
pub fn original_aggregate(data: &[u8]) {
    let Ok(aggregate) = Aggregate::parse(data) else { return };
    let columns = aggregate.registers.len();
    assert_eq!((aggregate.min.len(), aggregate.max.len()), (columns, columns));
    assert!(aggregate.average.is_none_or(|average| average.len() == columns));
}

/// What was stored comes back, and takes a packet whatever its times are.
pub fn original_memory(data: &[u8]) {
    let Some(([interval], stored)) = steer(data) else { return };
    let Some(mut memory) = Memory::from_bytes(stored) else { return };
    let length = memory.to_bytes().len();
    assert_eq!(Memory::from_bytes(&memory.to_bytes()), Some(memory.clone()));
    let sent_s = stored.first_chunk().map(|bytes| i64::from_le_bytes(*bytes));
    let sending = Sending { sent_s, interval_s: u32::from(*interval), received_ms: i64::MAX };
    for samples in [None, Some(1), Some(usize::MAX)] {
        let shape = Shape { registers: &REGISTERS[..2], samples };
        let times = |rows| sending.times(Some(u32::from(*interval)), rows);
        // Any outcome will do; the promise is that there is one.
        let _ = memory.take([*interval; 16], &[0x71, 2, 0x80, 0x81], &shape, times);
        assert!(memory.repeats(&[*interval; 16]));
        assert!(memory.to_bytes().len() <= length + 3 * 16 + 12);
    }
}

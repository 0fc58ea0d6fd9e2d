//! Adds up the memory of a device, which is all static: what a microcontroller needs for each
//! profile in the catalogue.

use ecowatt_codec::{State, encoded_len_max};
use ecowatt_device::limits::MESSAGE_BYTES_MIN;
use ecowatt_device::{Device, Inverter};
use ecowatt_modbus::RTU_ADU_MAX;
use ecowatt_profile::sunspec::Found;
use ecowatt_profile::{Transport, catalogue};

/// Limit for a device with one inverter.
const BYTES_MAX: usize = 16 * 1024;

/// A three-phase SunSpec inverter with two strings.
const MODELS: [Found; 6] = [
    Found { id: 1, address: 40_002, length: 66 },
    Found { id: 103, address: 40_070, length: 50 },
    Found { id: 120, address: 40_122, length: 26 },
    Found { id: 121, address: 40_150, length: 30 },
    Found { id: 123, address: 40_182, length: 24 },
    Found { id: 160, address: 40_208, length: 48 },
];

/// Bytes that one profile takes.
struct Memory {
    id: &'static str,
    columns: usize,
    rows: usize,
    core: usize,
    codec: usize,
    /// A batch being cut, or the smallest message; plus the largest frame on the bus.
    buffers: usize,
}

impl Memory {
    fn of<const COLUMNS: usize, const ROWS: usize>(id: &'static str) -> Self {
        Self {
            id,
            columns: COLUMNS,
            rows: ROWS,
            core: size_of::<Device<[Inverter<COLUMNS, ROWS>; 1], COLUMNS, ROWS>>(),
            codec: size_of::<State<COLUMNS>>(),
            buffers: MESSAGE_BYTES_MIN.max(encoded_len_max(ROWS, COLUMNS)) + RTU_ADU_MAX,
        }
    }

    fn total(&self) -> usize {
        self.core + self.codec + self.buffers
    }
}

/// Number of registers by the profile itself.
fn columns(id: &str) -> usize {
    let profile = catalogue::find(id).unwrap();
    let profile =
        if profile.needs_discovery() { profile.resolve(&MODELS).unwrap() } else { profile };
    profile.compile(Transport::TCP).unwrap().plan.column_count()
}

#[test]
fn every_profile_of_the_catalogue_stays_below_its_limit() {
    let profiles = [
        (Memory::of::<10, 32>("ecowatt/seed-sim"), BYTES_MAX),
        (Memory::of::<18, 24>("sungrow/sg-string"), BYTES_MAX),
        // Over the limit: the codec needs memory for registers that are read once per connection
        // too, and cannot share it with the message.
        (Memory::of::<43, 16>("huawei/sun2000"), 19 * 1024),
        (Memory::of::<92, 16>("sunspec/generic-pv"), 26 * 1024),
    ];
    for entry in catalogue::list() {
        assert!(profiles.iter().any(|(memory, _)| memory.id == entry.id), "{}", entry.id);
    }
    for (memory, limit) in &profiles {
        let Memory { id, columns: held, rows, core, codec, buffers } = memory;
        let total = memory.total();
        println!(
            "{id}, {held} × {rows}: {core} core + {codec} codec + {buffers} buffers = {total}"
        );
        assert_eq!(*held, columns(id), "{id}");
        assert!(total <= *limit, "{id} takes {total} bytes");
    }
}

/// Without buffers, the smallest profile has room for a quarter of an hour at 5 s.
#[test]
fn a_device_of_ten_registers_fits_its_memory() {
    let core = size_of::<Device<[Inverter<10, 180>; 1], 10, 180>>();
    let codec = size_of::<State<10>>();
    assert!(core + codec <= BYTES_MAX, "{}", core + codec);
}

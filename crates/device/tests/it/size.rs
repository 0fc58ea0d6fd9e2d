//! Memory of a device, which is all static.

use ecowatt_codec::State;
use ecowatt_device::{Device, Inverter};

/// One inverter of ten registers, batches of 180 samples, and the codec's working memory: what a
/// microcontroller keeps.
const BYTES_MAX: usize = 16 * 1024;

#[test]
fn a_device_of_ten_registers_fits_its_memory() {
    let device = size_of::<Device<[Inverter<10, 180>; 1], 10, 180>>();
    let codec = size_of::<State<10>>();
    println!("device {device} bytes, codec {codec} bytes");
    assert!(device + codec <= BYTES_MAX, "{}", device + codec);
}

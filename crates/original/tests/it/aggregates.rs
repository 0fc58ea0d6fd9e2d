//! Every recorded aggregate.

use ecowatt_original::{Aggregate, PacketError};

use crate::vector::{bytes, lines, registers, words};

const RECORDED: &str = include_str!("../../../../testdata/original/aggregation.jsonl");

#[test]
fn every_recorded_aggregate_is_read_and_every_part_of_one_refused() {
    let lines = lines(RECORDED);
    assert_eq!(lines.len(), 76);
    for line in lines {
        let packet = bytes(&line["hex"]);
        let read = Aggregate::parse(&packet).unwrap();
        let samples = line["samples"].as_array().unwrap().len();
        assert_eq!(usize::from(read.samples), samples % 256, "{}", line["name"]);
        assert_eq!(u64::from(read.from), line["timestamp_start"].as_u64().unwrap());
        assert_eq!(u64::from(read.to), line["timestamp_end"].as_u64().unwrap());
        assert_eq!(read.registers, registers(&line));
        assert_eq!((read.min, read.max), (words(&line["min"]), words(&line["max"])));
        if let Some(average) = read.average {
            assert_eq!(average, words(&line["avg"]));
        }
        for length in 0..packet.len() {
            Aggregate::parse(&packet[..length]).unwrap_err();
        }
        let longer = [&packet[..], &[0]].concat();
        assert_eq!(Aggregate::parse(&longer), Err(PacketError::Trailing));
    }
}

//! Properties that hold for all messages.

use ecowatt_model::{BatchId, BootEpoch, MonoMs, Sequence, StreamNumber, UnixMs};
use ecowatt_wire::{
    AckRange, Batch, ClockReport, ITEMS_MAX, ParseError, Reply, ReplyWriter, Uplink, UplinkWriter,
    WriteError,
};
use proptest::prelude::*;

fn batch(sequence: u32, bytes: &[u8]) -> Batch<'_> {
    let id = BatchId { epoch: BootEpoch(1), sequence: Sequence(sequence) };
    Batch { id, stream: StreamNumber(1), bytes, start: None }
}

proptest! {
    #[test]
    fn batches_round_trip_in_order(payloads: Vec<Vec<u8>>, capacity in 16usize..4096) {
        let mut buffer = vec![0; capacity];
        let mut writer = UplinkWriter::new(&mut buffer);
        let batches: Vec<_> = (1..).zip(&payloads).map(|(n, bytes)| batch(n, bytes)).collect();
        let written = writer.batches(&mut batches.iter().copied(), 0).unwrap();
        let length = writer.finish();
        let uplink = Uplink::parse(&buffer[..length]).unwrap();
        prop_assert!(written <= ITEMS_MAX);
        prop_assert_eq!(uplink.batches().collect::<Vec<_>>(), &batches[..written]);
    }

    #[test]
    fn arbitrary_bytes_are_refused_without_a_panic(bytes: Vec<u8>) {
        let _ = Uplink::parse(&bytes);
        let _ = Reply::parse(&bytes);
    }

    #[test]
    fn cut_messages_are_refused(cut in 1usize..40) {
        let mut buffer = [0; 64];
        let mut writer = UplinkWriter::new(&mut buffer);
        writer.batches(&mut [batch(1, &[7; 12]), batch(2, &[8; 12])].into_iter(), 0).unwrap();
        let length = writer.finish();
        let cut = length.saturating_sub(cut);
        prop_assert!(Uplink::parse(&buffer[..cut]).is_err());
    }
}

#[test]
fn unknown_sections_are_skipped() {
    // {1: [], 99: {"a": [1, [2, h'03']]}}
    let bytes = [0xa2, 0x01, 0x80, 0x18, 0x63, 0xa1, 0x61, 0x61, 0x82, 0x01, 0x82, 0x02, 0x41, 3];
    assert_eq!(Uplink::parse(&bytes).unwrap().batches().len(), 0);
}

#[test]
fn longer_encodings_are_refused_in_known_and_unknown_sections() {
    let batch = [0x81, 0x84, 0x01, 0x18, 0x41, 0x01, 0x42, 0xaa, 0xbb];
    let whole = |section: &[u8]| [&[0xa1, 0x01], section].concat();
    assert_eq!(Uplink::parse(&whole(&batch)).unwrap().batches().len(), 1);
    let longer: [&[u8]; 7] = [
        &[0x98, 0x01, 0x84, 0x01, 0x18, 0x41, 0x01, 0x42, 0xaa, 0xbb],
        &[0x81, 0x98, 0x04, 0x01, 0x18, 0x41, 0x01, 0x42, 0xaa, 0xbb],
        &[0x81, 0x84, 0x18, 0x01, 0x18, 0x41, 0x01, 0x42, 0xaa, 0xbb],
        &[0x81, 0x84, 0x01, 0x19, 0x00, 0x41, 0x01, 0x42, 0xaa, 0xbb],
        &[0x81, 0x84, 0x01, 0x18, 0x41, 0x18, 0x01, 0x42, 0xaa, 0xbb],
        &[0x81, 0x84, 0x01, 0x18, 0x41, 0x01, 0x58, 0x02, 0xaa, 0xbb],
        &[0x81, 0x84, 0x01, 0x18, 0x41, 0x01, 0x59, 0x00, 0x02, 0xaa, 0xbb],
    ];
    for section in longer {
        let parsed = Uplink::parse(&whole(section)).map(|_| ());
        assert!(matches!(parsed, Err(ParseError::Malformed(_))), "{section:02x?}");
    }
    let others: [&[u8]; 6] = [
        &[0xb8, 0x01, 0x01, 0x80],
        &[0xa1, 0x18, 0x01, 0x80],
        &[0xbf, 0x01, 0x80, 0xff],
        // In unknown sections.
        &[0xa1, 0x18, 0x63, 0x18, 0x04],
        &[0xa1, 0x18, 0x63, 0x9f, 0xff],
        &[0xa1, 0x18, 0x63, 0xa1, 0x01, 0x82, 0x02, 0x58, 0x01, 0x03],
    ];
    for bytes in others {
        assert!(Uplink::parse(bytes).is_err() && Reply::parse(bytes).is_err(), "{bytes:02x?}");
    }
}

#[test]
fn sections_are_written_once_and_in_order() {
    assert_eq!(Uplink::parse(&[0xa2, 1, 0x80, 1, 0x80]).err(), Some(ParseError::OutOfOrder(1)));
    assert_eq!(Uplink::parse(&[0xa2, 3, 0x80, 1, 0x80]).err(), Some(ParseError::OutOfOrder(1)));
    assert_eq!(Uplink::parse(&[0xa1, 1, 0x80, 0]).err(), Some(ParseError::TrailingBytes(1)));
    let too_many = [0xa1, 0x01, 0x98, 24];
    assert_eq!(
        Uplink::parse(&too_many).err(),
        Some(ParseError::TooManyItems { section: 1, count: 24 })
    );
    let mut buffer = [0; 64];
    let mut writer = ReplyWriter::new(&mut buffer);
    writer.time(UnixMs(1)).unwrap();
    let ack = AckRange { epoch: BootEpoch(1), first: Sequence(1), last: Sequence(1) };
    assert_eq!(writer.acks(&mut std::iter::once(ack)), Err(WriteError::OutOfOrder));
}

#[test]
fn section_that_does_not_fit_leaves_the_message_unchanged() {
    let mut buffer = [0; 12];
    let mut writer = ReplyWriter::new(&mut buffer);
    let ack = AckRange { epoch: BootEpoch(1), first: Sequence(1), last: Sequence(1) };
    writer.acks(&mut std::iter::once(ack)).unwrap();
    assert_eq!(writer.time(UnixMs(i64::MAX)), Err(WriteError::Full));
    let length = writer.finish();
    let reply = Reply::parse(&buffer[..length]).unwrap();
    assert_eq!(reply.acks().collect::<Vec<_>>(), [ack]);
    assert_eq!(reply.time(), None);
}

#[test]
fn list_keeps_the_requested_bytes_free_and_never_fails_for_lack_of_room() {
    let clock = ClockReport { epoch: BootEpoch(1), mono: MonoMs(1), unix: None };
    for capacity in 7..200 {
        let mut buffer = vec![0; capacity];
        let mut writer = UplinkWriter::new(&mut buffer);
        let written = writer.batches(&mut [batch(1, &[7; 12]); 9].into_iter(), 6).unwrap();
        writer.clock(&clock).unwrap();
        assert_eq!(writer.streams(&mut std::iter::empty(), 1000), Ok(0));
        let length = writer.finish();
        let uplink = Uplink::parse(&buffer[..length]).unwrap();
        assert_eq!((uplink.batches().len(), uplink.clock()), (written, Some(clock)));
        // One more would not have fitted.
        assert!(written == 9 || capacity - length < 20 + 2, "{capacity} {written}");
    }
}

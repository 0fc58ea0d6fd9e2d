//! Packs of edges return what they were made of, and their bytes are fixed.

use proptest::prelude::*;

use super::*;

fn power() -> impl Strategy<Value = PowerReading> {
    let mw = prop_oneof![
        3 => (-20_000i64..20_000).prop_map(|w| Some(w * 1000)),
        1 => any::<Option<i64>>(),
    ];
    (any::<i64>(), any::<i32>(), mw, any::<bool>()).prop_map(|(at, date, mw, is_asleep)| {
        PowerReading { at: UnixMs(at), date: LocalDate(date), mw, is_asleep }
    })
}

fn id() -> impl Strategy<Value = BatchId> {
    (any::<u32>(), any::<u32>()).prop_map(|(epoch, sequence)| BatchId {
        epoch: BootEpoch(epoch),
        sequence: Sequence(sequence),
    })
}

fn powers() -> impl Strategy<Value = Vec<(Place, PowerEdges)>> {
    let edge = (any::<i64>(), id(), power(), power(), any::<u32>()).prop_map(
        |(start, id, first, last, typical_ms)| {
            ((UnixMs(start), id), PowerEdges { first, last, typical_ms })
        },
    );
    proptest::collection::vec(edge, 0..50)
}

fn counter() -> impl Strategy<Value = CounterReading> {
    (any::<i64>(), any::<i32>(), -1_000_000_000i64..1_000_000_000).prop_map(|(at, date, wh)| {
        CounterReading { at: UnixMs(at), date: LocalDate(date), mwh: wh * 100 }
    })
}

fn counters() -> impl Strategy<Value = Vec<(BatchId, CounterEdge)>> {
    let day = (any::<i32>(), -1000i64..1000, any::<u32>(), any::<u32>()).prop_map(
        |(date, mwh, believed, passed_over)| CounterDay {
            date: LocalDate(date),
            mwh: mwh * 100,
            believed,
            passed_over,
        },
    );
    let days = proptest::collection::vec(day, 0..3);
    let limits = (any::<Option<u32>>(), any::<i64>())
        .prop_map(|(rated_w, quantum_mwh)| CounterLimits { rated_w, quantum_mwh });
    let edge = (id(), any::<u32>(), counter(), counter(), limits, days).prop_map(
        |(id, calm, first, last, limits, days)| {
            let batch = CounterBatch { ends: Ends { first, last, limits }, days };
            (id, CounterEdge { calm, batch })
        },
    );
    proptest::collection::vec(edge, 0..50)
}

proptest! {
    #[test]
    fn edges_come_back(powers in powers(), counters in counters()) {
        prop_assert_eq!(decode_powers(&encode_powers(&powers)), Some(powers));
        prop_assert_eq!(decode_counters(&encode_counters(&counters)), Some(counters));
    }

    #[test]
    fn damaged_packs_do_not_panic(
        powers in powers(), counters in counters(), at: prop::sample::Index, byte: u8,
    ) {
        for mut bytes in [encode_powers(&powers), encode_counters(&counters)] {
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let _ = decode_powers(&bytes);
            let _ = decode_counters(&bytes);
        }
    }
}

type AllPowers = Vec<(Place, PowerEdges)>;
type AllCounters = Vec<(BatchId, CounterEdge)>;

/// Edges of batches of seven samples, each 5 s, of an inverter at about 3 kW.
fn regular(count: i64) -> (AllPowers, AllCounters) {
    let start = 1_782_000_000_000;
    let limits = CounterLimits { rated_w: Some(5000), quantum_mwh: 100_000 };
    (0..count)
        .map(|n| {
            let at = |sample: i64| UnixMs(start + (n * 7 + sample) * 5000);
            let date = LocalDate(20_625);
            let power = |sample: i64| PowerReading {
                at: at(sample),
                date,
                mw: Some(3_000_000 + (n * 37 + sample) % 90 * 1000),
                is_asleep: false,
            };
            let mwh = |sample: i64| 12_345_600_000 + (n * 7 + sample) / 20 * 100_000;
            let counter = |sample: i64| CounterReading { at: at(sample), date, mwh: mwh(sample) };
            let sequence = u32::try_from(n).unwrap() * 2 + 9;
            let id = BatchId { epoch: BootEpoch(3), sequence: Sequence(sequence) };
            let edges = PowerEdges { first: power(0), last: power(6), typical_ms: 5000 };
            let day = CounterDay { date, mwh: mwh(6) - mwh(0), believed: 7, passed_over: 0 };
            let ends = Ends { first: counter(0), last: counter(6), limits };
            let batch = CounterBatch { ends, days: vec![day] };
            (((at(0), id), edges), (id, CounterEdge { calm: 48, batch }))
        })
        .unzip()
}

#[test]
fn edges_of_a_day_take_two_bytes_each() {
    let (powers, counters) = regular(2468);
    let (powers, counters) = (encode_powers(&powers).len(), encode_counters(&counters).len());
    assert!(powers < 2 * 2468 && counters < 2468, "{powers} {counters}");
}

/// Bytes of version 1; never edited.
#[test]
fn format_1_is_this() {
    let (powers, counters) = regular(5);
    let (packed_powers, packed_counters) = (encode_powers(&powers), encode_counters(&counters));
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(
        hex(&packed_powers),
        "0105d00f000000000057b9629917b50d2f0bf0d8ee88a5859f1822e9b976dff489d400000015ecbbfb4e3726af8c0f1ec2b2e56a8a32e3bf40"
    );
    assert_eq!(
        hex(&packed_counters),
        "0105c09a0c287c0a2b001f88800028d41000000000057b9de87002000229840006091800024481de2711e1ffc000000a47dc133f87bfffec3352a6ffc2"
    );
    assert_eq!(decode_powers(&packed_powers), Some(powers));
    assert_eq!(decode_counters(&packed_counters), Some(counters));
}

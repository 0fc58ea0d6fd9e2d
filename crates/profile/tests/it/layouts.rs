//! Layouts survive encoding and turn words into readings.

use ecowatt_model::{Mark, Quality, Unit};
use ecowatt_profile::sunspec::FoundModel;
use ecowatt_profile::{LAYOUT_BYTES_MAX, Layout, LayoutError, Transport, catalogue};
use proptest::prelude::*;

fn all() -> Vec<Layout> {
    let models = [
        FoundModel { id: 1, address: 2, length: 66 },
        FoundModel { id: 103, address: 70, length: 50 },
        FoundModel { id: 120, address: 122, length: 26 },
        FoundModel { id: 123, address: 150, length: 24 },
        FoundModel { id: 160, address: 176, length: 8 + 6 * 20 },
    ];
    let compile = |id| {
        let profile = catalogue::find(id).unwrap();
        let profile =
            if profile.needs_discovery() { profile.resolve(&models).unwrap() } else { profile };
        profile.compile(Transport::TCP).unwrap().layout
    };
    catalogue::list().iter().map(|entry| compile(entry.id)).collect()
}

#[test]
fn every_layout_of_the_catalogue_survives_encoding() {
    for layout in all() {
        let bytes = layout.to_cbor();
        assert!(bytes.len() <= LAYOUT_BYTES_MAX / 2, "{} {}", layout.profile(), bytes.len());
        assert_eq!(Layout::from_cbor(&bytes), Ok(layout));
    }
}

#[test]
fn the_seed_layout_has_these_bytes() {
    // Golden: a device and a server of different releases must agree on them.
    let bytes = all()[0].to_cbor();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, include_str!("../seed-layout.hex").trim());
}

#[test]
fn a_seed_sample_becomes_readings() {
    let layout = &all()[0];
    let words = [2301, 45, 5001, 3502, 65_535, 31, 0, 65_486, 100, 1035];
    let mut marks = [Mark::Read; 10];
    marks[8] = Mark::NotDue;
    let readings: Vec<_> = layout.decode(&words, &marks).collect();
    let of = |name: &str| {
        let index = layout.find(name).unwrap();
        let point = &layout.points()[index];
        (readings[index].quality, readings[index].value, point.exponent, point.unit)
    };
    assert_eq!(of("ac.l1.voltage"), (Quality::Good, Some(2301), -1, Unit::Volt));
    assert_eq!(of("ac.frequency"), (Quality::Good, Some(5001), -2, Unit::Hertz));
    assert_eq!(of("temp.internal"), (Quality::Good, Some(-50), -1, Unit::Celsius));
    assert_eq!(of("pv.2.voltage"), (Quality::OutOfRange, Some(65_535), -1, Unit::Volt));
    assert_eq!(of("control.p_limit"), (Quality::NotDue, None, 0, Unit::Percent));
    assert_eq!(of("ac.power"), (Quality::Good, Some(1035), 0, Unit::Watt));
    let roles = layout.roles();
    assert_eq!(roles.ac_power, layout.find("ac.power"));
    assert_eq!(roles.pv_voltage, layout.find("pv.1.voltage"));
    assert_eq!((roles.energy_total, roles.state), (None, None));
}

#[test]
fn text_is_read_up_to_its_padding() {
    let layouts = all();
    let huawei = layouts.iter().find(|layout| layout.profile() == "huawei/sun2000").unwrap();
    let model = huawei.find("info.model").unwrap();
    let from = usize::from(huawei.points()[model].first_column);
    let mut words = vec![0; huawei.columns().len()];
    for (word, pair) in words[from..].iter_mut().zip(b"SUN2000-5KTL".chunks(2)) {
        *word = u16::from_be_bytes([pair[0], pair[1]]);
    }
    let mut marks = vec![Mark::Read; words.len()];
    assert_eq!(huawei.text(model, &words, &marks).as_deref(), Some("SUN2000-5KTL"));
    assert_eq!(huawei.reading(model, &words, &marks).value, None);
    marks[from + 14] = Mark::Timeout;
    assert_eq!(huawei.text(model, &words, &marks), None);
    assert_eq!(huawei.text(huawei.find("ac.power").unwrap(), &words, &marks), None);
}

#[test]
fn another_version_or_a_longer_encoding_is_refused() {
    let bytes = all()[0].to_cbor();
    let mut later = bytes.clone();
    later[2] = 2;
    assert_eq!(Layout::from_cbor(&later), Err(LayoutError::Version(2)));
    let mut trailing = bytes.clone();
    trailing.push(0);
    assert!(matches!(Layout::from_cbor(&trailing), Err(LayoutError::Malformed(_))));
    let huge = vec![0; LAYOUT_BYTES_MAX + 1];
    assert_eq!(Layout::from_cbor(&huge), Err(LayoutError::TooLong(LAYOUT_BYTES_MAX + 1)));
    for end in 0..bytes.len() {
        assert!(Layout::from_cbor(&bytes[..end]).is_err());
    }
}

proptest! {
    #[test]
    fn any_bytes_are_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        if let Ok(layout) = Layout::from_cbor(&bytes) {
            prop_assert_eq!(layout.to_cbor(), bytes);
        }
    }

    #[test]
    fn damaged_layouts_never_panic_and_stay_canonical(
        which in 0..4usize,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        words in prop::collection::vec(any::<u16>(), 0..140),
    ) {
        let mut bytes = all()[which].to_cbor();
        for (place, byte) in damage {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if let Ok(layout) = Layout::from_cbor(&bytes) {
            prop_assert_eq!(layout.to_cbor(), bytes);
            let marks = vec![Mark::Read; words.len()];
            prop_assert_eq!(layout.decode(&words, &marks).count(), layout.points().len());
        }
    }
}

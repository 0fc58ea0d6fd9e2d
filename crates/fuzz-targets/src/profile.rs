//! Profiles that people write, and layouts that devices announce.

use ecowatt_model::Mark;
use ecowatt_profile::{Layout, Profile, TransportKind};

/// A layout that is read is written to the same bytes, and reads any sample.
pub fn profile_layout(data: &[u8]) {
    let Ok(layout) = Layout::from_cbor(data) else {
        return;
    };
    assert_eq!(layout.to_cbor(), data, "a layout has one spelling");
    let columns = layout.columns().len();
    for word in [0, 1, 0x7fff, 0x8000, 0xffff] {
        let (words, marks) = (vec![word; columns], vec![Mark::Read; columns]);
        assert_eq!(layout.decode(&words, &marks).count(), layout.points().len());
        for point in 0..layout.points().len() {
            drop(layout.text(point, &words, &marks));
        }
    }
    // Samples of another size than the layout's.
    assert_eq!(layout.decode(&[], &[]).count(), layout.points().len());
}

/// A profile is read or refused; what it is compiled to can be announced.
pub fn profile_toml(data: &[u8]) {
    let Some(profile) = core::str::from_utf8(data).ok().and_then(|text| Profile::parse(text).ok())
    else {
        return;
    };
    for kind in [TransportKind::Rtu, TransportKind::Tcp] {
        if let Ok(compiled) = profile.compile(profile.link_cost(kind)) {
            let announced = Layout::from_cbor(&compiled.layout.to_cbor());
            assert_eq!(announced.as_ref(), Ok(&compiled.layout));
        }
    }
}

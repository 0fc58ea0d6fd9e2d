//! What a device pays to check a manifest and a piece of a payload, and for the update machine.

use alloc::vec;
use core::hint::black_box;

use ecowatt_artifact::{
    Admitted, Compression, Encryption, Image, PieceCheck, PieceSize, Recipient, UnverifiedManifest,
    leaf,
};
use ecowatt_envelope::signed::PublicKey;
use ecowatt_model::{MonoMs, UnixMs};
use ecowatt_update::{Action, Health, ImageSlot, Record, Update, boot};
use semihosting::process;

use crate::gauge::measured;

/// The golden manifest with every field.
static MANIFEST: &[u8] = include_bytes!("../../../fuzz/corpus/artifact_manifest/every-field");
/// The public key of its signer.
const SIGNER: [u8; 32] = [
    0x03, 0xa1, 0x07, 0xbf, 0xf3, 0xce, 0x10, 0xbe, 0x1d, 0x70, 0xdd, 0x18, 0xe7, 0x4b, 0xc0, 0x99,
    0x67, 0xe4, 0xd6, 0x30, 0x9b, 0xa5, 0x0d, 0x5f, 0x1d, 0xdc, 0x86, 0x64, 0x12, 0x55, 0x31, 0xb8,
];
const NOW: UnixMs = UnixMs(1_790_000_000_000);

pub(crate) fn measure() {
    let key = PublicKey::new(&SIGNER).unwrap_or_else(|_| process::exit(1));
    let manifest = measured("manifest verified", || {
        UnverifiedManifest::parse(black_box(MANIFEST)).and_then(|file| file.verify(&[key]))
    });
    let manifest = manifest.unwrap_or_else(|_| process::exit(1));
    let (compressions, keys) =
        ([Compression(1)], [Encryption { method: 1, key: [0, 1, 2, 3, 4, 5, 6, 7] }]);
    let device = Recipient {
        hardware: "linux/x86_64",
        version: "1.2.0".parse().unwrap_or_else(|_| process::exit(1)),
        image: manifest.payload.base.unwrap_or_default(),
        now: Some(NOW),
        compressions: &compressions,
        keys: &keys,
        ..Recipient::EMPTY
    };
    let admitted = measured("manifest admitted", || manifest.admit(black_box(&device)));
    let Ok(admitted) = admitted else { process::exit(1) };
    measured("update machine", || run(&admitted));
    let piece = vec![7; 4096];
    let check = PieceCheck::new(4096, PieceSize::SMALLEST, leaf(&piece));
    if measured("piece of 4 KiB checked", || check.check(0, black_box(&piece), &[])).is_err() {
        process::exit(1);
    }
}

/// Hands the machine all events. The payload is not plain, so the offer itself is refused.
fn run(manifest: &Admitted<'_>) {
    let now = MonoMs(1);
    let image = Image { size: 1, sha256: [9; 32] };
    let record = Record::new(ImageSlot::A, image);
    let chosen = boot(&black_box(Record::from_bytes(&record.to_bytes()).unwrap_or(record)));
    let record = chosen.record.unwrap_or(Record::new(chosen.slot, image));
    let mut update = Update::start(record, chosen.slot, now);
    let _ = black_box(update.offer(manifest));
    for _ in 0..8 {
        match black_box(update.poll(now)) {
            Some(Action::Keep) => {
                black_box(update.record().to_bytes());
                update.handle_kept(now, true);
            }
            Some(Action::Erase(_)) => update.handle_erased(now, true),
            Some(Action::Measure(_)) => update.handle_length(now, Some(black_box(0))),
            Some(Action::Fetch { .. }) => update.handle_fetched(now, black_box(None)),
            Some(Action::Stage { .. }) => update.handle_staged(now, true),
            Some(Action::Read { .. }) => update.handle_read(now, black_box(None)),
            Some(Action::Restart) => break,
            None => update.handle_health(black_box(Health::default())),
        }
    }
}

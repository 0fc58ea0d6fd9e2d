//! Bytes of version 1, made by an independent implementation (Python's `cryptography` and a CBOR
//! encoder of twelve lines). Do not edit them: a change that breaks one of these tests makes devices
//! in the field refuse every image.

use ecowatt_artifact::{
    Compression, Encryption, Image, Manifest, Payload, PieceSize, Profiles, UnverifiedManifest,
    leaf, proof, sha256,
};
use ecowatt_envelope::signed::SignatureKey;
use ecowatt_model::UnixMs;

use crate::{IMAGE_BYTES, bytes, image, key, root_of, version};

const PUBLIC_KEY: &str = "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8";
const IMAGE: &str = "ee210c4f460bea8d53dc48e08dcecdcca8b49c25887bd589816c5b2a870f4d25";
const ROOT: &str = "c8950af1e15205aeacba83d5172abccdbf61ee7dbb4ade1ab225780b228a1a7d";
const PLAIN: &str = concat!(
    "d28443a10132a1044856475aa75463474c5868a5018301020002676573703332633303821927105820ee210c",
    "4f460bea8d53dc48e08dcecdcca8b49c25887bd589816c5b2a870f4d2504831927100c5820c8950af1e15205",
    "aeacba83d5172abccdbf61ee7dbb4ade1ab225780b228a1a7d051b000001a3185c5000584006f3a936663e03",
    "ea52ae9c39ce48f7a0977389250cd09499dd4f8cce1a684b6397fda8ba266d861bca631c033a76b9555396c7",
    "f9617e1ff4eb69ab1d0ed86306",
);
const FULL: &str = concat!(
    "d28443a10132a1044856475aa75463474c58c6ab0183010219012c026c6c696e75782f7838365f3634038219",
    "27105820ee210c4f460bea8d53dc48e08dcecdcca8b49c25887bd589816c5b2a870f4d2504831902bc105820",
    "148de9c5a7a44d19e56cd9ae1a554bf67847afb0c58f6e12fa29ac7ddfca9940051b000001a3185c50000682",
    "6e6875617765692f73756e323030306a73756e67726f772f73670783010100088301030009010a5820cae662",
    "172fd450bb0cd710a769079c05bfc5d8e35efa6576edc7d0377afdd4a20b8201480001020304050607584027",
    "772f5807707a534b824666ee75c2631ecaf162c36f2264ff08acbb3fd5e9d82b5f0094d6dac75f4d48432067",
    "3f4c29b42a8916cbf702be42a0fd519536df07",
);
const PROOFS: [&str; 3] = [
    concat!(
        "d58036873dae878edb8edbb0572978b5d320d3d992751640e3f0b9ad20bac5595d6987355f24be95704ef774",
        "3231340c724595fc935014d26cf3c810e192fdf5",
    ),
    concat!(
        "6ac4c0270f91c996e1935c52efc6da6797ecc0e8437b660d664b0104652ce0bd5d6987355f24be95704ef774",
        "3231340c724595fc935014d26cf3c810e192fdf5",
    ),
    "e237a6695aecf9ec45650e122519200d59756c93c6939a8a5554b506f70214d0",
];

fn plain() -> Manifest<'static> {
    Manifest {
        version: version("1.2.0"),
        hardware: "esp32c3",
        image: Image { size: IMAGE_BYTES, sha256: bytes(IMAGE).try_into().unwrap() },
        payload: Payload::plain(IMAGE_BYTES, PieceSize::SMALLEST, bytes(ROOT).try_into().unwrap()),
        expires: UnixMs(1_800_000_000_000),
        ..Manifest::EMPTY
    }
}

fn full() -> Manifest<'static> {
    let plain = plain();
    Manifest {
        version: version("1.2.300"),
        hardware: "linux/x86_64",
        payload: Payload {
            size: 700,
            piece: PieceSize::LARGEST,
            root: sha256(b"p"),
            compression: Some(Compression(1)),
            base: Some(sha256(b"base")),
            encryption: Some(Encryption { method: 1, key: [0, 1, 2, 3, 4, 5, 6, 7] }),
        },
        profiles: Profiles::from_slice(&["huawei/sun2000", "sungrow/sg"]).unwrap(),
        minimum_version: Some(version("1.1.0")),
        replaces_up_to: Some(version("1.3.0")),
        ..plain
    }
}

fn check(manifest: &Manifest<'_>, golden: &str) {
    let golden = bytes(golden);
    let mut out = [0; 1024];
    let length = manifest.sign(&key(), &mut out).unwrap();
    assert_eq!(out[..length], golden);
    let read = UnverifiedManifest::parse(&golden).unwrap();
    assert_eq!(read.signer(), key().public().id());
    assert_eq!(*read.verify(&[key().public()]).unwrap(), *manifest);
    assert_eq!(read.claimed().unwrap(), *manifest);
}

#[test]
fn public_key_of_a_seed() {
    assert_eq!(SignatureKey::new(key().expose()).public().as_bytes()[..], bytes(PUBLIC_KEY));
}

#[test]
fn manifest_of_a_plain_image() {
    check(&plain(), PLAIN);
}

#[test]
fn manifest_with_every_field() {
    check(&full(), FULL);
}

#[test]
fn tree_and_proofs() {
    let image = image();
    assert_eq!(sha256(&image)[..], bytes(IMAGE));
    assert_eq!(root_of(&image)[..], bytes(ROOT));
    let leaves: Vec<_> = image.chunks(4096).map(leaf).collect();
    let check = plain().payload.pieces();
    for (index, (piece, golden)) in (0u32..).zip(image.chunks(4096).zip(PROOFS)) {
        let mut out = [0; _];
        let length = proof(&leaves, usize::try_from(index).unwrap(), &mut out).unwrap();
        assert_eq!(out[..length], bytes(golden));
        assert_eq!(check.check(index, piece, &bytes(golden)), Ok(()));
    }
}

//! Bytes that no encoder writes are refused.

use ecowatt_codec::{CodecMemory, DecodeError, Decoder, Mark};
use proptest::prelude::*;

use crate::owned::Owned;

/// Bytes that decode must be exactly what the encoder writes for the result. Plain batches are an
/// exception: whether the models would have made one smaller is not cheap to detect.
fn check(bytes: &[u8]) {
    if let Ok(batch) = Owned::decode(bytes)
        && bytes[0] >> 4 == 1
    {
        let again = batch.encode();
        if again[0] >> 4 == 1 {
            assert_eq!(again, bytes);
        }
    }
}

proptest! {
    #[test]
    fn noise_is_refused_or_canonical(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        check(&bytes);
    }

    #[test]
    fn noise_after_a_good_first_byte(
        flags in 0_u8..32,
        bytes in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        check(&[vec![flags], bytes].concat());
    }

    #[test]
    fn damage_is_refused_or_canonical(
        words in prop::collection::vec(2300_u16..2320, 21),
        at in any::<prop::sample::Index>(),
        bit in 0_u8..8,
    ) {
        let mut bytes = Owned::regular(3, words).encode();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        check(&bytes);
    }
}

#[test]
fn every_refusal_has_a_name() {
    let good = Owned::regular(3, vec![2300; 21]).encode();
    assert_eq!(Owned::decode(&[]), Err(DecodeError::Empty));
    assert_eq!(Owned::decode(&[0x20]), Err(DecodeError::UnknownFormat(2)));
    assert_eq!(Owned::decode(&[&good[..], &[1]].concat()), Err(DecodeError::Malformed));
    assert_eq!(Owned::decode(&[&good[..], &[0; 9]].concat()), Err(DecodeError::Trailing));
    // The highest class of rows does not exist.
    assert_eq!(Owned::decode(&[0x10, 0xff, 0xff]), Err(DecodeError::Malformed));
    let mut small: CodecMemory<2> = CodecMemory::new();
    let refused = Decoder::new(&good, &mut small).err();
    assert_eq!(refused, Some(DecodeError::State { room: 2, columns: 3 }));
    let mut state: CodecMemory<3> = CodecMemory::new();
    let mut decoder = Decoder::new(&good, &mut state).unwrap();
    let refused = decoder.next_row(&mut [0; 2], &mut [Mark::Read; 3]);
    assert_eq!(refused, Err(DecodeError::Row { columns: 3, got: 2 }));
}

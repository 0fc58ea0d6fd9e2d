//! Pieces and whole images: what is checked before it is written, and before it is started.

use ecowatt_artifact::{
    Description, Hash, Image, ImageCheck, ImageError, PIECES_MAX, PROOF_MAX, Payload, PieceCheck,
    PieceError, PieceSize, TreeBuilder, leaf, proof, sha256,
};

use crate::{image, manifest_of, root_of};

const PIECE: usize = 4096;

fn leaves(payload: &[u8]) -> Vec<Hash> {
    payload.chunks(PIECE).map(leaf).collect()
}

fn proof_of(leaves: &[Hash], index: usize) -> Vec<u8> {
    let mut out = [0; PROOF_MAX];
    let length = proof(leaves, index, &mut out).unwrap();
    out[..length].to_vec()
}

fn check_of(payload: &[u8]) -> PieceCheck {
    let size = u32::try_from(payload.len()).unwrap();
    PieceCheck::new(size, PieceSize::SMALLEST, root_of(payload))
}

fn index(at: usize) -> u32 {
    u32::try_from(at).unwrap()
}

#[test]
fn every_block_of_payloads_of_every_length_has_a_proof() {
    for pieces in 1..=33 {
        // The last piece is a byte.
        let payload: Vec<u8> =
            (0..(pieces - 1) * PIECE + 1).map(|at| u8::try_from(at / PIECE).unwrap()).collect();
        let (check, leaves) = (check_of(&payload), leaves(&payload));
        assert_eq!(check.count(), index(pieces));
        for (at, piece) in payload.chunks(PIECE).enumerate() {
            let proof = proof_of(&leaves, at);
            assert_eq!(check.check(index(at), piece, &proof), Ok(()), "{at} of {pieces}");
            // At no other place, and with no other proof.
            for other in (0..pieces).filter(|other| *other != at) {
                let moved = check.check(index(other), piece, &proof_of(&leaves, other));
                assert!(moved.is_err(), "{at} at {other} of {pieces}");
            }
            for wrong in [&[][..], &proof[..proof.len().saturating_sub(1)], &[0; 32]] {
                let is_right = wrong == proof;
                assert_eq!(check.check(index(at), piece, wrong).is_ok(), is_right);
            }
        }
    }
}

#[test]
fn no_bit_of_piece_or_proof_can_be_changed() {
    let image = image();
    let (check, leaves) = (check_of(&image), leaves(&image));
    for at in 0..3 {
        let mut piece = image.chunks(PIECE).nth(at).unwrap().to_vec();
        let mut proof = proof_of(&leaves, at);
        let wrong = Err(PieceError::WrongBytes(index(at)));
        for bit in (0..piece.len() * 8).step_by(97) {
            piece[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(check.check(index(at), &piece, &proof), wrong);
            piece[bit / 8] ^= 1 << (bit % 8);
        }
        for bit in 0..proof.len() * 8 {
            proof[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(check.check(index(at), &piece, &proof), wrong);
            proof[bit / 8] ^= 1 << (bit % 8);
        }
        assert_eq!(check.check(index(at), &piece, &proof), Ok(()));
    }
}

#[test]
fn inner_node_is_not_taken_for_a_block() {
    // Without the leading byte of leaves and nodes, two hashes would be a piece of 64 bytes.
    let image = image();
    let leaves = leaves(&image);
    let node = [leaves[0], leaves[1]].concat();
    let size = u32::try_from(node.len()).unwrap();
    let check = PieceCheck::new(size, PieceSize::SMALLEST, root_of(&image[..8192]));
    assert_eq!(check.check(0, &node, &[]), Err(PieceError::WrongBytes(0)));
}

#[test]
fn blocks_have_their_length_and_end_with_the_payload() {
    let image = image();
    let (check, leaves) = (check_of(&image), leaves(&image));
    let last = &image[2 * PIECE..];
    let proof = proof_of(&leaves, 2);
    let wrong = |got| Err(PieceError::WrongLength { index: 2, got, expected: last.len() });
    assert_eq!(check.check(2, &last[..last.len() - 1], &proof), wrong(last.len() - 1));
    assert_eq!(check.check(2, &image[..PIECE], &proof), wrong(PIECE));
    assert_eq!(check.check(2, &[], &proof), wrong(0));
    for beyond in [3, 4, PIECES_MAX, u32::MAX] {
        assert_eq!(check.check(beyond, last, &proof), Err(PieceError::NoSuchPiece(beyond)));
    }
}

#[test]
fn proof_is_bounded() {
    let image = image();
    let endless = vec![0; PROOF_MAX + 32];
    let wrong = Err(PieceError::WrongBytes(0));
    assert_eq!(check_of(&image).check(0, &image[..PIECE], &endless), wrong);
    assert_eq!(proof(&leaves(&image), 3, &mut [0; PROOF_MAX]), None);
}

#[test]
fn tree_takes_as_many_blocks_as_the_largest_payload_has() {
    let mut builder = TreeBuilder::default();
    for _ in 0..PIECES_MAX {
        assert!(builder.push([3; 32]));
    }
    let full = builder.root();
    assert!(!builder.push([3; 32]));
    assert_eq!(builder.root(), full);
    assert_eq!(PieceSize::SMALLEST.count(ecowatt_artifact::SIZE_MAX), PIECES_MAX);
}

#[test]
fn image_is_its_bytes_and_no_others() {
    let image = image();
    let manifest = manifest_of(&image);
    let check = |parts: &[&[u8]]| {
        let mut check = ImageCheck::new(manifest.image);
        parts.iter().try_for_each(|part| check.update(part))?;
        check.finish()
    };
    assert_eq!(check(&[&image]), Ok(()));
    assert_eq!(check(&[&image[..1], &image[1..4096], &[], &image[4096..]]), Ok(()));
    let too_short = ImageError::TooShort { got: 9_999, expected: 10_000 };
    assert_eq!(check(&[&image[..9_999]]), Err(too_short));
    assert_eq!(check(&[&image, &[0]]), Err(ImageError::TooLong(10_000)));
    let mut damaged = image.clone();
    for at in (0..image.len()).step_by(101) {
        damaged[at] ^= 0x10;
        assert_eq!(check(&[&damaged]), Err(ImageError::WrongHash));
        damaged[at] ^= 0x10;
    }
}

#[test]
fn endless_stream_ends_at_the_size() {
    let image = Image { size: 10_000, sha256: sha256(b"") };
    let mut check = ImageCheck::new(image);
    let taken = (0..).take_while(|_| check.update(&[0; 1000]).is_ok()).count();
    assert_eq!(taken, 10);
}

#[test]
fn description_does_not_depend_on_how_the_bytes_arrive() {
    for length in [0, 1, 4095, 4096, 4097, 8192, 10_000] {
        let image = &image()[..length];
        for step in [1, 7, 4096, 5000, 20_000] {
            let mut description = Description::new(PieceSize::SMALLEST);
            image.chunks(step).for_each(|bytes| description.update(bytes).unwrap());
            let (described, payload) = description.finish();
            let size = u32::try_from(length).unwrap();
            assert_eq!(described, Image { size, sha256: sha256(image) });
            let expected = Payload::plain(size, PieceSize::SMALLEST, root_of(image));
            assert_eq!(payload, expected, "{length} in steps of {step}");
        }
    }
}

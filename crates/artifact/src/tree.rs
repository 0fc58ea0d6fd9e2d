//! The hash tree over the pieces of a payload, as RFC 9162 section 2.1 defines it, with SHA-256.
//!
//! The manifest contains its root. With a proof of at most [`PROOF_MAX`] bytes any piece can be
//! checked by itself, in any order, without memory of the others: a transfer may go on anywhere.

use sha2::{Digest as _, Sha256};

use crate::piece_size::PieceSize;

/// Length of a hash.
pub const HASH_BYTES: usize = 32;
/// A SHA-256.
pub type Hash = [u8; HASH_BYTES];

/// Most pieces of a payload: 256 MiB in pieces of the smallest size.
pub const PIECES_MAX: u32 = 1 << LEVELS_MAX;
/// Longest proof of a piece, in bytes.
pub const PROOF_MAX: usize = LEVELS_MAX * HASH_BYTES;
const LEVELS_MAX: usize = 16;

/// The hash of a piece.
#[must_use]
pub fn leaf(piece: &[u8]) -> Hash {
    leaf_hash().chain_update(piece).finalize().into()
}

/// The beginning of a piece's hash.
pub(crate) fn leaf_hash() -> Sha256 {
    Sha256::new().chain_update([0])
}

/// The hash of two subtrees.
fn node(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

/// Computes the root from the pieces' hashes in order, in fixed memory.
#[derive(Debug, Clone)]
pub struct TreeBuilder {
    /// Roots of the complete subtrees so far, the largest first: one for each bit of `count`.
    roots: [Hash; LEVELS_MAX],
    count: u32,
}

impl Default for TreeBuilder {
    fn default() -> Self {
        Self { roots: [[0; HASH_BYTES]; LEVELS_MAX], count: 0 }
    }
}

impl TreeBuilder {
    /// Adds the next piece's hash; returns whether there was room for it.
    pub fn push(&mut self, leaf: Hash) -> bool {
        if self.count == PIECES_MAX {
            return false;
        }
        let mut hash = leaf;
        let mut top = self.height();
        let mut rest = self.count;
        // Each bit set is a subtree of the size that `hash` has; the two make one twice the size.
        while rest & 1 == 1 {
            top -= 1;
            hash = node(&self.roots[top], &hash);
            rest >>= 1;
        }
        self.roots[top] = hash;
        self.count += 1;
        true
    }

    /// The root; that of no pieces is the hash of nothing.
    #[must_use]
    pub fn root(&self) -> Hash {
        let roots = &self.roots[..self.height()];
        let Some((last, earlier)) = roots.split_last() else { return Sha256::digest([]).into() };
        earlier.iter().rev().fold(*last, |right, left| node(left, &right))
    }

    /// The root of a payload in pieces of the smallest size.
    #[must_use]
    pub fn root_of(payload: &[u8]) -> Hash {
        let mut builder = Self::default();
        for piece in payload.chunks(PieceSize::SMALLEST.bytes()) {
            builder.push(leaf(piece));
        }
        builder.root()
    }

    fn height(&self) -> usize {
        // At most 16 bits are set, since 2^16 pieces are the limit.
        usize::try_from(self.count.count_ones()).unwrap_or(0)
    }
}

/// Writes the proof of the piece at `index` to `out` and returns its length; `leaves` are the
/// hashes of all pieces. `None` if there is no such piece.
#[must_use]
pub fn proof(leaves: &[Hash], index: usize, out: &mut [u8; PROOF_MAX]) -> Option<usize> {
    if index >= leaves.len() || leaves.len() > usize::try_from(PIECES_MAX).ok()? {
        return None;
    }
    let mut length = 0;
    path(leaves, index, &mut |hash| {
        out[length..length + HASH_BYTES].copy_from_slice(hash);
        length += HASH_BYTES;
    });
    Some(length)
}

/// `PATH(m, D[n])` of RFC 9162 section 2.1.3.1: siblings from the bottom to the top.
fn path(leaves: &[Hash], index: usize, emit: &mut dyn FnMut(&Hash)) {
    let Some(left_len) = left_len(leaves.len()) else { return };
    let (left, right) = leaves.split_at(left_len);
    if index < left_len {
        path(left, index, emit);
        emit(&root_of_leaves(right));
    } else {
        path(right, index - left_len, emit);
        emit(&root_of_leaves(left));
    }
}

/// Leaves in the left subtree: the largest power of two below `count`; `None` for a single leaf.
fn left_len(count: usize) -> Option<usize> {
    (count > 1).then(|| 1 << (count - 1).ilog2())
}

fn root_of_leaves(leaves: &[Hash]) -> Hash {
    let mut builder = TreeBuilder::default();
    for leaf in leaves {
        builder.push(*leaf);
    }
    builder.root()
}

/// Whether `proof` leads from a piece's hash to the root (RFC 9162 section 2.1.3.2).
pub(crate) fn leads_to_root(root: &Hash, place: Place, leaf: Hash, proof: &[u8]) -> bool {
    let (siblings, []) = proof.as_chunks::<HASH_BYTES>() else { return false };
    if place.index >= place.count {
        return false;
    }
    let (mut at, mut last) = (place.index, place.count - 1);
    let mut hash = leaf;
    for sibling in siblings {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            hash = node(sibling, &hash);
            // A subtree without a right neighbour moves up until it is a right one itself.
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            hash = node(&hash, sibling);
        }
        at >>= 1;
        last >>= 1;
    }
    last == 0 && hash == *root
}

/// Which piece of how many.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) index: u32,
    pub(crate) count: u32,
}

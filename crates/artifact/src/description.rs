//! From an image to what its manifest says of it.

use sha2::{Digest as _, Sha256};

use crate::image::{Image, ImageError, SIZE_MAX};
use crate::manifest::Payload;
use crate::piece_size::PieceSize;
use crate::tree::{self, Hash, TreeBuilder};

/// Describes an image that is its own payload, from its bytes in order, in fixed memory.
#[derive(Clone)]
pub struct Description {
    piece: PieceSize,
    size: u32,
    image: Sha256,
    /// The piece that is not complete.
    leaf: Sha256,
    tree: TreeBuilder,
}

impl Description {
    /// Of nothing so far.
    #[must_use]
    pub fn new(piece: PieceSize) -> Self {
        let (image, leaf) = (Sha256::new(), tree::leaf_hash());
        Self { piece, size: 0, image, leaf, tree: TreeBuilder::default() }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// If the image becomes larger than [`SIZE_MAX`].
    pub fn update(&mut self, mut bytes: &[u8]) -> Result<(), ImageError> {
        while !bytes.is_empty() {
            let left = self.left_in_piece().min(bytes.len());
            let (now, later) = bytes.split_at(left);
            let more = u32::try_from(left).map_err(|_| ImageError::TooLong(SIZE_MAX))?;
            let size = self.size.checked_add(more).filter(|size| *size <= SIZE_MAX);
            self.size = size.ok_or(ImageError::TooLong(SIZE_MAX))?;
            self.image.update(now);
            self.leaf.update(now);
            if self.left_in_piece() == self.piece.bytes() {
                self.finish_piece();
            }
            bytes = later;
        }
        Ok(())
    }

    /// What was taken.
    #[must_use]
    pub fn finish(mut self) -> (Image, Payload) {
        if self.left_in_piece() != self.piece.bytes() {
            self.finish_piece();
        }
        let image = Image { size: self.size, sha256: self.image.finalize().into() };
        (image, Payload::plain(self.size, self.piece, self.tree.root()))
    }

    fn left_in_piece(&self) -> usize {
        let piece = self.piece.bytes();
        piece - usize::try_from(self.size).unwrap_or(0) % piece
    }

    fn finish_piece(&mut self) {
        let leaf = core::mem::replace(&mut self.leaf, tree::leaf_hash());
        let leaf: Hash = leaf.finalize().into();
        // SIZE_MAX bytes have at most as many pieces as a tree has room for.
        self.tree.push(leaf);
    }
}

//! Pieces of a payload: each is checked by itself before anything made of it is written.

use crate::piece_size::PieceSize;
use crate::tree::{Hash, PROOF_MAX, Place, leads_to_root, leaf};

/// Why a piece was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PieceError {
    /// The payload ends before it.
    #[error("there is no piece {0} in the payload")]
    NoSuchPiece(u32),
    /// All but the last have the size that the manifest names.
    #[error("piece {index} has {got} bytes instead of {expected}")]
    WrongLength {
        /// Number of the piece.
        index: u32,
        /// Bytes that came.
        got: usize,
        /// Bytes that it must have.
        expected: usize,
    },
    /// Piece or proof are not those of the signed payload.
    #[error("piece {0} is not the one that was signed")]
    WrongBytes(u32),
}

/// Checks pieces against a signed root; 40 bytes, and no memory of other pieces.
#[derive(Debug, Clone, Copy)]
pub struct PieceCheck {
    root: Hash,
    size: u32,
    piece: PieceSize,
}

impl PieceCheck {
    /// For a payload of `size` bytes whose tree has this root.
    #[must_use]
    pub const fn new(size: u32, piece: PieceSize, root: Hash) -> Self {
        Self { root, size, piece }
    }

    /// Number of pieces.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.piece.count(self.size)
    }

    /// Length of a piece: the last is as long as the rest.
    ///
    /// # Errors
    /// If there is no such piece.
    pub fn length(&self, index: u32) -> Result<usize, PieceError> {
        if index >= self.count() {
            return Err(PieceError::NoSuchPiece(index));
        }
        let rest = self.size - (index << self.piece.exponent());
        Ok(self.piece.bytes().min(usize::try_from(rest).unwrap_or(usize::MAX)))
    }

    /// Checks a whole piece.
    ///
    /// # Errors
    /// If the piece is not the one that was signed at this place.
    pub fn check(&self, index: u32, bytes: &[u8], proof: &[u8]) -> Result<(), PieceError> {
        let expected = self.length(index)?;
        if bytes.len() != expected {
            return Err(PieceError::WrongLength { index, got: bytes.len(), expected });
        }
        let place = Place { index, count: self.count() };
        if proof.len() > PROOF_MAX || !leads_to_root(&self.root, place, leaf(bytes), proof) {
            return Err(PieceError::WrongBytes(index));
        }
        Ok(())
    }
}

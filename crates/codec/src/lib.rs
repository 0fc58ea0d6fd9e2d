//! Ordered samples ↔ bytes, without loss.
//!
//! A *batch* is a table of 16-bit register words with one [`Mark`] per cell and one time per row.
//! [`encode()`] turns it into self-contained bytes; [`Decoder`] returns the rows one by one.
//! Nothing here allocates, the work for a batch is bounded by its rows and columns, and bytes that
//! no encoder writes are refused wherever that is cheap to detect.
//!
//! The first byte contains the format in its upper half and flags in its lower half (see `header`);
//! the rest is one code word of a range coder: rows, columns, times, then row by row the marks and
//! words. A cell that was not read has no word; it decodes as zero.
//!
//! ```
//! use ecowatt_codec::{Batch, Decoder, CodecMemory, TimeBase, encode, encoded_len_max};
//! use ecowatt_model::Mark;
//!
//! let batch = Batch {
//!     base: TimeBase::Unix,
//!     columns: 2,
//!     times: &[1_700_000_000_000, 1_700_000_005_000],
//!     words: &[2305, 4999, 2307, 5001],
//!     marks: None,
//! };
//! let mut bytes = [0; encoded_len_max(2, 2)];
//! let mut state: CodecMemory<2> = CodecMemory::new();
//! let len = encode(&batch, &mut state, &mut bytes)?;
//!
//! let mut decoder = Decoder::new(&bytes[..len], &mut state)?;
//! let (mut words, mut marks) = ([0; 2], [Mark::Read; 2]);
//! assert_eq!(decoder.next_row(&mut words, &mut marks)?, Some(1_700_000_000_000));
//! assert_eq!(words, [2305, 4999]);
//! assert_eq!(decoder.next_row(&mut words, &mut marks)?, Some(1_700_000_005_000));
//! assert_eq!(decoder.next_row(&mut words, &mut marks)?, None);
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```
#![no_std]

mod decode;
mod encode;
mod header;
mod marks;
mod predictor;
mod priors;
pub mod range_coder;
mod state;
mod times;
#[cfg(test)]
mod training;
mod words;

pub use decode::{DecodeError, Decoder};
pub use ecowatt_model::{COLUMNS_MAX, Mark, ROWS_MAX};
pub use encode::{
    Batch, BatchRows, EncodeError, encode, encode_rows, encoded_len_max, encoded_len_max_of,
};
pub use header::{TimeBase, time_base};
pub use state::CodecMemory;

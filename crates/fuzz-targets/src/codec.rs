//! Batches: any bytes decode or are refused, any batch comes back.

use ecowatt_codec::{
    Batch, CodecMemory, DecodeError, Decoder, EncodeError, Mark, TimeBase, encode, encoded_len_max,
};

use crate::steer;

/// The format that predicts; the plain one may be chosen for bytes that would be smaller otherwise.
const ADAPTIVE: u8 = 1;

#[derive(Debug, PartialEq, Eq)]
struct Table {
    base: TimeBase,
    columns: usize,
    times: Vec<i64>,
    words: Vec<u16>,
    marks: Vec<Mark>,
}

impl Table {
    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut state: Box<CodecMemory> = Box::default();
        let mut decoder = Decoder::new(bytes, &mut state)?;
        let columns = decoder.columns();
        let base = decoder.base();
        let (mut times, mut words, mut marks) = (Vec::new(), Vec::new(), Vec::new());
        let (mut row_words, mut row_marks) = (vec![0; columns], vec![Mark::Read; columns]);
        while let Some(time) = decoder.next_row(&mut row_words, &mut row_marks)? {
            times.push(time);
            words.extend_from_slice(&row_words);
            marks.extend_from_slice(&row_marks);
        }
        assert_eq!(times.len(), decoder.rows());
        Ok(Self { base, columns, times, words, marks })
    }

    fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        let mut bytes = vec![0; encoded_len_max(self.times.len(), self.columns)];
        let batch = Batch {
            base: self.base,
            columns: self.columns,
            times: &self.times,
            words: &self.words,
            marks: Some(&self.marks),
        };
        let mut state: Box<CodecMemory> = Box::default();
        let len = encode(&batch, &mut state, &mut bytes)?;
        bytes.truncate(len);
        Ok(bytes)
    }
}

/// What decodes encodes again, to the same bytes where both are of the format that predicts.
pub fn codec_decode(data: &[u8]) {
    let Ok(table) = Table::decode(data) else {
        return;
    };
    let again = table.encode().expect("what was decoded has a size that is encoded");
    let is_adaptive = |bytes: &[u8]| bytes.first().is_some_and(|first| first >> 4 == ADAPTIVE);
    if is_adaptive(data) && is_adaptive(&again) {
        assert_eq!(again, data);
    }
    assert_eq!(Table::decode(&again).as_ref(), Ok(&table));
}

/// A batch cut from the bytes comes back.
pub fn codec_round_trip(data: &[u8]) {
    let Some((&[columns, flags], data)) = steer(data) else {
        return;
    };
    let columns = usize::from(columns % 16) + 1;
    let base = if flags & 1 == 0 { TimeBase::Unix } else { TimeBase::SinceBoot };
    let unit = if flags & 2 == 0 { 1000 } else { 1 };
    let (mut times, mut words, mut marks) = (Vec::new(), Vec::new(), Vec::new());
    let mut time = 1_700_000_000_000_i64;
    // A row: its step, then a mark and two bytes of a word for each column.
    for row in data.chunks_exact(1 + 3 * columns).take(ecowatt_codec::ROWS_MAX) {
        time += unit * i64::from(row[0].cast_signed());
        times.push(time);
        for cell in row[1..].chunks_exact(3) {
            let mark = if flags & 4 == 0 { 0 } else { cell[0] % 8 };
            let mark = Mark::from_code(mark).expect("there are eight marks");
            marks.push(mark);
            let word = u16::from_be_bytes([cell[1], cell[2]]);
            words.push(if mark == Mark::Read { word } else { 0 });
        }
    }
    let table = Table { base, columns, times, words, marks };
    match table.encode() {
        Ok(bytes) => assert_eq!(Table::decode(&bytes), Ok(table)),
        Err(error) => assert_eq!(error, EncodeError::Rows(0)),
    }
}

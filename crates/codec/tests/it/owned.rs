//! A batch that owns its parts, for tests.

use ecowatt_codec::{
    Batch, CodecMemory, DecodeError, Decoder, EncodeError, Mark, TimeBase, encode, encoded_len_max,
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owned {
    pub(crate) base: TimeBase,
    pub(crate) columns: usize,
    pub(crate) times: Vec<i64>,
    pub(crate) words: Vec<u16>,
    pub(crate) marks: Vec<Mark>,
}

impl Owned {
    /// All cells read, rows five seconds apart.
    pub(crate) fn regular(columns: usize, words: Vec<u16>) -> Self {
        let rows = i64::try_from(words.len() / columns).unwrap();
        Self {
            base: TimeBase::Unix,
            columns,
            times: (0..rows).map(|row| 1_451_606_400_000 + 5000 * row).collect(),
            marks: vec![Mark::Read; words.len()],
            words,
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        self.try_encode().unwrap()
    }

    pub(crate) fn try_encode(&self) -> Result<Vec<u8>, EncodeError> {
        let mut bytes = vec![0; encoded_len_max(self.times.len(), self.columns)];
        let mut state: Box<CodecMemory> = Box::default();
        let batch = Batch {
            base: self.base,
            columns: self.columns,
            times: &self.times,
            words: &self.words,
            marks: Some(&self.marks),
        };
        let len = encode(&batch, &mut state, &mut bytes)?;
        bytes.truncate(len);
        Ok(bytes)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut state: Box<CodecMemory> = Box::default();
        let mut decoder = Decoder::new(bytes, &mut state)?;
        let columns = decoder.columns();
        let mut decoded = Self {
            base: decoder.base(),
            columns,
            times: Vec::new(),
            words: Vec::new(),
            marks: Vec::new(),
        };
        let (mut words, mut marks) = (vec![0; columns], vec![Mark::Read; columns]);
        while let Some(time) = decoder.next_row(&mut words, &mut marks)? {
            decoded.times.push(time);
            decoded.words.extend_from_slice(&words);
            decoded.marks.extend_from_slice(&marks);
        }
        assert_eq!(decoded.times.len(), decoder.rows());
        Ok(decoded)
    }

    /// The batch as it decodes: words of unread cells are zero.
    pub(crate) fn canonical(mut self) -> Self {
        for (word, mark) in self.words.iter_mut().zip(&self.marks) {
            if *mark != Mark::Read {
                *word = 0;
            }
        }
        self
    }
}

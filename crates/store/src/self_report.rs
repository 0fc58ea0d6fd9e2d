//! A device's last report about itself, as one value.

use ecowatt_model::SourceNumber;

use crate::fleet::{Diagnostic, InverterReport, InverterState};
use crate::varint::{put_u64, take_u8, take_u64};

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct SelfReport {
    pub(crate) inverters: Vec<InverterReport>,
    pub(crate) diagnostics: Vec<Diagnostic>,
}

impl SelfReport {
    /// Approximate size in memory, bytes.
    pub(crate) fn weight(&self) -> usize {
        let texts = self.diagnostics.iter().map(|one| one.name.len() + one.value.len());
        size_of_val(&self.diagnostics[..]) + texts.sum::<usize>()
    }

    /// Encodes the number of inverters, (number, state) of each, then names and values, length
    /// first.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_u64(&mut out, u64::try_from(self.inverters.len()).unwrap_or(u64::MAX));
        for inverter in &self.inverters {
            out.extend([inverter.source.0, inverter.state.code()]);
        }
        for text in self.diagnostics.iter().flat_map(|one| [&one.name, &one.value]) {
            put_u64(&mut out, u64::try_from(text.len()).unwrap_or(u64::MAX));
            out.extend_from_slice(text.as_bytes());
        }
        out
    }

    pub(crate) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let mut report = Self::default();
        if bytes.is_empty() {
            return Some(report);
        }
        for _ in 0..take_u64(&mut bytes)? {
            let source = SourceNumber(take_u8(&mut bytes)?);
            let state = InverterState::from_code(take_u8(&mut bytes)?)?;
            report.inverters.push(InverterReport { source, state });
        }
        while !bytes.is_empty() {
            let name = take_text(&mut bytes)?;
            report.diagnostics.push(Diagnostic { name, value: take_text(&mut bytes)? });
        }
        Some(report)
    }
}

fn take_text(bytes: &mut &[u8]) -> Option<String> {
    let length = usize::try_from(take_u64(bytes)?).ok()?;
    let (text, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    String::from_utf8(text.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn report_comes_back() {
        let report = SelfReport {
            inverters: vec![InverterReport {
                source: SourceNumber(0),
                state: InverterState::Asleep,
            }],
            diagnostics: vec![Diagnostic::new("boot", "power cut"), Diagnostic::new("µ", "")],
        };
        assert_eq!(SelfReport::decode(&report.encode()), Some(report));
        assert_eq!(SelfReport::decode(&[]), Some(SelfReport::default()));
    }
}

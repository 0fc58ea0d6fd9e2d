//! Claim codes: what an operator enters on a new device.

use core::fmt;
use core::str::FromStr;

use zeroize::Zeroizing;

/// Crockford's base 32: no I, L, O, U.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const ID_SYMBOLS: usize = 5;
const SECRET_SYMBOLS: usize = 15;
const SYMBOLS: usize = ID_SYMBOLS + SECRET_SYMBOLS;

/// The part of a claim code that is not secret; the server uses it to find the claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClaimId([u8; ID_SYMBOLS]);

impl ClaimId {
    /// The five symbols.
    #[must_use]
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&self.0).expect("symbols are ASCII")
    }
}

impl fmt::Display for ClaimId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ClaimId {
    type Err = ParseClaimCodeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_symbols(text).map(Self)
    }
}

/// A one-time code of 100 bits: 25 identify the claim, 75 are secret.
///
/// Written `XXXXX-XXXXX-XXXXX-XXXXX`; accepted with or without dashes, in upper or lower case, with
/// O for 0 and I or L for 1.
#[derive(Clone, PartialEq, Eq)]
pub struct ClaimCode(Zeroizing<[u8; SYMBOLS]>);

/// The text is not a claim code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a claim code is four groups of five letters and digits, such as XXXXX-XXXXX-XXXXX-XXXXX")]
pub struct ParseClaimCodeError;

impl ClaimCode {
    /// Creates a code from random bytes, five bits from each.
    #[must_use]
    pub fn from_random(random: &[u8; SYMBOLS]) -> Self {
        Self(Zeroizing::new(random.map(|byte| ALPHABET[usize::from(byte & 31)])))
    }

    /// The part that is not secret.
    #[must_use]
    pub fn id(&self) -> ClaimId {
        let mut id = [0; ID_SYMBOLS];
        id.copy_from_slice(&self.0[..ID_SYMBOLS]);
        ClaimId(id)
    }

    /// The secret symbols.
    pub(crate) fn secret(&self) -> &[u8] {
        &self.0[ID_SYMBOLS..]
    }

    /// The code as it is shown to people. It must not be logged.
    pub fn expose(&self) -> impl fmt::Display {
        struct Grouped<'a>(&'a ClaimCode);
        impl fmt::Display for Grouped<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                for (index, group) in self.0.0.chunks(ID_SYMBOLS).enumerate() {
                    if index > 0 {
                        f.write_str("-")?;
                    }
                    f.write_str(core::str::from_utf8(group).expect("symbols are ASCII"))?;
                }
                Ok(())
            }
        }
        Grouped(self)
    }
}

impl fmt::Debug for ClaimCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClaimCode({}..)", self.id())
    }
}

impl FromStr for ClaimCode {
    type Err = ParseClaimCodeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_symbols(text).map(|symbols| Self(Zeroizing::new(symbols)))
    }
}

fn parse_symbols<const N: usize>(text: &str) -> Result<[u8; N], ParseClaimCodeError> {
    let mut symbols = [0; N];
    let mut count = 0;
    for byte in text.trim().bytes().filter(|byte| *byte != b'-') {
        let symbol = match byte.to_ascii_uppercase() {
            b'O' => b'0',
            b'I' | b'L' => b'1',
            other => other,
        };
        if !ALPHABET.contains(&symbol) {
            return Err(ParseClaimCodeError);
        }
        *symbols.get_mut(count).ok_or(ParseClaimCodeError)? = symbol;
        count += 1;
    }
    if count == N { Ok(symbols) } else { Err(ParseClaimCodeError) }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::string::ToString as _;

    use super::*;

    #[test]
    fn dashes_case_and_similar_letters_are_accepted() {
        let code: ClaimCode = "01ABC-DEFGH-JKMNP-QRSTV".parse().unwrap();
        assert_eq!(code.expose().to_string(), "01ABC-DEFGH-JKMNP-QRSTV");
        assert_eq!(code.id().as_str(), "01ABC");
        assert_eq!(" oiabcdefghjkmnpqrstv ".parse(), Ok(code.clone()));
        assert_eq!(std::format!("{code:?}"), "ClaimCode(01ABC..)");
        for bad in
            ["", "01ABC-DEFGH-JKMNP-QRST", "01ABC-DEFGH-JKMNP-QRSTVW", "U1ABC-DEFGH-JKMNP-QRSTV"]
        {
            assert_eq!(bad.parse::<ClaimCode>(), Err(ParseClaimCodeError), "{bad}");
        }
    }

    #[test]
    fn random_bytes_make_a_code_that_parses() {
        let mut random = [0; 20];
        for (byte, value) in random.iter_mut().zip((0u8..).step_by(13)) {
            *byte = value;
        }
        let code = ClaimCode::from_random(&random);
        let text = code.expose().to_string();
        assert_eq!(text.parse(), Ok(code));
    }
}

//! Units of points.

use core::fmt;
use core::str::FromStr;

macro_rules! units {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $symbol:literal;)*) => {
        /// Unit of a point. The discriminant is the code on the wire and in the store.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Unit {
            $($(#[$doc])* $variant = $code,)*
        }

        impl Unit {
            /// Returns the symbol used in profiles and the API; empty for [`Unit::None`].
            #[must_use]
            pub fn symbol(self) -> &'static str {
                match self { $(Self::$variant => $symbol,)* }
            }

            /// Returns the code used on the wire and in the store.
            #[must_use]
            pub fn code(self) -> u8 {
                self as u8
            }

            /// Returns the unit with this code.
            #[must_use]
            pub fn from_code(code: u8) -> Option<Self> {
                match code { $($code => Some(Self::$variant),)* _ => None }
            }
        }

        impl FromStr for Unit {
            type Err = ParseUnitError;

            fn from_str(symbol: &str) -> Result<Self, Self::Err> {
                match symbol { $($symbol => Ok(Self::$variant),)* _ => Err(ParseUnitError) }
            }
        }
    };
}

units! {
    /// A number without unit: states, bit fields, ratios.
    None = 0, "";
    Watt = 1, "W";
    VoltAmpere = 2, "VA";
    Var = 3, "var";
    WattHour = 4, "Wh";
    Volt = 5, "V";
    Ampere = 6, "A";
    Hertz = 7, "Hz";
    Celsius = 8, "degC";
    Percent = 9, "%";
    Second = 10, "s";
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.symbol())
    }
}

/// The text is not the symbol of a known unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParseUnitError;

impl fmt::Display for ParseUnitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unknown unit")
    }
}

impl core::error::Error for ParseUnitError {}

//! All cryptography between device and server: sealing, opening, keys, enrolment.
//!
//! A message is a COSE_Encrypt0 object (RFC 9052 section 5.2) under keys that belong to one device,
//! one key generation and one direction. The uplink's partial IV is the device's counter; a reply
//! is bound to its request through the additional data. Nothing here keeps state, reads a clock or
//! draws random numbers: counters, nonces and key material are arguments, and the caller must make
//! sure that they meet the documented conditions.
//!
//! ```
//! use ecowatt_envelope::{KeyId, LinkKeys, DeviceKey, RequestId, UnverifiedUplink, seal_uplink};
//! use ecowatt_model::{Counter, DeviceNumber, KeyGeneration};
//!
//! let kid = KeyId { device: DeviceNumber(7), generation: KeyGeneration(1) };
//! let keys = LinkKeys::derive(&DeviceKey::new([9; 32]), kid);
//! let request = RequestId { kid, counter: Counter(1) };
//!
//! let mut message = [0u8; 64];
//! message[..5].copy_from_slice(b"hello");
//! let length = seal_uplink(&keys, request, &mut message, 5)?;
//!
//! let sealed = UnverifiedUplink::parse(&message[..length])?;
//! assert_eq!(sealed.request(), request);
//! let mut plain = [0u8; 64];
//! assert_eq!(sealed.open(&keys, &mut plain)?, b"hello");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![no_std]

mod claim;
mod cose;
pub mod cosigned;
pub mod enrol;
mod key;
mod link;
pub mod original;
pub mod signed;

pub use claim::{ClaimCode, ClaimId, ParseClaimCodeError};
pub use key::{DeviceKey, KeyId, LinkKeys};
pub use link::{
    MESSAGE_MAX, OpenError, REPLY_NONCE_BYTES, REPLY_OVERHEAD_MAX, RequestId, SealError,
    UPLINK_OVERHEAD_MAX, UnverifiedUplink, open_reply, seal_reply, seal_uplink,
};

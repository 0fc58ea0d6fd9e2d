//! The update through its public API: a device that is switched on, updated and cut off.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

#[path = "../../../node/tests/it/nor/chip.rs"]
#[expect(dead_code, reason = "the node's tests use more of it")]
mod chip;
#[path = "../../../node/tests/it/rig/disk.rs"]
#[expect(dead_code, reason = "the node's tests use more of it")]
mod disk;
mod machine;
mod rig;
mod sweep;
mod versions {
    mod v1;
}

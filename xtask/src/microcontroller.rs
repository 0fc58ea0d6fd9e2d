//! Builds the node and everything below it for a microcontroller, and runs one in emulation.
//!
//! `firmware/measure` links `node` with all crates of the device. It prints what a sample and an
//! upload cost when QEMU runs it; its sections tell how much flash and static memory they take.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::install::{self, Missing};
use crate::run::{self, Root, cargo, command, output};

/// ESP32-C3: no atomic compare-and-swap.
const TARGET: &str = "riscv32imc-unknown-none-elf";
const QEMU: &str = "qemu-system-riscv32";
/// Flash that the node may take: a fifth of the 1.9 MiB that an ESP32-C3 with two slots has for one.
const TEXT_MAX: u64 = 400 * 1024;

/// Checks that the compiler can build for the target; installs that where it is asked for.
pub(crate) fn target_is_there(root: &Root, missing: Missing) -> Result<()> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let folder =
        output(command(root, rustc).args(["--print", "target-libdir", "--target", TARGET]))?;
    if Path::new(folder.trim()).exists() {
        return Ok(());
    }
    ensure!(missing == Missing::Install, "this needs the target {TARGET}, which `--install` adds");
    run::check(command(root, "rustup").args(["target", "add", TARGET]))
}

/// Builds the program and prints the sizes of its sections.
pub(crate) fn build(root: &Root) -> Result<PathBuf> {
    let mut build = cargo(root);
    build.args(["build", "--quiet", "--release", "--locked", "--target", TARGET]);
    build.arg("--manifest-path").arg(root.join("firmware/measure/Cargo.toml"));
    build.arg("--target-dir").arg(root.target());
    run::check(&mut build)?;
    let program = root.target().join(TARGET).join("release/ecowatt-measure");
    let elf = std::fs::read(&program).context("reading the linked program")?;
    let sizes = sizes(&elf).context("the linked program is not a 32-bit ELF file")?;
    let Sizes { text, data, zeroed } = sizes;
    eprintln!(
        "    text {text} bytes, data {data} bytes, zeroed {zeroed} bytes (heap and stack included)"
    );
    ensure!(text <= TEXT_MAX, "the node takes {text} bytes of flash, more than {TEXT_MAX}");
    Ok(program)
}

/// Runs the program to its end; it prints its own figures.
pub(crate) fn emulate(root: &Root, program: &Path) -> Result<()> {
    let mut qemu = command(root, QEMU);
    qemu.args(["-M", "virt", "-m", "8M", "-bios", "none", "-icount", "shift=0"]);
    qemu.args(["-display", "none", "-monitor", "none", "-serial", "null"]);
    qemu.args(["-semihosting-config", "enable=on,target=native", "-kernel"]);
    run::check(qemu.arg(program))
}

/// Checks that the emulator is installed; installs it where that is asked for.
pub(crate) fn emulator_is_there(root: &Root, missing: Missing) -> Result<()> {
    if install::has(QEMU) {
        return Ok(());
    }
    install::debian_packages(root, &["qemu-system-misc"], missing)
}

/// Bytes of a program by where they go.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sizes {
    /// Code and constants.
    text: u64,
    /// Variables with an initial value, which take flash and memory.
    data: u64,
    /// Variables that begin as zeros.
    zeroed: u64,
}

/// Adds up the sections of a little-endian ELF32 file (System V ABI, "Sections").
fn sizes(elf: &[u8]) -> Option<Sizes> {
    const ALLOCATED: u32 = 2;
    const WRITABLE: u32 = 1;
    const NO_BITS: u32 = 8;
    elf.strip_prefix(b"\x7fELF\x01\x01")?;
    let number = |at: usize| Some(u32::from_le_bytes(*elf.get(at..)?.first_chunk()?));
    let half = |at: usize| Some(u16::from_le_bytes(*elf.get(at..)?.first_chunk()?));
    let table = usize::try_from(number(32)?).ok()?;
    let (entry, count) = (usize::from(half(46)?), usize::from(half(48)?));
    let mut sizes = Sizes::default();
    for section in 0..count {
        let at = table + section * entry;
        let (kind, flags, address) = (number(at + 4)?, number(at + 8)?, number(at + 12)?);
        if flags & ALLOCATED == 0 || address == 0 {
            continue;
        }
        let size = u64::from(number(at + 20)?);
        let place = match (kind == NO_BITS, flags & WRITABLE != 0) {
            (true, _) => &mut sizes.zeroed,
            (false, true) => &mut sizes.data,
            (false, false) => &mut sizes.text,
        };
        *place += size;
    }
    Some(sizes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A section's header: type, flags, address, size.
    fn section([kind, flags, address, size]: [u32; 4]) -> Vec<u8> {
        [0, kind, flags, address, 0, size, 0, 0, 0, 0]
            .iter()
            .flat_map(|n| n.to_le_bytes())
            .collect()
    }

    #[test]
    fn sections_are_added_up_by_where_they_go() {
        let mut elf = b"\x7fELF\x01\x01".to_vec();
        elf.resize(52, 0);
        elf[32] = 52;
        elf[46] = 40;
        elf[48] = 6;
        for fields in [
            [0, 0, 0, 0],
            [1, 2 | 4, 0x8000_0000, 1000],
            [1, 2, 0x8000_1000, 200],
            [1, 3, 0x8040_0000, 30],
            [8, 3, 0x8040_0100, 4],
            // Symbols and names are not loaded.
            [3, 0, 0, 5000],
        ] {
            elf.extend(section(fields));
        }
        assert_eq!(sizes(&elf), Some(Sizes { text: 1200, data: 30, zeroed: 4 }));
        assert_eq!(sizes(&elf[..elf.len() - 30]), None);
        assert_eq!(sizes(b"#!/bin/sh"), None);
    }
}

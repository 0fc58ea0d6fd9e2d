//! Checks a profile and prints what a device would read: `plan FILE.toml`.
//!
//! A SunSpec profile is compiled for a three-phase inverter with two strings.
#![expect(clippy::print_stdout, reason = "printing is its purpose")]

use std::error::Error;

use ecowatt_profile::sunspec::FoundModel;
use ecowatt_profile::{NamedGroup, Profile, ProfileError};

const SUNSPEC: [FoundModel; 5] = [
    FoundModel { id: 1, address: 40_002, length: 66 },
    FoundModel { id: 103, address: 40_070, length: 50 },
    FoundModel { id: 120, address: 40_122, length: 26 },
    FoundModel { id: 123, address: 40_150, length: 24 },
    FoundModel { id: 160, address: 40_176, length: 48 },
];

fn main() -> Result<(), Box<dyn Error>> {
    let file = std::env::args().nth(1).ok_or("name the file of a profile")?;
    let profile = match Profile::parse(&std::fs::read_to_string(&file)?) {
        Ok(profile) => profile,
        Err(ProfileError::Invalid(problems)) => {
            for problem in &problems {
                println!("{file}: {problem}");
            }
            return Err(format!("{} problems", problems.len()).into());
        }
    };
    let profile = if profile.needs_discovery() { profile.resolve(&SUNSPEC)? } else { profile };
    println!("{} version {}: {}", profile.id(), profile.version(), profile.title());
    for &kind in &profile.transport().kinds {
        let compiled = profile.compile(profile.link_cost(kind))?;
        println!("\nover {kind:?}");
        for read in compiled.plan.reads() {
            let NamedGroup { name, group } = &profile.groups()[usize::from(read.group)];
            let every = f64::from(group.every_ms) / 1000.0;
            let (table, address, count) = (read.table.as_str(), read.address, read.count);
            println!(
                "  {name}, every {every} s: {table} {address} to {} ({} of {count} registers needed)",
                address + (count - 1),
                read.column_count()
            );
        }
        println!("  layout of {} bytes, sent once", compiled.layout.to_cbor().len());
    }
    Ok(())
}

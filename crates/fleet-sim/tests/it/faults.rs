//! The table of faults in the documentation.

use std::path::Path;

use ecowatt_fleet_sim::faults;

#[test]
fn documentation_shows_the_table_of_faults() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/simulation.md");
    let page = std::fs::read_to_string(path).unwrap();
    let hint = "docs/simulation.md must show what `ecowatt simulate --faults-table` prints";
    assert!(page.contains(&faults::table()), "{hint}");
}

//! The table of attacks in `docs/firmware.md` names tests that exist.

const PAGE: &str = include_str!("../../../../docs/firmware.md");
const TESTS: [&str; 4] = [
    include_str!("devices.rs"),
    include_str!("manifests.rs"),
    include_str!("pieces.rs"),
    include_str!("trust.rs"),
];

#[test]
fn every_test_in_the_table_of_attacks_exists() {
    let (_, table) = PAGE.split_once("\n## Attacks\n").unwrap();
    let (table, _) = table.split_once("\n## ").unwrap();
    let names = table
        .lines()
        .filter(|line| line.starts_with('|'))
        .flat_map(|line| line.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>());
    let mut count = 0;
    for name in names {
        let function = format!("#[test]\nfn {name}()");
        assert!(TESTS.iter().any(|file| file.contains(&function)), "{name}");
        count += 1;
    }
    assert!(count > 20, "{count}");
}

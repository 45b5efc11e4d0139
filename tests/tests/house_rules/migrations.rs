//! Migrations: what a database may have applied never changes, or that database refuses to start with the next version.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::File;

/// Every migration, with the first 16 digits of its SHA-256. One that is on main is changed by a later one, never by itself.
const APPLIED: [(&str, &str); 31] = [
    ("adapters/migrations/0001_log.sql", "8e8d0f602566426d"),
    ("adapters/migrations/0002_snapshot.sql", "ac29c22913333221"),
    ("adapters/migrations/0003_vault.sql", "4e46e316ae2d718a"),
    ("adapters/migrations/0004_origin.sql", "84bd73475bf3cb33"),
    ("adapters/migrations/0005_cluster.sql", "3f4c87ef61cbcf67"),
    ("adapters/migrations/0006_access.sql", "37d9f714c2edf6ba"),
    ("adapters/migrations/0008_sign_on.sql", "74a0e1df96150fbe"),
    ("adapters/migrations/0009_tenancy.sql", "fc031b1089eb12f1"),
    ("adapters/migrations/0010_heard.sql", "b337cec246a5e0f1"),
    ("projections/migrations/0001_projection.sql", "8b1debad25dc8860"),
    ("projections/migrations/0002_lots.sql", "7ac06adcaf73f700"),
    ("projections/migrations/0003_genealogy.sql", "cd3aedc770599b60"),
    ("projections/migrations/0004_qc_decisions.sql", "2e2bc40f2723e465"),
    ("projections/migrations/0005_pipelines.sql", "7d563e58d457fbc8"),
    ("projections/migrations/0006_signals.sql", "a11983902942a06a"),
    ("projections/migrations/0007_samples.sql", "47d3f5bba7776ba8"),
    ("projections/migrations/0008_audit.sql", "956c994de2547142"),
    ("projections/migrations/0009_generations.sql", "4576897b2c0de0d5"),
    ("projections/migrations/0010_skips.sql", "21f8ea89e2bd8299"),
    ("projections/migrations/0011_lookups.sql", "08f53412eeb0e196"),
    ("projections/migrations/0012_access.sql", "b3af925f106e0649"),
    ("projections/migrations/0013_tenancy.sql", "347cfa12ccc92b8a"),
    ("projections/migrations/0020_master.sql", "cb8968daa4038056"),
    ("projections/migrations/0021_transformations.sql", "23acbe506fb5c1d3"),
    ("projections/migrations/0022_scenarios.sql", "27a4ba68b14d626d"),
    ("projections/migrations/0023_runs.sql", "ed924f18aba49913"),
    ("projections/migrations/0024_genealogy_position.sql", "36e7ba5772e6cfd1"),
    ("projections/migrations/0025_holds.sql", "22fac0632381c0fc"),
    ("projections/migrations/0027_receipts_and_shipments.sql", "8e15777474541d29"),
    ("projections/migrations/0030_alerts.sql", "e4618eaa86849b98"),
    ("projections/migrations/0032_stock_changes.sql", "10bf8496c6519ac4"),
];

/// What differs between the migrations that are there and those that were.
pub(crate) fn differences(files: &[File]) -> Vec<String> {
    let is_migration = |file: &&File| file.path.contains("/migrations/") && file.has_extension(&["sql"]);
    let digest = |file: &File| hex::encode(Sha256::digest(&file.text))[..16].to_owned();
    let found: BTreeMap<&str, String> =
        files.iter().filter(is_migration).map(|file| (file.path.as_str(), digest(file))).collect();
    let mut findings = Vec::new();
    for (path, applied) in APPLIED {
        match found.get(path) {
            None => findings.push(format!("{path} is gone, and databases have applied it")),
            Some(now) if now != applied => findings.push(format!("{path} has changed: write a new migration")),
            Some(_) => {}
        }
    }
    for (path, now) in found {
        if !APPLIED.iter().any(|(known, _)| *known == path) {
            findings.push(format!("{path} is new: add (\"{path}\", \"{now}\")"));
        }
    }
    findings
}

#[test]
fn planted_changes_are_found() {
    let planted = [File::new(APPLIED[0].0, "SELECT 1"), File::new("adapters/migrations/9999_new.sql", "SELECT 1")];
    let findings = differences(&planted);
    assert_eq!(findings.len(), APPLIED.len() + 1);
    assert_eq!(findings[0], format!("{} has changed: write a new migration", APPLIED[0].0));
    assert_eq!(findings[1], format!("{} is gone, and databases have applied it", APPLIED[1].0));
    assert_eq!(
        findings.last().map(String::as_str),
        Some(
            "adapters/migrations/9999_new.sql is new: add (\"adapters/migrations/9999_new.sql\", \"e004ebd5b5532a4b\")"
        )
    );
}

//! The checked-in schema is what the code says.

#[test]
fn the_checked_in_schema_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/schema.graphql");
    let current = super::sdl();
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(path, &current).expect("the schema file can be written");
    }
    let checked_in = std::fs::read_to_string(path).expect("api/schema.graphql is checked in");
    assert!(
        checked_in == current,
        "api/schema.graphql is stale: run this test with UPDATE_SCHEMA=1 and review the difference"
    );
}

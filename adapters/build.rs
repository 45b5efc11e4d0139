//! Makes cargo notice a new migration, which `sqlx::migrate!` takes in at compile time.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}

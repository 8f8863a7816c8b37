//! Rebuilds when a migration changes, which `sqlx::migrate!` embeds.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}

//! Rebuilds when a migration changes, which `sqlx::migrate!` embeds, and sets the arguments of the linker.

#[path = "../../deploy/link/link_args.rs"]
mod link_args;

fn main() {
    println!("cargo:rerun-if-changed=migrations");
    link_args::print_link_args();
}

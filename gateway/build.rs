//! Sets the arguments of the linker.

#[path = "../deploy/link/link_args.rs"]
mod link_args;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    link_args::print_link_args();
}

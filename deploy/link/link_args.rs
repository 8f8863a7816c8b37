//! Arguments of the linker for the programs of the platform. Their build scripts include this file.

use std::env;
use std::process::Command;

/// The first version of glibc that understands packed relocations.
const GLIBC_MIN: (u32, u32) = (2, 36);

/// Packs the list of addresses that the system adjusts when it loads a program. It reads all of it, and without this it is
/// four megabytes of the memory of each process.
pub(crate) fn print_link_args() {
    let is_gnu = env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|environment| environment == "gnu");
    if is_gnu && find_glibc_version().is_some_and(|version| version >= GLIBC_MIN) {
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// Finds the version of the machine that builds. Programs run there, or in an image with the same version.
fn find_glibc_version() -> Option<(u32, u32)> {
    let answer = Command::new("getconf").arg("GNU_LIBC_VERSION").output();
    let text = String::from_utf8(answer.ok()?.stdout).ok()?;
    let (major, minor) = text.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

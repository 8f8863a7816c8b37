//! Finding the programs a stack stands on, and installing what is missing where we can.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::unistd::Uid;

use crate::job::Job;
use crate::log;
use crate::progress::{self, Step};
use crate::stack::Stack;

/// Downloading and unpacking a few packages on a slow line.
const INSTALL_DEADLINE: Duration = Duration::from_mins(10);
/// Where distributions keep servers that are not in everybody's PATH.
const SERVER_DIRS: [&str; 2] = ["/usr/local/sbin", "/usr/sbin"];
/// Where Debian keeps PostgreSQL, one folder a version.
const DEBIAN_POSTGRES: &str = "/usr/lib/postgresql";

/// A program we need, and the package of Debian that has it.
struct Requirement {
    package: &'static str,
    what: &'static str,
    is_there: fn() -> bool,
}

/// Programs that every stack needs.
const STACK_REQUIREMENTS: &[Requirement] = &[
    Requirement {
        package: "postgresql",
        what: "PostgreSQL 15 or later (initdb, postgres, psql)",
        is_there: || postgres_bin().is_ok(),
    },
    Requirement {
        package: "redis-server",
        what: "Redis 7 or later (redis-server)",
        is_there: || program("redis-server").is_ok(),
    },
    Requirement {
        package: "nats-server",
        what: "NATS 2.9 or later (nats-server)",
        is_there: || program("nats-server").is_ok(),
    },
    Requirement {
        package: "openssl",
        what: "OpenSSL 1.1.1 or later (openssl)",
        is_there: || program("openssl").is_ok(),
    },
];

/// Programs that only tests need: encoders for audio samples.
const TEST_REQUIREMENTS: &[Requirement] = &[Requirement {
    package: "ffmpeg",
    what: "FFmpeg 4 or later with libmp3lame (ffmpeg)",
    is_there: || program("ffmpeg").is_ok(),
}];

/// Makes sure that everything a stack stands on is installed.
pub(crate) fn ensure(stack: &Stack) -> Result<()> {
    ensure_all(stack, &[STACK_REQUIREMENTS])
}

/// Makes sure that everything is installed that a stack stands on and that tests need.
pub(crate) fn ensure_for_tests(stack: &Stack) -> Result<()> {
    ensure_all(stack, &[STACK_REQUIREMENTS, TEST_REQUIREMENTS])
}

fn ensure_all(stack: &Stack, requirements: &[&'static [Requirement]]) -> Result<()> {
    let missing = || missing(requirements);
    let missing_now = missing();
    if missing_now.is_empty() {
        return Ok(());
    }
    if !can_install() {
        bail!(
            "these are needed and not in PATH; please install them:\n{}",
            describe(&missing_now)
        );
    }
    apt_get_install(stack, &missing_now)?;
    let still_missing = missing();
    if !still_missing.is_empty() {
        bail!(
            "installed, and yet these cannot be found:\n{}",
            describe(&still_missing)
        );
    }
    Ok(())
}

fn missing(requirements: &[&'static [Requirement]]) -> Vec<&'static Requirement> {
    requirements
        .iter()
        .copied()
        .flatten()
        .filter(|requirement| !(requirement.is_there)())
        .collect()
}

fn describe(requirements: &[&Requirement]) -> String {
    let lines: Vec<String> = requirements
        .iter()
        .map(|requirement| format!("  {}", requirement.what))
        .collect();
    lines.join("\n")
}

/// Only as root on Debian and its kin: elsewhere it is not ours to choose how software gets in.
fn can_install() -> bool {
    Uid::effective().is_root()
        && Path::new("/etc/debian_version").exists()
        && program("apt-get").is_ok()
}

fn apt_get_install(stack: &Stack, missing: &[&Requirement]) -> Result<()> {
    let packages: Vec<&str> = missing
        .iter()
        .map(|requirement| requirement.package)
        .collect();
    progress::note(
        "install",
        "running",
        format_args!("apt-get install {}", packages.join(" ")),
    );
    let step = Step::start("install");
    // The lists may be old, or absent in a container. If they cannot be had (no network), what is
    // there may still do.
    let _ = apt_get(stack, &["update"]);
    let mut arguments = vec!["install", "--yes", "--no-install-recommends"];
    arguments.extend(packages);
    apt_get(stack, &arguments)?;
    step.done("done");
    Ok(())
}

fn apt_get(stack: &Stack, arguments: &[&str]) -> Result<()> {
    let path = stack.log("apt-get");
    let output = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    let mut command = Command::new("apt-get");
    command
        .args(["--quiet", "-o", "DPkg::Lock::Timeout=120"])
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdout(output.try_clone()?)
        .stderr(output);
    let job = Job {
        stack,
        name: "apt-get",
        deadline: INSTALL_DEADLINE,
    };
    let status = job.run(&mut command)?;
    if !status.success() {
        bail!(
            "apt-get {} failed ({status}):\n{}",
            arguments.join(" "),
            log::tail(&path, 0)
        );
    }
    Ok(())
}

/// The path of a program, from PATH or the usual folders of servers.
pub(crate) fn program(name: &str) -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(SERVER_DIRS.map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|candidate| candidate.is_file())
        .with_context(|| format!("{name} is not installed"))
}

/// The folder with initdb, postgres and psql: of the server in PATH, else Debian's newest.
pub(crate) fn postgres_bin() -> Result<PathBuf> {
    let in_path = program("postgres")
        .and_then(|link| Ok(fs::canonicalize(link)?))
        .ok()
        .and_then(|server| Some(server.parent()?.to_owned()));
    in_path
        .into_iter()
        .chain(debian_postgres_bins())
        .find(|bin| {
            ["initdb", "postgres", "psql"]
                .iter()
                .all(|name| bin.join(name).is_file())
        })
        .context("PostgreSQL is not installed")
}

/// Newest version first.
fn debian_postgres_bins() -> Vec<PathBuf> {
    let mut versions: Vec<u32> = fs::read_dir(DEBIAN_POSTGRES)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    versions.sort_unstable_by(|left, right| right.cmp(left));
    versions
        .into_iter()
        .map(|version| {
            Path::new(DEBIAN_POSTGRES)
                .join(version.to_string())
                .join("bin")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_in_the_path_and_others_are_named() {
        assert!(program("sh").expect("every system has sh").is_absolute());
        let error = program("no-such-program").expect_err("there is none");
        assert_eq!(error.to_string(), "no-such-program is not installed");
    }
}

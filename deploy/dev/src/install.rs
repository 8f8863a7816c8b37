//! Finds the programs that a stack needs, and installs missing ones where that is possible.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::unistd::Uid;

use crate::job::RunnerJob;
use crate::log;
use crate::progress::{self, ProgressStep};
use crate::stack::DevStack;

/// Time to download and unpack a few packages over a slow network.
const INSTALL_DEADLINE: Duration = Duration::from_mins(10);
/// Folders of servers that are not in the PATH of every user.
const SERVER_DIRS: [&str; 2] = ["/usr/local/sbin", "/usr/sbin"];
/// Folder of PostgreSQL in Debian, with one folder a version.
const DEBIAN_POSTGRES: &str = "/usr/lib/postgresql";

/// A program that is needed, and the Debian package that contains it.
struct ProgramRequirement {
    package: &'static str,
    description: &'static str,
    is_installed: fn() -> bool,
}

/// Programs that every stack needs.
const STACK_REQUIREMENTS: &[ProgramRequirement] = &[
    ProgramRequirement {
        package: "postgresql",
        description: "PostgreSQL 15 or later (initdb, postgres, psql)",
        is_installed: || find_postgres_bin().is_ok(),
    },
    ProgramRequirement {
        package: "redis-server",
        description: "Redis 7 or later (redis-server)",
        is_installed: || find_program("redis-server").is_ok(),
    },
    ProgramRequirement {
        package: "nats-server",
        description: "NATS 2.9 or later (nats-server)",
        is_installed: || find_program("nats-server").is_ok(),
    },
    ProgramRequirement {
        package: "coturn",
        description: "coturn 4.6 or later (turnserver)",
        is_installed: || find_program("turnserver").is_ok(),
    },
    ProgramRequirement {
        package: "openssl",
        description: "OpenSSL 1.1.1 or later (openssl)",
        is_installed: || find_program("openssl").is_ok(),
    },
];

/// Programs that only tests need: encoders for audio samples, a browser for calls, and networks for the pods of
/// overlays, which a program in Python runs.
const TEST_REQUIREMENTS: &[ProgramRequirement] = &[
    ProgramRequirement {
        package: "ffmpeg",
        description: "FFmpeg 4 or later with libmp3lame (ffmpeg)",
        is_installed: || find_program("ffmpeg").is_ok(),
    },
    ProgramRequirement {
        package: "chromium",
        description: "Chromium 120 or later (chromium)",
        is_installed: || find_program("chromium").is_ok(),
    },
    ProgramRequirement {
        package: "iproute2",
        description: "iproute2 (ip)",
        is_installed: || find_program("ip").is_ok(),
    },
    ProgramRequirement {
        package: "python3-venv",
        description: "Python 3.11 or later with venv (python3)",
        is_installed: has_python_with_venv,
    },
];

/// Installs missing programs that a stack needs.
pub(crate) fn ensure_installed(stack: &DevStack) -> Result<()> {
    ensure_all(stack, &[STACK_REQUIREMENTS])
}

/// Installs missing programs that a stack and the tests need.
pub(crate) fn ensure_test_programs(stack: &DevStack) -> Result<()> {
    ensure_all(stack, &[STACK_REQUIREMENTS, TEST_REQUIREMENTS])
}

fn ensure_all(stack: &DevStack, requirements: &[&'static [ProgramRequirement]]) -> Result<()> {
    let missing = list_missing(requirements);
    if missing.is_empty() {
        return Ok(());
    }
    if !can_install() {
        bail!(
            "please install these programs, which are not in PATH:\n{}",
            describe_requirements(&missing)
        );
    }
    install_with_apt(stack, &missing)?;
    let still_missing = list_missing(requirements);
    if !still_missing.is_empty() {
        bail!(
            "these programs were installed but cannot be found:\n{}",
            describe_requirements(&still_missing)
        );
    }
    Ok(())
}

/// Whether Python can create an environment of its own. Debian has the part that is needed for it in another package.
fn has_python_with_venv() -> bool {
    let status = Command::new("python3")
        .args(["-c", "import ensurepip, tomllib, venv"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

fn list_missing(
    requirements: &[&'static [ProgramRequirement]],
) -> Vec<&'static ProgramRequirement> {
    requirements
        .iter()
        .copied()
        .flatten()
        .filter(|requirement| !(requirement.is_installed)())
        .collect()
}

fn describe_requirements(requirements: &[&ProgramRequirement]) -> String {
    let lines: Vec<String> = requirements
        .iter()
        .map(|requirement| format!("  {}", requirement.description))
        .collect();
    lines.join("\n")
}

/// Whether packages may be installed: only as root on Debian and its derivatives. Elsewhere the user decides
/// how software is installed.
fn can_install() -> bool {
    Uid::effective().is_root()
        && Path::new("/etc/debian_version").exists()
        && find_program("apt-get").is_ok()
}

fn install_with_apt(stack: &DevStack, missing: &[&ProgramRequirement]) -> Result<()> {
    let packages: Vec<&str> = missing
        .iter()
        .map(|requirement| requirement.package)
        .collect();
    progress::print_status(
        "install",
        "running",
        format_args!("apt-get install {}", packages.join(" ")),
    );
    let step = ProgressStep::start("install");
    // The package lists may be old, or missing in a container. Without a network, cached packages may
    // still suffice.
    let _ = run_apt_get(stack, &["update"]);
    let mut arguments = vec!["install", "--yes", "--no-install-recommends"];
    arguments.extend(packages);
    run_apt_get(stack, &arguments)?;
    step.finish("done");
    Ok(())
}

fn run_apt_get(stack: &DevStack, arguments: &[&str]) -> Result<()> {
    let path = stack.log_file("apt-get");
    let output = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    let mut command = Command::new("apt-get");
    command
        .args(["--quiet", "-o", "DPkg::Lock::Timeout=120"])
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdout(output.try_clone()?)
        .stderr(output);
    let job = RunnerJob {
        stack,
        name: "apt-get",
        deadline: INSTALL_DEADLINE,
    };
    let status = job.run(&mut command)?;
    if !status.success() {
        bail!(
            "apt-get {} failed ({status}):\n{}",
            arguments.join(" "),
            log::format_tail(&path, 0)
        );
    }
    Ok(())
}

/// Returns the path of a program, from PATH or the usual folders of servers.
pub(crate) fn find_program(name: &str) -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(SERVER_DIRS.map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|candidate| candidate.is_file())
        .with_context(|| format!("{name} is not installed"))
}

/// Returns the folder of initdb, postgres and psql: that of the server in PATH, or else Debian's newest.
pub(crate) fn find_postgres_bin() -> Result<PathBuf> {
    let in_path = find_program("postgres")
        .and_then(|link| Ok(fs::canonicalize(link)?))
        .ok()
        .and_then(|server| Some(server.parent()?.to_owned()));
    in_path
        .into_iter()
        .chain(list_debian_postgres_bins())
        .find(|bin| {
            ["initdb", "postgres", "psql"]
                .iter()
                .all(|name| bin.join(name).is_file())
        })
        .context("PostgreSQL is not installed")
}

/// Returns the folders of all versions, newest first.
fn list_debian_postgres_bins() -> Vec<PathBuf> {
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
    fn a_missing_program_is_named() {
        assert!(
            find_program("sh")
                .expect("every system has sh")
                .is_absolute()
        );
        let error = find_program("no-such-program").expect_err("there is none");
        assert_eq!(error.to_string(), "no-such-program is not installed");
    }
}

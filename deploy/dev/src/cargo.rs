//! Building the stack's programs with cargo, and keeping them apart from later builds.

use std::collections::HashMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::job::Job;
use crate::progress::{self, Step};
use crate::settings::Build;
use crate::stack::{Stack, workspace_root};

/// A cold build takes minutes, on a small machine many.
const BUILD_DEADLINE: Duration = Duration::from_hours(1);
/// The runner itself is built with the rest, but the stack keeps the one that started it.
const RUNNER: &str = "talktime-dev";
/// The feature that puts fail points into the services.
pub(crate) const FAILPOINTS: &str = "talktime-kit/failpoints";

/// The programs of one build: name and path.
type Programs = HashMap<String, PathBuf>;

/// What to build. The whole workspace is always selected, even for a single program: what cargo
/// selects decides the features of shared dependencies, so another selection would build them again.
pub(crate) enum Targets<'a> {
    Programs,
    /// Tests as well.
    Everything,
    Program(&'a str),
}

/// Builds, with cargo's own output passed through, and puts the programs into the stack's `bin`.
pub(crate) fn build(stack: &Stack, build: Build, targets: &Targets) -> Result<()> {
    let mut arguments = vec!["build", "--workspace"];
    match targets {
        Targets::Programs => arguments.push("--bins"),
        Targets::Everything => arguments.push("--all-targets"),
        Targets::Program(name) => arguments.extend(["--bin", name]),
    }
    match build {
        Build::Debug => (),
        Build::Release => arguments.push("--release"),
        Build::Failpoints => arguments.extend(["--features", FAILPOINTS]),
    }
    progress::note(
        "build",
        "running",
        format_args!("cargo {}", arguments.join(" ")),
    );
    let step = Step::start("build");
    let mut programs = Programs::new();
    let mut command = cargo();
    command
        .args(&arguments)
        .arg("--message-format=json-render-diagnostics");
    let job = Job {
        stack,
        name: "build",
        deadline: BUILD_DEADLINE,
    };
    let status = job.run_reading(&mut command, |line| programs.extend(program(line)))?;
    if !status.success() {
        bail!("cargo {} failed ({status})", arguments.join(" "));
    }
    programs.remove(RUNNER);
    for (name, path) in &programs {
        install(path, &stack.binary(name))?;
    }
    step.done("done");
    Ok(())
}

/// Cargo, as if it had been called from the workspace's root outside of any `cargo run`.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace_root());
    // `cargo run` describes this package to us in variables that some build scripts look at:
    // handed on, they would make those build again at every change between us and a plain cargo.
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(describes_a_package) {
            command.env_remove(name);
        }
    }
    command
}

fn describes_a_package(variable: &str) -> bool {
    const NAMES: [&str; 5] = [
        "CARGO_MANIFEST_DIR",
        "CARGO_MANIFEST_PATH",
        "CARGO_CRATE_NAME",
        "CARGO_BIN_NAME",
        "CARGO_PRIMARY_PACKAGE",
    ];
    NAMES.contains(&variable) || variable.starts_with("CARGO_PKG_")
}

/// The program that a line of cargo's JSON messages reports; tests are none.
fn program(line: &str) -> Option<(String, PathBuf)> {
    let message: Value = serde_json::from_str(line).ok()?;
    let is_program = message["target"]["kind"] == serde_json::json!(["bin"])
        && message["profile"]["test"] == false;
    let path = message["executable"].as_str().filter(|_| is_program)?;
    Some((
        message["target"]["name"].as_str()?.to_owned(),
        PathBuf::from(path),
    ))
}

/// Puts a program into the stack's `bin`, under a process that may still run its predecessor.
///
/// A link is enough: linkers make a new file and leave the old one to those who hold it.
fn install(from: &Path, to: &Path) -> Result<()> {
    replace(to, |unfinished| {
        fs::hard_link(from, unfinished).or_else(|_| fs::copy(from, unfinished).map(|_| ()))
    })
    .with_context(|| format!("cannot put {} to {}", from.display(), to.display()))
}

/// Copies the runner into the stack's `bin` and tells where it is. Cargo may replace the original
/// while we run, and tests and the reaper still need one.
pub(crate) fn install_runner(stack: &Stack) -> Result<PathBuf> {
    let own = env::current_exe().context("cannot tell which program this is")?;
    let copy = runner(stack);
    replace(&copy, |unfinished| fs::copy(&own, unfinished).map(|_| ()))
        .with_context(|| format!("cannot copy {} to {}", own.display(), copy.display()))?;
    Ok(copy)
}

/// Where `install_runner` puts the runner.
pub(crate) fn runner(stack: &Stack) -> PathBuf {
    stack.binary(RUNNER)
}

fn replace(to: &Path, make: impl FnOnce(&Path) -> std::io::Result<()>) -> std::io::Result<()> {
    let unfinished = to.with_extension("new");
    let _ = fs::remove_file(&unfinished);
    make(&unfinished)?;
    fs::rename(&unfinished, to)?;
    // Still there if both names were links to the same file already: then rename does nothing.
    let _ = fs::remove_file(&unfinished);
    Ok(())
}

/// Whether one of these packages is `talktime-kit` or depends on it, and so knows its features.
pub(crate) fn any_knows_failpoints(packages: &[String]) -> Result<bool> {
    let output = cargo()
        .args(["metadata", "--no-deps", "--format-version=1"])
        .output()
        .context("cannot run cargo metadata")?;
    let metadata: Value =
        serde_json::from_slice(&output.stdout).context("cargo metadata printed no JSON")?;
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    Ok(list(&metadata["packages"])
        .iter()
        .filter(|package| packages.iter().any(|name| package["name"] == name.as_str()))
        .any(|package| {
            package["name"] == "talktime-kit"
                || list(&package["dependencies"])
                    .iter()
                    .any(|one| one["name"] == "talktime-kit")
        }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_picked_from_cargos_messages_and_tests_are_not() {
        let line = |kind: &str, test: bool| {
            format!(
                r#"{{"reason":"compiler-artifact","target":{{"kind":["{kind}"],"name":"talktime-auth"}},
                "profile":{{"test":{test}}},"executable":"/t/talktime-auth"}}"#
            )
        };
        let found = Some((
            "talktime-auth".to_owned(),
            PathBuf::from("/t/talktime-auth"),
        ));
        assert_eq!(program(&line("bin", false)), found);
        assert_eq!(program(&line("bin", true)), None);
        assert_eq!(program(&line("test", true)), None);
        assert_eq!(
            program(r#"{"reason":"build-finished","success":true}"#),
            None
        );
        assert_eq!(program("not JSON"), None);
    }

    #[test]
    fn what_describes_our_package_is_not_handed_on_and_settings_are() {
        assert!(describes_a_package("CARGO_PKG_NAME"));
        assert!(describes_a_package("CARGO_MANIFEST_DIR"));
        assert!(!describes_a_package("CARGO_TARGET_DIR"));
        assert!(!describes_a_package("CARGO_HOME"));
    }

    #[test]
    fn only_packages_above_the_kit_know_its_features() {
        let knows = |name: &str| any_knows_failpoints(&[name.to_owned()]).expect("a workspace");
        assert!(knows("talktime-kit"));
        assert!(!knows("talktime-dev"));
    }
}

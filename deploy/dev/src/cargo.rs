//! Builds the programs of a stack with cargo, and keeps them apart from later builds.

use std::collections::HashMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::job::RunnerJob;
use crate::parts;
use crate::progress::{self, ProgressStep};
use crate::settings::BuildProfile;
use crate::stack::{DevStack, workspace_root};
use crate::unit::{PARTS, StackUnit, all_units};

/// Time for a build; the first one takes many minutes on a small machine.
const BUILD_DEADLINE: Duration = Duration::from_hours(1);
/// The runner. A stack keeps the copy that started it, even if the build produces another one.
const RUNNER: &str = "talktime-dev";
/// The feature that compiles fail points into the services.
pub(crate) const FAILPOINTS: &str = "talktime-kit/failpoints";

/// The feature with which processes talk to each other in clear.
const PLAINTEXT: &str = "talktime-kit/plaintext";

/// The programs of one build by name, with their paths.
type BuiltPrograms = HashMap<String, PathBuf>;

/// The targets of a build. Cargo always gets the whole workspace selected, even for a single program: the
/// selected packages determine the features of shared dependencies, which another selection would build again.
pub(crate) enum BuildTargets {
    /// Programs by name.
    Programs(Vec<String>),
    /// All programs and tests.
    Everything,
}

impl BuildTargets {
    /// Returns the programs that a stack runs, and others.
    pub(crate) fn stack_and(others: &[&str]) -> Self {
        // The program of the relay agent is that of calls.
        let units = all_units().filter(|unit| *unit != StackUnit::RelayAgent);
        Self::of_units(units, others)
    }

    /// Returns the programs of the parts that a stack runs.
    pub(crate) fn parts() -> Self {
        let units = PARTS.into_iter().filter(|unit| *unit != StackUnit::Page);
        Self::of_units(units, &[])
    }

    /// Returns the programs of these units, the one that prepares the stores, and others.
    fn of_units(units: impl Iterator<Item = StackUnit>, others: &[&str]) -> Self {
        let others = [parts::STORES_PROGRAM]
            .into_iter()
            .chain(others.iter().copied());
        let programs = units.filter_map(StackUnit::binary);
        Self::Programs(programs.chain(others.map(str::to_owned)).collect())
    }

    /// Returns one program.
    pub(crate) fn single(program: &str) -> Self {
        Self::Programs(vec![program.to_owned()])
    }

    fn arguments(&self) -> Vec<&str> {
        match self {
            Self::Programs(names) => names.iter().flat_map(|name| ["--bin", name]).collect(),
            Self::Everything => vec!["--all-targets"],
        }
    }
}

/// Builds programs, prints the output of cargo, and puts the programs into the folder `bin` of the stack.
pub(crate) fn build_programs(
    stack: &DevStack,
    build: BuildProfile,
    targets: &BuildTargets,
) -> Result<()> {
    let mut arguments = vec!["build", "--workspace"];
    arguments.extend(targets.arguments());
    match build {
        BuildProfile::Debug => (),
        BuildProfile::Release => arguments.push("--release"),
        BuildProfile::Failpoints => arguments.extend(["--features", FAILPOINTS]),
        BuildProfile::Plaintext => arguments.extend(["--release", "--features", PLAINTEXT]),
    }
    progress::print_status(
        "build",
        "running",
        format_args!("cargo {}", arguments.join(" ")),
    );
    let step = ProgressStep::start("build");
    let mut programs = BuiltPrograms::new();
    let mut command = cargo_command();
    command
        .args(&arguments)
        .arg("--message-format=json-render-diagnostics");
    let job = RunnerJob {
        stack,
        name: "build",
        deadline: BUILD_DEADLINE,
    };
    let status = job.run_with_lines(&mut command, |line| programs.extend(parse_program(line)))?;
    if !status.success() {
        bail!("cargo {} failed ({status})", arguments.join(" "));
    }
    programs.remove(RUNNER);
    for (name, path) in &programs {
        link_program(path, &stack.binary(name))?;
    }
    step.finish("done");
    Ok(())
}

/// Returns a command that runs cargo in the root of the workspace, as if outside of any `cargo run`.
pub(crate) fn cargo_command() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace_root());
    // `cargo run` sets variables that describe this package. Some build scripts depend on them and would
    // run again whenever the runner and a plain cargo alternate.
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

/// Parses a JSON message of cargo; returns the program that it reports, unless it is a test.
fn parse_program(line: &str) -> Option<(String, PathBuf)> {
    let message: Value = serde_json::from_str(line).ok()?;
    let is_program = message["target"]["kind"] == serde_json::json!(["bin"])
        && message["profile"]["test"] == false;
    let path = message["executable"].as_str().filter(|_| is_program)?;
    Some((
        message["target"]["name"].as_str()?.to_owned(),
        PathBuf::from(path),
    ))
}

/// Puts a program into the folder `bin` of the stack, even while a process runs its predecessor.
///
/// A link suffices, because linkers create a new file and leave the old one to the processes that use it.
fn link_program(from: &Path, to: &Path) -> Result<()> {
    replace_file(to, |unfinished| {
        fs::hard_link(from, unfinished).or_else(|_| fs::copy(from, unfinished).map(|_| ()))
    })
    .with_context(|| format!("cannot put {} to {}", from.display(), to.display()))
}

/// Copies the runner into the folder `bin` of the stack and returns the path. Cargo may replace the original
/// while tests and the reaper still need it.
pub(crate) fn copy_runner(stack: &DevStack) -> Result<PathBuf> {
    let own = env::current_exe().context("cannot find the path of this program")?;
    let copy = runner_path(stack);
    replace_file(&copy, |unfinished| fs::copy(&own, unfinished).map(|_| ()))
        .with_context(|| format!("cannot copy {} to {}", own.display(), copy.display()))?;
    Ok(copy)
}

/// Returns the path of the copy of the runner.
pub(crate) fn runner_path(stack: &DevStack) -> PathBuf {
    stack.binary(RUNNER)
}

fn replace_file(to: &Path, make: impl FnOnce(&Path) -> std::io::Result<()>) -> std::io::Result<()> {
    let unfinished = to.with_extension("new");
    let _ = fs::remove_file(&unfinished);
    make(&unfinished)?;
    fs::rename(&unfinished, to)?;
    // If both names were links to the same file already, the rename has no effect.
    let _ = fs::remove_file(&unfinished);
    Ok(())
}

/// Whether one of these packages is `talktime-kit` or depends on it. Only these accept its features.
pub(crate) fn any_depends_on_kit(packages: &[String]) -> Result<bool> {
    let output = cargo_command()
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
    fn only_programs_are_taken_from_the_messages_of_cargo() {
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
        assert_eq!(parse_program(&line("bin", false)), found);
        assert_eq!(parse_program(&line("bin", true)), None);
        assert_eq!(parse_program(&line("test", true)), None);
        assert_eq!(
            parse_program(r#"{"reason":"build-finished","success":true}"#),
            None
        );
        assert_eq!(parse_program("not JSON"), None);
    }

    #[test]
    fn only_variables_that_describe_a_package_are_removed() {
        assert!(describes_a_package("CARGO_PKG_NAME"));
        assert!(describes_a_package("CARGO_MANIFEST_DIR"));
        assert!(!describes_a_package("CARGO_TARGET_DIR"));
        assert!(!describes_a_package("CARGO_HOME"));
    }

    #[test]
    fn only_packages_that_depend_on_the_kit_accept_its_features() {
        let accepts = |name: &str| any_depends_on_kit(&[name.to_owned()]).expect("a workspace");
        assert!(accepts("talktime-kit"));
        assert!(!accepts("talktime-dev"));
    }
}

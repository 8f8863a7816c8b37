//! A stack: its name, its ports, and its folder `.dev/<name>/`.
//!
//! ```text
//! .dev/dev/data/      data of postgres, redis, nats and s3
//!          secrets/   keys generated once for this stack
//!          bin/       the programs that the stack runs
//!          logs/      one file a process
//!          run/       pid files, and the settings of the run
//!          lock       held by the `up` or `test` that is responsible for the stack
//! ```

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
#[cfg(test)]
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::instance::UnitInstance;
use crate::unit::StackUnit;

/// Names of the stacks, which can all be up at the same time: `dev` for people, and one each for `cargo dev test`,
/// `cargo dev bench` and `cargo dev roll`. `plaintext` is a second one of `cargo dev bench`, which shows what encryption
/// costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StackName {
    Dev,
    Test,
    Bench,
    Plaintext,
    Roll,
}

/// A stack on this machine.
#[derive(Clone, Debug)]
pub(crate) struct DevStack {
    name: StackName,
    dir: PathBuf,
    port_offset: u16,
}

/// The folder that holds the workspace's `Cargo.toml`.
pub(crate) fn workspace_root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("this package is two folders below the workspace's root")
}

/// Returns the offset of all ports, for a second checkout on the same machine.
fn port_offset() -> u16 {
    let offset = std::env::var("TALKTIME_DEV_PORT_OFFSET").ok();
    offset.and_then(|offset| offset.parse().ok()).unwrap_or(0)
}

impl DevStack {
    pub(crate) fn new(name: StackName) -> Self {
        Self::with_port_offset(name, port_offset())
    }

    /// Returns a stack with this offset of its ports, whatever the environment sets.
    pub(crate) fn with_port_offset(name: StackName, port_offset: u16) -> Self {
        let folder = match name {
            StackName::Dev => "dev",
            StackName::Test => "test",
            StackName::Bench => "bench",
            StackName::Plaintext => "plaintext",
            StackName::Roll => "roll",
        };
        Self {
            name,
            dir: workspace_root().join(".dev").join(folder),
            port_offset,
        }
    }

    /// Returns a stack without an offset whose secrets are in a folder of its own, which goes with it.
    #[cfg(test)]
    pub(crate) fn for_test(name: StackName) -> TestStack {
        static STACKS: AtomicU32 = AtomicU32::new(0);
        let number = STACKS.fetch_add(1, Ordering::Relaxed);
        let folder = format!("talktime-dev-{}-{number}", std::process::id());
        let stack = Self {
            dir: std::env::temp_dir().join(folder),
            ..Self::with_port_offset(name, 0)
        };
        fs::create_dir_all(stack.secrets_dir()).expect("a folder for secrets");
        TestStack(stack)
    }

    pub(crate) fn name(&self) -> &'static str {
        match self.name {
            StackName::Dev => "dev",
            StackName::Test => "test",
            StackName::Bench => "bench",
            StackName::Plaintext => "plaintext",
            StackName::Roll => "roll",
        }
    }

    /// Whether its data may be lost in a power failure, which makes writes much faster.
    pub(crate) fn is_throwaway(&self) -> bool {
        self.name == StackName::Test
    }

    /// Whether its clients act as fast as the platform answers, so that limits on people do not apply.
    pub(crate) fn is_measured(&self) -> bool {
        matches!(self.name, StackName::Bench | StackName::Plaintext)
    }

    /// Whether its processes talk to each other and to the stores in clear.
    pub(crate) fn is_plaintext(&self) -> bool {
        self.name == StackName::Plaintext
    }

    /// Returns the command line that addresses this stack, for messages.
    pub(crate) fn command(&self) -> &'static str {
        match self.name {
            StackName::Dev => "cargo dev",
            StackName::Test => "cargo dev --stack test",
            StackName::Bench => "cargo dev --stack bench",
            StackName::Plaintext => "cargo dev --stack plaintext",
            StackName::Roll => "cargo dev --stack roll",
        }
    }

    /// Translates a port of the stack `dev` into that of this stack.
    pub(crate) fn port(&self, base: u16) -> u16 {
        let base = base + self.port_offset;
        match self.name {
            StackName::Dev => base,
            StackName::Test => base + 10_000,
            StackName::Bench => base + 20_000,
            StackName::Plaintext => base + 21_500,
            StackName::Roll => base + 1_500,
        }
    }

    pub(crate) fn main_port(&self, instance: impl Into<UnitInstance>) -> u16 {
        self.port(instance.into().ports().main)
    }

    /// Returns the operations port of a process. The agent of a relay serves no other port, so it is its main one.
    pub(crate) fn ops_port(&self, instance: impl Into<UnitInstance>) -> Option<u16> {
        let instance = instance.into();
        let ports = instance.ports();
        let of_agent = (instance.unit == StackUnit::RelayAgent).then_some(ports.main);
        ports.ops.or(of_agent).map(|port| self.port(port))
    }

    pub(crate) fn ports(&self, instance: UnitInstance) -> impl Iterator<Item = u16> {
        let ports = instance.ports();
        [Some(ports.main), ports.ops]
            .into_iter()
            .flatten()
            .map(|port| self.port(port))
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.dir.join("data")
    }

    pub(crate) fn secrets_dir(&self) -> PathBuf {
        self.dir.join("secrets")
    }

    pub(crate) fn run_dir(&self) -> PathBuf {
        self.dir.join("run")
    }

    /// Returns the file with the log of a part or a command.
    pub(crate) fn log_file(&self, name: &str) -> PathBuf {
        self.dir.join("logs").join(format!("{name}.log"))
    }

    pub(crate) fn pid_file(&self, name: &str) -> PathBuf {
        self.run_dir().join(format!("{name}.pid"))
    }

    pub(crate) fn binary(&self, name: &str) -> PathBuf {
        self.dir.join("bin").join(name)
    }

    /// Creates the folders. They are open to all users whatever the umask, because Postgres runs as another
    /// user if the runner is root; only the secrets are private.
    pub(crate) fn create_dirs(&self) -> Result<()> {
        for folder in ["data", "logs", "run", "bin", "secrets"] {
            let path = self.dir.join(folder);
            fs::create_dir_all(&path)
                .with_context(|| format!("cannot create {}", path.display()))?;
        }
        let dot_dev = self.dir.parent().expect("a stack is in .dev");
        for path in [dot_dev, &self.dir, &self.data_dir()] {
            set_mode(path, 0o755)?;
        }
        set_mode(&self.secrets_dir(), 0o700)
    }

    /// Removes the logs of earlier runs.
    pub(crate) fn clear_logs(&self) -> Result<()> {
        remove_dir(&self.dir.join("logs"))?;
        self.create_dirs()
    }
}

pub(crate) fn set_mode(path: &Path, mode: u32) -> Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .with_context(|| format!("cannot change the permissions of {}", path.display()))
}

/// Removes a folder with its content, if it exists.
pub(crate) fn remove_dir(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// A stack of a test, whose folder is deleted at the end.
#[cfg(test)]
pub(crate) struct TestStack(DevStack);

#[cfg(test)]
impl std::ops::Deref for TestStack {
    type Target = DevStack;

    fn deref(&self) -> &DevStack {
        &self.0
    }
}

#[cfg(test)]
impl Drop for TestStack {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0.dir);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stack_has_ports_of_its_own() {
        let (dev, test) = (
            DevStack::with_port_offset(StackName::Dev, 0),
            DevStack::with_port_offset(StackName::Test, 0),
        );
        let ports =
            |stack: &DevStack, unit: StackUnit| stack.ports(unit.into()).collect::<Vec<_>>();
        assert_eq!(ports(&dev, StackUnit::Gateway), [8080, 7200]);
        assert_eq!(ports(&test, StackUnit::Gateway), [18080, 17200]);
        assert_eq!(ports(&dev, StackUnit::Postgres), [7432]);
        assert_eq!(ports(&test, StackUnit::Nats), [17422, 17822]);
        let moved = DevStack::with_port_offset(StackName::Dev, 3_000);
        assert_eq!(ports(&moved, StackUnit::Gateway), [11080, 10200]);
    }

    #[test]
    fn a_stack_is_in_the_folder_of_the_workspace() {
        assert!(workspace_root().join("Cargo.lock").exists());
        assert!(DevStack::new(StackName::Test).dir().ends_with(".dev/test"));
    }
}

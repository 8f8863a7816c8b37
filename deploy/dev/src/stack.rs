//! A stack: its name, its ports, and its folder `.dev/<name>/`.
//!
//! ```text
//! .dev/dev/data/      what postgres, redis, nats and s3 keep
//!          secrets/   keys made once for this stack
//!          bin/       the programs as they were when the stack started
//!          logs/      one file a process
//!          run/       pid files, the settings of the run
//!          lock       held by the `up` or `test` that is responsible for the stack
//! ```

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::instance::Instance;

/// Which stack: `dev` is for people, `test` belongs to `cargo dev test`, `bench` to `cargo dev bench`.
/// `roll` to `cargo dev roll`. All may be up at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StackName {
    Dev,
    Test,
    Bench,
    Roll,
}

/// A stack on this machine.
#[derive(Clone, Debug)]
pub(crate) struct Stack {
    name: StackName,
    dir: PathBuf,
    port_offset: u16,
}

/// The folder that holds the workspace's `Cargo.toml`.
pub(crate) fn workspace_root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("this package lies two folders below the workspace's root")
}

/// Moves all ports, for a second checkout on the same machine.
fn port_offset() -> u16 {
    let offset = std::env::var("TALKTIME_DEV_PORT_OFFSET").ok();
    offset.and_then(|offset| offset.parse().ok()).unwrap_or(0)
}

impl Stack {
    pub(crate) fn new(name: StackName) -> Self {
        Self::moved(name, port_offset())
    }

    /// With its ports moved by so much, whatever the environment says.
    pub(crate) fn moved(name: StackName, port_offset: u16) -> Self {
        let folder = match name {
            StackName::Dev => "dev",
            StackName::Test => "test",
            StackName::Bench => "bench",
            StackName::Roll => "roll",
        };
        Self {
            name,
            dir: workspace_root().join(".dev").join(folder),
            port_offset,
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        match self.name {
            StackName::Dev => "dev",
            StackName::Test => "test",
            StackName::Bench => "bench",
            StackName::Roll => "roll",
        }
    }

    /// Whether its data may be lost with the machine's power: then writing it is much faster.
    pub(crate) fn is_throwaway(&self) -> bool {
        self.name == StackName::Test
    }

    /// `cargo dev` with what it takes to mean this stack, for messages.
    pub(crate) fn command(&self) -> &'static str {
        match self.name {
            StackName::Dev => "cargo dev",
            StackName::Test => "cargo dev --stack test",
            StackName::Bench => "cargo dev --stack bench",
            StackName::Roll => "cargo dev --stack roll",
        }
    }

    /// A port of the stack `dev`, moved to where this stack has it.
    pub(crate) fn port(&self, base: u16) -> u16 {
        let base = base + self.port_offset;
        match self.name {
            StackName::Dev => base,
            StackName::Test => base + 10_000,
            StackName::Bench => base + 20_000,
            StackName::Roll => base + 1_500,
        }
    }

    pub(crate) fn main_port(&self, instance: impl Into<Instance>) -> u16 {
        self.port(instance.into().ports().main)
    }

    pub(crate) fn ops_port(&self, instance: impl Into<Instance>) -> Option<u16> {
        instance.into().ports().ops.map(|port| self.port(port))
    }

    pub(crate) fn ports(&self, instance: Instance) -> impl Iterator<Item = u16> {
        [Some(self.main_port(instance)), self.ops_port(instance)]
            .into_iter()
            .flatten()
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

    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.dir.join("logs").join(format!("{name}.log"))
    }

    pub(crate) fn pid_file(&self, name: &str) -> PathBuf {
        self.run_dir().join(format!("{name}.pid"))
    }

    pub(crate) fn binary(&self, name: &str) -> PathBuf {
        self.dir.join("bin").join(name)
    }

    /// Makes the folders. Postgres runs as another user when we are root and must pass through, so
    /// they are open to all whatever the umask; the secrets are not.
    pub(crate) fn make_dirs(&self) -> Result<()> {
        for folder in ["data", "logs", "run", "bin", "secrets"] {
            let path = self.dir.join(folder);
            fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        }
        let dot_dev = self.dir.parent().expect("a stack lies in .dev");
        for path in [dot_dev, &self.dir, &self.data_dir()] {
            set_mode(path, 0o755)?;
        }
        set_mode(&self.secrets_dir(), 0o700)
    }

    /// Removes logs of earlier runs: who reads a log wants this run's.
    pub(crate) fn clear_logs(&self) -> Result<()> {
        remove_dir(&self.dir.join("logs"))?;
        self.make_dirs()
    }
}

pub(crate) fn set_mode(path: &Path, mode: u32) -> Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .with_context(|| format!("cannot change the permissions of {}", path.display()))
}

/// Removes a folder with all it holds; one that is not there is fine.
pub(crate) fn remove_dir(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unit::Unit;

    #[test]
    fn each_stack_has_ports_of_its_own() {
        let (dev, test) = (
            Stack::moved(StackName::Dev, 0),
            Stack::moved(StackName::Test, 0),
        );
        let ports = |stack: &Stack, unit: Unit| stack.ports(unit.into()).collect::<Vec<_>>();
        assert_eq!(ports(&dev, Unit::Gateway), [8080, 7200]);
        assert_eq!(ports(&test, Unit::Gateway), [18080, 17200]);
        assert_eq!(ports(&dev, Unit::Postgres), [7432]);
        assert_eq!(ports(&test, Unit::Nats), [17422, 17822]);
        let moved = Stack::moved(StackName::Dev, 3_000);
        assert_eq!(ports(&moved, Unit::Gateway), [11080, 10200]);
    }

    #[test]
    fn a_stack_lies_in_the_workspace() {
        assert!(workspace_root().join("Cargo.lock").exists());
        assert!(Stack::new(StackName::Test).dir().ends_with(".dev/test"));
    }
}

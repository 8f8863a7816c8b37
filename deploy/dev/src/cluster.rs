//! The stack's own PostgreSQL: a cluster made by initdb, and what it takes to run one as root.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use nix::unistd::{Uid, User};

use crate::databases::require_success;
use crate::progress::{self, Step};
use crate::secrets::POSTGRES_PASSWORD;
use crate::stack::{self, Stack};
use crate::unit::Unit;
use crate::{install, procfs};

/// The user that Debian's package makes. The server refuses to run as root.
const SYSTEM_USER: &str = "postgres";
/// Seven services with a pool each, beside tests that run side by side with pools of their own.
const MAX_CONNECTIONS: u32 = 300;
/// For a workspace below a folder that only root may enter (see `cluster_dir`).
const OPEN_DATA_DIR: &str = "/var/lib/talktime-dev";

/// Makes the cluster if there is none yet.
pub(crate) fn prepare(stack: &Stack) -> Result<()> {
    let cluster = cluster_dir(stack);
    if cluster.join("PG_VERSION").exists() {
        return remove_lock_of_the_dead(&cluster);
    }
    if cluster != data_dir(stack) {
        progress::note(
            "postgres",
            "data in",
            format_args!(
                "{} (only root may enter the workspace's folder)",
                cluster.display()
            ),
        );
    }
    let step = Step::start("postgres");
    make_cluster(stack, &cluster)?;
    step.done("created");
    Ok(())
}

/// The command that runs the server.
pub(crate) fn serve(stack: &Stack) -> Result<Command> {
    let mut command = as_postgres(&install::postgres_bin()?.join("postgres"))?;
    command.arg("-D").arg(cluster_dir(stack)).current_dir("/");
    let mut set = |name: &str, value: &str| {
        command.arg("-c").arg(format!("{name}={value}"));
    };
    set("port", &stack.main_port(Unit::Postgres).to_string());
    set("listen_addresses", "127.0.0.1");
    set("unix_socket_directories", "");
    set("max_connections", &MAX_CONNECTIONS.to_string());
    // Errors without their details, which hold values, such as the phone number that is taken.
    set("log_error_verbosity", "terse");
    if stack.is_throwaway() {
        for name in ["fsync", "synchronous_commit", "full_page_writes"] {
            set(name, "off");
        }
    }
    Ok(command)
}

/// Removes the cluster, wherever it lies.
pub(crate) fn wipe(stack: &Stack) -> Result<()> {
    stack::remove_dir(&data_dir(stack))?;
    stack::remove_dir(&open_data_dir(stack))
}

fn data_dir(stack: &Stack) -> PathBuf {
    stack.data_dir().join("postgres")
}

fn open_data_dir(stack: &Stack) -> PathBuf {
    let mut folder = String::new();
    for part in stack.dir().components().skip(1) {
        let _ = write!(folder, "-{}", part.as_os_str().display());
    }
    Path::new(OPEN_DATA_DIR).join(folder.trim_start_matches('-'))
}

/// Where the cluster lies: with the stack's other data, unless we are root, so that the server runs
/// as another user, and that user cannot get there, as in a workspace below /root.
fn cluster_dir(stack: &Stack) -> PathBuf {
    let inside = data_dir(stack);
    if Uid::effective().is_root() && !everybody_may_reach(&inside) {
        return open_data_dir(stack);
    }
    inside
}

/// Whether all the folders above may be passed through by everybody.
fn everybody_may_reach(path: &Path) -> bool {
    const OTHERS_MAY_PASS: u32 = 0o001;
    path.ancestors()
        .skip(1)
        .filter_map(|folder| fs::metadata(folder).ok())
        .all(|metadata| metadata.mode() & OTHERS_MAY_PASS != 0)
}

/// A killed server leaves its lock file, and the next one takes over if it finds nobody under the pid
/// in there. A zombie looks alive to it, and in a container whose first process never waits for
/// orphans a zombie stays for good: so the lock of one goes, if nobody works in the cluster any more.
fn remove_lock_of_the_dead(cluster: &Path) -> Result<()> {
    let lock = cluster.join("postmaster.pid");
    let holder = fs::read_to_string(&lock)
        .ok()
        .and_then(|text| text.lines().next()?.trim().parse().ok());
    let is_zombie = |pid| procfs::stat(pid).is_some_and(|stat| stat.has_ended());
    if !holder.is_some_and(is_zombie) || procfs::pids().any(|pid| works_in(pid, cluster)) {
        return Ok(());
    }
    fs::remove_file(&lock).with_context(|| format!("cannot remove {}", lock.display()))
}

/// Every process of a server has the cluster as its working directory.
fn works_in(pid: i32, cluster: &Path) -> bool {
    fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|folder| folder == cluster)
}

/// Made aside and renamed, so that a run cut short leaves no half-made cluster.
fn make_cluster(stack: &Stack, cluster: &Path) -> Result<()> {
    let unfinished = beside(cluster, ".new");
    let password_file = beside(cluster, ".password");
    stack::remove_dir(&unfinished)?;
    fs::create_dir_all(&unfinished)
        .with_context(|| format!("cannot make {}", unfinished.display()))?;
    let folder = cluster.parent().expect("a cluster lies in a folder");
    stack::set_mode(folder, 0o755)?;
    fs::write(&password_file, POSTGRES_PASSWORD).context("cannot write initdb's password file")?;
    if let Some(user) = system_user()? {
        for path in [&unfinished, &password_file] {
            chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw()))
                .with_context(|| format!("cannot hand {} to {SYSTEM_USER}", path.display()))?;
        }
    }
    let outcome = initdb(stack, &unfinished, &password_file);
    let _ = fs::remove_file(&password_file);
    outcome?;
    fs::rename(&unfinished, cluster).with_context(|| format!("cannot make {}", cluster.display()))
}

/// The path with something added to its name.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

fn initdb(stack: &Stack, cluster: &Path, password_file: &Path) -> Result<()> {
    let mut command = as_postgres(&install::postgres_bin()?.join("initdb"))?;
    command
        .arg("-D")
        .arg(cluster)
        .arg("--pwfile")
        .arg(password_file)
        .current_dir("/");
    command.args([
        "--username=postgres",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
    ]);
    // The same everywhere: the order of names in a list must not depend on who developed it where.
    command.args(["--locale=C.UTF-8", "--no-instructions"]);
    if stack.is_throwaway() {
        command.arg("--no-sync");
    }
    let output = command
        .stdin(Stdio::null())
        .output()
        .context("cannot run initdb")?;
    require_success(&output, "initdb")
}

/// A command that runs as the system's user for PostgreSQL if we are root, else as ourselves.
fn as_postgres(program: &Path) -> Result<Command> {
    if system_user()?.is_none() {
        return Ok(Command::new(program));
    }
    let mut command = Command::new(install::program("setpriv")?);
    command
        .args([
            "--reuid=postgres",
            "--regid=postgres",
            "--clear-groups",
            "--",
        ])
        .arg(program);
    Ok(command)
}

/// The user to run the server as; `None` if that is ourselves.
fn system_user() -> Result<Option<User>> {
    if !Uid::effective().is_root() {
        return Ok(None);
    }
    User::from_name(SYSTEM_USER)
        .context("cannot read the list of users")?
        .map(Some)
        .context("PostgreSQL does not run as root, and there is no user `postgres` to run it as")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::StackName;

    #[test]
    fn a_folder_that_is_closed_to_others_closes_all_below() {
        let outer = std::env::temp_dir().join(format!("talktime-dev-{}", std::process::id()));
        let inner = outer.join("inner");
        fs::create_dir_all(&inner).expect("a temporary folder");
        stack::set_mode(&outer, 0o755).expect("our own folder");
        assert!(everybody_may_reach(&inner.join("data")));
        stack::set_mode(&outer, 0o700).expect("our own folder");
        assert!(!everybody_may_reach(&inner.join("data")));
        stack::remove_dir(&outer).expect("our own folder");
    }

    #[test]
    fn stacks_of_different_workspaces_do_not_share_a_folder() {
        let dev = open_data_dir(&Stack::new(StackName::Dev));
        let test = open_data_dir(&Stack::new(StackName::Test));
        assert_ne!(dev, test);
        assert!(dev.starts_with(OPEN_DATA_DIR));
        assert_eq!(dev.parent(), Some(Path::new(OPEN_DATA_DIR)));
    }
}

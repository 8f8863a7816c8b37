//! The PostgreSQL server of a stack: its cluster, created by initdb, and how to run it as root.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use nix::unistd::{Uid, User};

use crate::databases::require_success;
use crate::progress::{self, ProgressStep};
use crate::secrets::POSTGRES_PASSWORD;
use crate::stack::{self, DevStack};
use crate::unit::StackUnit;
use crate::{identities, install, procfs};

/// The user that Debian's package creates. The server refuses to run as root.
const SYSTEM_USER: &str = "postgres";
/// Enough for seven processes with a pool each, and for concurrent tests with pools of their own.
const MAX_CONNECTIONS: u32 = 300;
/// Clients log in over TLS only, except where its cost is measured: there psql uses it and processes do not.
const CLIENTS_ADMITTED: &str = "hostssl all all 127.0.0.1/32 password\n";
const PLAINTEXT_CLIENTS_ADMITTED: &str = "host all all 127.0.0.1/32 password\n";
/// For a workspace below a folder that only root may enter (see `cluster_dir`).
const OPEN_DATA_DIR: &str = "/var/lib/talktime-dev";

/// Creates the cluster if there is none yet.
pub(crate) fn prepare_cluster(stack: &DevStack) -> Result<()> {
    let cluster = cluster_dir(stack);
    if cluster.join("PG_VERSION").exists() {
        return remove_stale_lock(&cluster);
    }
    if cluster != data_dir(stack) {
        progress::print_status(
            "postgres",
            "data in",
            format_args!(
                "{} (only root can enter the folder of the workspace)",
                cluster.display()
            ),
        );
    }
    let step = ProgressStep::start("postgres");
    create_cluster(stack, &cluster)?;
    step.finish("created");
    Ok(())
}

/// Returns the command that runs the server.
pub(crate) fn build_server_command(stack: &DevStack) -> Result<Command> {
    let mut command = build_postgres_command(&install::find_postgres_bin()?.join("postgres"))?;
    command.arg("-D").arg(cluster_dir(stack)).current_dir("/");
    let mut set = |name: &str, value: &str| {
        command.arg("-c").arg(format!("{name}={value}"));
    };
    set("port", &stack.main_port(StackUnit::Postgres).to_string());
    set("listen_addresses", "127.0.0.1");
    set("unix_socket_directories", "");
    set("ssl", "on");
    set("max_connections", &MAX_CONNECTIONS.to_string());
    // Without this, details of errors contain values, such as the phone number that is taken.
    set("log_error_verbosity", "terse");
    if stack.is_throwaway() {
        for name in ["fsync", "synchronous_commit", "full_page_writes"] {
            set(name, "off");
        }
    }
    Ok(command)
}

/// Copies the certificate of the server into its cluster. The server refuses a private key that is not its own user's.
pub(crate) fn install_certificate(stack: &DevStack) -> Result<()> {
    let identity = identities::identity_dir(stack, StackUnit::Postgres);
    let cluster = cluster_dir(stack);
    for (source, name) in [("tls.crt", "server.crt"), ("tls.key", "server.key")] {
        let installed = cluster.join(name);
        fs::copy(identity.join(source), &installed)
            .with_context(|| format!("cannot write {}", installed.display()))?;
        stack::set_mode(&installed, 0o600)?;
        hand_to_server(&installed)?;
    }
    let admitted = if stack.is_plaintext() {
        PLAINTEXT_CLIENTS_ADMITTED
    } else {
        CLIENTS_ADMITTED
    };
    fs::write(cluster.join("pg_hba.conf"), admitted).context("cannot write pg_hba.conf")
}

/// Removes the cluster from either folder.
pub(crate) fn wipe_cluster(stack: &DevStack) -> Result<()> {
    stack::remove_dir(&data_dir(stack))?;
    stack::remove_dir(&open_data_dir(stack))
}

fn data_dir(stack: &DevStack) -> PathBuf {
    stack.data_dir().join("postgres")
}

/// A folder for the cluster below [`OPEN_DATA_DIR`], which every user can reach, named after that of the stack.
fn open_data_dir(stack: &DevStack) -> PathBuf {
    let mut folder = String::new();
    for part in stack.dir().components().skip(1) {
        let _ = write!(folder, "-{}", part.as_os_str().display());
    }
    Path::new(OPEN_DATA_DIR).join(folder.trim_start_matches('-'))
}

/// Returns the folder of the cluster. It is beside the other data of the stack, unless the runner is root
/// and the user of the server cannot reach that folder, as in a workspace below /root.
fn cluster_dir(stack: &DevStack) -> PathBuf {
    let inside = data_dir(stack);
    if Uid::effective().is_root() && !is_reachable_by_everybody(&inside) {
        return open_data_dir(stack);
    }
    inside
}

/// Whether every user may pass through all folders above the path.
fn is_reachable_by_everybody(path: &Path) -> bool {
    const OTHERS_MAY_PASS: u32 = 0o001;
    path.ancestors()
        .skip(1)
        .filter_map(|folder| fs::metadata(folder).ok())
        .all(|metadata| metadata.mode() & OTHERS_MAY_PASS != 0)
}

/// Removes the lock file of a killed server if its process is a zombie. Postgres regards a zombie as alive,
/// and in a container whose first process never waits for orphans, a zombie remains forever.
fn remove_stale_lock(cluster: &Path) -> Result<()> {
    let lock = cluster.join("postmaster.pid");
    let holder = fs::read_to_string(&lock)
        .ok()
        .and_then(|text| text.lines().next()?.trim().parse().ok());
    let is_zombie = |pid| procfs::read_stat(pid).is_some_and(|stat| stat.has_ended());
    if !holder.is_some_and(is_zombie)
        || procfs::list_pids().any(|pid| has_working_directory(pid, cluster))
    {
        return Ok(());
    }
    fs::remove_file(&lock).with_context(|| format!("cannot remove {}", lock.display()))
}

/// Whether the process works in this cluster, as every process of a server does.
fn has_working_directory(pid: i32, cluster: &Path) -> bool {
    fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|folder| folder == cluster)
}

/// Creates the cluster beside its place and renames it, so that an interrupted run leaves no partial cluster.
fn create_cluster(stack: &DevStack, cluster: &Path) -> Result<()> {
    let unfinished = append_to_name(cluster, ".new");
    let password_file = append_to_name(cluster, ".password");
    stack::remove_dir(&unfinished)?;
    fs::create_dir_all(&unfinished)
        .with_context(|| format!("cannot make {}", unfinished.display()))?;
    let folder = cluster.parent().expect("a cluster lies in a folder");
    stack::set_mode(folder, 0o755)?;
    fs::write(&password_file, POSTGRES_PASSWORD).context("cannot write initdb's password file")?;
    for path in [&unfinished, &password_file] {
        hand_to_server(path)?;
    }
    let outcome = run_initdb(stack, &unfinished, &password_file);
    let _ = fs::remove_file(&password_file);
    outcome?;
    fs::rename(&unfinished, cluster).with_context(|| format!("cannot make {}", cluster.display()))
}

/// Gives a path to the user of the server, if that is not the runner's own.
fn hand_to_server(path: &Path) -> Result<()> {
    let Some(user) = find_system_user()? else {
        return Ok(());
    };
    chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw()))
        .with_context(|| format!("cannot hand {} to {SYSTEM_USER}", path.display()))
}

/// Returns the path with a suffix added to its name.
fn append_to_name(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

fn run_initdb(stack: &DevStack, cluster: &Path, password_file: &Path) -> Result<()> {
    let mut command = build_postgres_command(&install::find_postgres_bin()?.join("initdb"))?;
    command
        .arg("-D")
        .arg(cluster)
        .arg("--pwfile")
        .arg(password_file)
        .current_dir("/");
    // Clients send their password as it is, over TLS on the loopback interface. With SCRAM they would hash it
    // thousands of times for each connection, which takes a tenth of a second in a debug build.
    command.args(["--username=postgres", "--auth=password", "--encoding=UTF8"]);
    // The order of names in a list must not depend on the machine.
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

/// Returns a command that runs as the system's user for PostgreSQL if the runner is root.
fn build_postgres_command(program: &Path) -> Result<Command> {
    if find_system_user()?.is_none() {
        return Ok(Command::new(program));
    }
    let mut command = Command::new(install::find_program("setpriv")?);
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

/// Returns the user to run the server as; `None` if that is the user of the runner.
fn find_system_user() -> Result<Option<User>> {
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
    fn a_path_below_a_closed_folder_is_not_reachable() {
        let outer = std::env::temp_dir().join(format!("talktime-dev-{}", std::process::id()));
        let inner = outer.join("inner");
        fs::create_dir_all(&inner).expect("a temporary folder");
        stack::set_mode(&outer, 0o755).expect("our own folder");
        assert!(is_reachable_by_everybody(&inner.join("data")));
        stack::set_mode(&outer, 0o700).expect("our own folder");
        assert!(!is_reachable_by_everybody(&inner.join("data")));
        stack::remove_dir(&outer).expect("our own folder");
    }

    #[test]
    fn two_stacks_do_not_share_a_folder() {
        let dev = open_data_dir(&DevStack::new(StackName::Dev));
        let test = open_data_dir(&DevStack::new(StackName::Test));
        assert_ne!(dev, test);
        assert!(dev.starts_with(OPEN_DATA_DIR));
        assert_eq!(dev.parent(), Some(Path::new(OPEN_DATA_DIR)));
    }
}

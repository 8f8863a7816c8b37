//! The parts of a stack: Postgres, Redis, NATS and an S3 server, each with a folder of its own, and the server of the
//! demo page. `relays` has the media relays.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::job::RunnerJob;
use crate::secrets::{self, S3_ACCESS_KEY, S3_SECRET_KEY};
use crate::settings::StackSettings;
use crate::stack::{self, DevStack, workspace_root};
use crate::unit::{SERVICES, StackUnit, variable_name};
use crate::{cluster, env, identities, install, redis, relays, stores};

/// The users of NATS and what they may do, which every stack, compose and Kubernetes share.
pub(crate) const NATS_USERS: &str = "deploy/nats/users.conf";
/// The users of Redis and their keys, and the script that inserts their passwords.
pub(crate) const REDIS_USERS: &str = "deploy/redis/users.acl";
const EXPAND_USERS: &str = "deploy/redis/expand-users";
/// The program that creates the stream of events and prints the users of stores.
pub(crate) const STORES_PROGRAM: &str = "talktime-dev-stores";
/// Time for the stream, on a busy machine.
const STREAM_DEADLINE: Duration = Duration::from_mins(1);
/// Settings of NATS that have no option on its command line. Without a size, it offers three quarters of what the disk
/// has free, and on a disk that is nearly full it refuses the stream of events, which may grow to 8 GiB.
const NATS_CONFIG: &str = "jetstream { max_file_store: 9GiB }\n";

/// Creates what the parts need before they start.
pub(crate) fn prepare_parts(stack: &DevStack) -> Result<()> {
    for unit in [StackUnit::Redis, StackUnit::Nats, StackUnit::S3] {
        let folder = data_dir(stack, unit);
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
    }
    write_nats_config(stack)?;
    write_redis_users(stack)?;
    relays::prepare_relays(stack)?;
    cluster::prepare_cluster(stack)
}

fn write_nats_config(stack: &DevStack) -> Result<()> {
    let users = workspace_root().join(NATS_USERS);
    let users =
        fs::read_to_string(&users).with_context(|| format!("cannot read {}", users.display()))?;
    let config = nats_config(stack);
    let tls = stores::nats_tls_config(stack);
    fs::write(&config, [NATS_CONFIG, &tls, &users].concat())
        .with_context(|| format!("cannot write {}", config.display()))
}

/// Sets the variables with the passwords of the users of a store, and of its operator.
fn set_passwords(
    command: &mut Command,
    users: &[&str],
    load_password: impl Fn(&str) -> Result<String>,
) -> Result<()> {
    for user in users.iter().copied().chain([stores::STORE_OPERATOR]) {
        let variable = variable_name(user) + "_PASSWORD";
        command.env(variable, load_password(user)?);
    }
    Ok(())
}

fn write_redis_users(stack: &DevStack) -> Result<()> {
    let mut command = Command::new(workspace_root().join(EXPAND_USERS));
    command
        .arg(workspace_root().join(REDIS_USERS))
        .arg(redis_users(stack));
    set_passwords(&mut command, &stores::REDIS_USERS, |user| {
        secrets::redis_password(stack, user)
    })?;
    let status = command
        .status()
        .with_context(|| format!("cannot run {EXPAND_USERS}"))?;
    if !status.success() {
        bail!("{EXPAND_USERS} failed ({status})");
    }
    Ok(())
}

/// Creates the stream of events, which no service may do. NATS must be ready.
pub(crate) fn create_stream(stack: &DevStack) -> Result<()> {
    let mut command = Command::new(stack.binary(STORES_PROGRAM));
    command
        .arg("create-stream")
        .env("NATS_URL", stores::nats_address(stack))
        .env("NATS_CA_FILE", stores::nats_authority(stack))
        .env(
            "NATS_PASSWORD",
            secrets::nats_password(stack, stores::STORE_OPERATOR)?,
        );
    let job = RunnerJob {
        stack,
        name: "stream",
        deadline: STREAM_DEADLINE,
    };
    let status = job.run(&mut command)?;
    if !status.success() {
        bail!("{STORES_PROGRAM} could not create the stream of events ({status})");
    }
    Ok(())
}

/// Deletes the data of one part. The data of Postgres can only be deleted with the whole stack.
pub(crate) fn wipe_part(stack: &DevStack, unit: StackUnit) -> Result<()> {
    match unit {
        StackUnit::Redis | StackUnit::Nats | StackUnit::S3 => {
            stack::remove_dir(&data_dir(stack, unit))
        }
        _ => bail!("only redis, nats and s3 can be wiped alone"),
    }
}

/// Returns the command that runs Redis, without snapshots and log, because its data may be lost.
pub(crate) fn build_redis_command(stack: &DevStack) -> Result<Command> {
    let folder = data_dir(stack, StackUnit::Redis);
    let mut command = redis::build_volatile_redis_command(&folder)?;
    command
        .args(stores::redis_listen_arguments(stack))
        .arg("--aclfile")
        .arg(redis_users(stack));
    Ok(command)
}

/// Returns the command that runs NATS, with `JetStream` on disk and monitoring over HTTP.
pub(crate) fn build_nats_command(stack: &DevStack) -> Result<Command> {
    let mut command = Command::new(install::find_program("nats-server")?);
    command
        .arg("--config")
        .arg(nats_config(stack))
        .args(["--addr", "127.0.0.1", "--jetstream"])
        .args(["--port", &stack.main_port(StackUnit::Nats).to_string()])
        .arg("--store_dir")
        .arg(data_dir(stack, StackUnit::Nats));
    set_passwords(&mut command, &SERVICES.map(StackUnit::name), |user| {
        secrets::nats_password(stack, user)
    })?;
    if let Some(port) = stack.ops_port(StackUnit::Nats) {
        command.args(["--http_port", &port.to_string()]);
    }
    Ok(command)
}

/// Returns the command that runs the S3 server of the package talktime-dev-s3.
pub(crate) fn build_s3_command(stack: &DevStack) -> Command {
    let identity = identities::identity_dir(stack, StackUnit::S3);
    let mut command = Command::new(stack.binary("talktime-dev-s3"));
    command
        .arg("--certificate")
        .arg(identity.join("tls.crt"))
        .arg("--key")
        .arg(identity.join("tls.key"))
        .args([
            "--listen",
            &format!("127.0.0.1:{}", stack.main_port(StackUnit::S3)),
        ])
        .args(["--access-key", S3_ACCESS_KEY, "--secret-key", S3_SECRET_KEY])
        .args(["--bucket", env::BUCKET])
        .arg("--root")
        .arg(data_dir(stack, StackUnit::S3));
    command
}

/// Returns the command that serves the demo page, with the addresses of all gateways of the stack.
pub(crate) fn build_page_command(stack: &DevStack, settings: &StackSettings) -> Result<Command> {
    let port = stack.main_port(StackUnit::Page);
    let mut command = Command::new(stack.binary("talktime-demo-page"));
    command
        .env("PAGE_LISTEN", format!("127.0.0.1:{port}"))
        .env("PAGE_FOLDER", workspace_root().join("deploy/client/web"))
        .env("GATEWAY_URLS", env::gateway_urls(stack, settings).join(","))
        .env(
            "REDIS_URL",
            stores::redis_url(stack, stores::STORE_OPERATOR)?,
        )
        .env("REDIS_CA_FILE", stores::redis_authority(stack));
    Ok(command)
}

fn nats_config(stack: &DevStack) -> PathBuf {
    stack.data_dir().join("nats.conf")
}

fn redis_users(stack: &DevStack) -> PathBuf {
    stack.data_dir().join("redis-users.acl")
}

fn data_dir(stack: &DevStack, unit: StackUnit) -> PathBuf {
    stack.data_dir().join(unit.name())
}

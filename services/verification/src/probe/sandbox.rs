//! Starts the processes that read uploads, and limits them.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::resource::{Resource, setrlimit};
use talktime_kit::Error;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;

use super::confinement::confine_to_open_files;

/// Address space of a process, bytes: the program, a decoder with its buffers, and a reserve.
const MEMORY_BYTES_MAX: u64 = 256 * 1024 * 1024;
const CPU_SECS_MAX: u64 = 5;
/// Wall time of a process, including its start.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The address space that the allocator reserves in advance. Its default, a gigabyte, exceeds the limit, and then one
/// valid photo in twenty finds no room.
const ALLOCATOR_RESERVE: &str = "MIMALLOC_ARENA_RESERVE";

/// Starts sandboxed processes, a limited number at a time; cheap to clone.
#[derive(Clone)]
pub(super) struct ProcessSandbox {
    program: PathBuf,
    slots: Arc<Semaphore>,
}

impl ProcessSandbox {
    /// Returns a sandbox that runs commands of `program`, in at most `processes_max` concurrent processes.
    pub(super) fn new(program: PathBuf, processes_max: usize) -> Self {
        Self {
            program,
            slots: Arc::new(Semaphore::new(processes_max)),
        }
    }

    /// Runs `program command format` with the file as its standard input and returns its output. Returns `None`
    /// if the process was killed by a limit, failed, or wrote more than `output_bytes_max`.
    pub(super) async fn run(
        &self,
        [command, format]: [&str; 2],
        file: File,
        output_bytes_max: u64,
    ) -> Result<Option<Vec<u8>>, Error> {
        let _slot = self.slots.acquire().await.map_err(Error::internal)?;
        let child = Command::new(&self.program)
            .args([command, format])
            .env_clear()
            .env(ALLOCATOR_RESERVE, "0")
            .stdin(Stdio::from(file))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(Error::internal)?;
        let reason = match tokio::time::timeout(TIMEOUT, read_output(child, output_bytes_max)).await
        {
            Ok(Ok(Ok(output))) => return Ok(Some(output)),
            Ok(Ok(Err(reason))) => reason,
            Ok(Err(error)) => return Err(Error::internal(error)),
            Err(_elapsed) => "no end in time".to_owned(),
        };
        tracing::warn!(
            command,
            format,
            reason,
            "failed to read an upload; it is refused as damaged"
        );
        Ok(None)
    }
}

/// Reads the output of a process to its end, or returns the reason why the process failed.
async fn read_output(
    mut child: Child,
    output_bytes_max: u64,
) -> std::io::Result<Result<Vec<u8>, String>> {
    let stdout = child.stdout.take().expect("it is piped");
    let mut output = Vec::new();
    stdout
        .take(output_bytes_max + 1)
        .read_to_end(&mut output)
        .await?;
    if output.len() as u64 > output_bytes_max {
        return Ok(Err("too much output".to_owned()));
    }
    let status = child.wait().await?;
    if !status.success() {
        return Ok(Err(status.to_string()));
    }
    Ok(Ok(output))
}

/// Limits the present process to its memory, its time and its open files, and returns the file on its standard input.
pub(super) fn enter_limits() -> anyhow::Result<File> {
    setrlimit(Resource::RLIMIT_AS, MEMORY_BYTES_MAX, MEMORY_BYTES_MAX)?;
    setrlimit(Resource::RLIMIT_CPU, CPU_SECS_MAX, CPU_SECS_MAX)?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    // A pipe, such as the standard output, is not a file of this limit.
    setrlimit(Resource::RLIMIT_FSIZE, 0, 0)?;
    let file = File::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    confine_to_open_files()?;
    Ok(file)
}

//! The processes that read uploads have nothing but the upload.

use std::fs::{self, File};
use std::future::Future;
use std::io::PipeWriter;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use talktime_kit::testing::wait_until;
use talktime_verification::domain::{AudioFormat, PhotoFormat, VerificationError};
use talktime_verification::probe::{AudioProbe, PhotoRenderer};

/// The allocator's setting, which is all that the processes are given.
const ENVIRONMENT: &[u8] = b"MIMALLOC_ARENA_RESERVE=0\0";
/// The line of a process that a filter of system calls confines.
const CONFINED: &str = "Seccomp:\t2\n";

fn program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_talktime-verification"))
}

/// Returns an upload that does not end before its writer is dropped.
fn open_endless_upload() -> (File, PipeWriter) {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    (File::from(OwnedFd::from(reader)), writer)
}

/// Finds the folder in `/proc` of the other process that reads a pipe as its standard input.
fn find_reader(pipe: &Path) -> Option<PathBuf> {
    let own = PathBuf::from(format!("/proc/{}", std::process::id()));
    let processes = fs::read_dir("/proc").expect("readable");
    let mut folders = processes.filter_map(|entry| Some(entry.ok()?.path()));
    folders.find(|folder| {
        *folder != own && fs::read_link(folder.join("fd/0")).is_ok_and(|input| input == pipe)
    })
}

async fn assert_confined<T>(
    writer: PipeWriter,
    judgement: impl Future<Output = Result<T, VerificationError>> + Send + 'static,
) where
    T: Send + 'static,
{
    let pipe = fs::read_link(format!("/proc/self/fd/{}", writer.as_raw_fd())).expect("open");
    let judged = tokio::spawn(judgement);
    wait_until("a confined process reads the upload", || async {
        let status = find_reader(&pipe).map(|process| fs::read_to_string(process.join("status")));
        status.is_some_and(|status| status.is_ok_and(|status| status.contains(CONFINED)))
    })
    .await;
    let process = find_reader(&pipe).expect("it waits for the upload");
    let environment = fs::read(process.join("environ")).expect("it waits for the upload");
    assert_eq!(environment, ENVIRONMENT);
    drop(writer);
    let judged = judged.await.expect("no panic");
    assert!(judged.is_err(), "an empty file is damaged");
}

#[tokio::test]
async fn the_process_that_judges_audio_is_confined() {
    let (upload, writer) = open_endless_upload();
    let probe = AudioProbe::new(program(), 1);
    assert_confined(writer, async move {
        probe.check(AudioFormat::Mp3, upload).await
    })
    .await;
}

#[tokio::test]
async fn the_process_that_renders_photos_is_confined() {
    let (upload, writer) = open_endless_upload();
    let renderer = PhotoRenderer::new(program(), 1);
    assert_confined(writer, async move {
        renderer.render(PhotoFormat::Jpeg, upload).await
    })
    .await;
}

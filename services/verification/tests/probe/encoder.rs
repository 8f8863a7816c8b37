//! ffmpeg, which `cargo dev test` installs where it is missing.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;

pub(crate) const MONO_16K: &[&str] = &["-ar", "16000", "-ac", "1"];
pub(crate) const MONO_44K: &[&str] = &["-ar", "44100", "-ac", "1"];
pub(crate) const STEREO_44K: &[&str] = &["-ar", "44100", "-ac", "2"];
pub(crate) const STEREO_48K: &[&str] = &["-ar", "48000", "-ac", "2"];

/// Like speech, a tone and noise that come and go: frames of very different lengths.
const SOURCE: &str = "aevalsrc=if(lt(mod(t\\,2.3)\\,1.4)\\,0.4*sin(180*2*PI*t)*sin(3*t)+0.2*random(0)*lt(mod(t\\,0.5)\\,0.2)\\,0):s=16000";

/// One source, encoded in many ways in one run.
pub(crate) struct Encoder {
    secs: u32,
    folder: TempDir,
    outputs: Vec<(String, Vec<String>)>,
}

impl Encoder {
    /// A source of so many seconds.
    pub(crate) fn new(secs: u32) -> Self {
        Self {
            secs,
            folder: tempfile::tempdir().expect("a folder"),
            outputs: Vec::new(),
        }
    }

    /// Adds a file, whose name determines its format.
    pub(crate) fn add(&mut self, name: &str, options: &[&str]) {
        let options = options.iter().copied().map(str::to_owned).collect();
        self.outputs.push((name.to_owned(), options));
    }

    /// Makes the files.
    pub(crate) fn run(&self) {
        let mut command = self.command();
        for (name, options) in &self.outputs {
            command.args(options).arg(self.path(name));
        }
        let output = command.output().expect("ffmpeg is installed");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command:?}: {errors}");
    }

    /// The output of ffmpeg where it cannot seek.
    pub(crate) fn stream(&self, options: &[&str]) -> Vec<u8> {
        let mut command = self.command();
        let output = command.args(options).arg("pipe:1").output();
        output.expect("ffmpeg is installed").stdout
    }

    /// Returns the path of a file.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Names of all files.
    pub(crate) fn names(&self) -> Vec<String> {
        self.outputs.iter().map(|(name, _)| name.clone()).collect()
    }

    fn command(&self) -> Command {
        let mut command = Command::new("ffmpeg");
        let source = format!("{SOURCE}:d={}", self.secs);
        command
            .args(["-v", "error", "-f", "lavfi", "-i", &source])
            .stdin(Stdio::null());
        command
    }
}

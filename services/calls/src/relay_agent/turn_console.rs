//! The command line that coturn serves over telnet on the loopback interface.

use std::time::Duration;

use anyhow::{Context, bail};
use secrecy::{ExposeSecret, SecretString};
use talktime_kit::deadlines::{self, PeerKind, RELAY_COMMAND, RELAY_CONNECT, RELAY_LISTING};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Ends every answer, and occurs in no other part of it.
const PROMPT: &[u8] = b"> ";
/// Ends the greeting, and the answer to a wrong password.
const PASSWORD_PROMPT: &[u8] = b"Enter password: \r\n";
/// Longest answer: about 600 bytes for each of [`super::session_table`]'s sessions.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
const READ_BYTES: usize = 64 * 1024;

/// A session at the command line of coturn.
pub(super) struct TurnConsole {
    stream: TcpStream,
}

impl TurnConsole {
    /// Connects and logs in.
    ///
    /// # Errors
    /// coturn does not answer in time, or refuses the password.
    pub(super) async fn connect(address: &str, password: &SecretString) -> anyhow::Result<Self> {
        let login = async {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let mut console = Self { stream };
            console.read_answer().await?;
            console.write_line(password.expose_secret()).await?;
            if console.read_answer().await?.ends_with(PASSWORD_PROMPT) {
                bail!("the password was refused");
            }
            Ok(console)
        };
        deadlines::await_answer(PeerKind::Relay, RELAY_CONNECT, login)
            .await?
            .context("failed to log in at the console of the relay")
    }

    /// Returns the output of `ps`.
    ///
    /// # Errors
    /// coturn does not answer in time.
    pub(super) async fn list_sessions(&mut self) -> anyhow::Result<String> {
        self.run_command("ps", RELAY_LISTING).await
    }

    /// Ends a session; one that has ended is no error.
    ///
    /// # Errors
    /// coturn does not answer in time.
    pub(super) async fn cancel_session(&mut self, session_id: &str) -> anyhow::Result<()> {
        let command = format!("cs {session_id}");
        self.run_command(&command, RELAY_COMMAND).await.map(drop)
    }

    async fn run_command(&mut self, command: &str, bound: Duration) -> anyhow::Result<String> {
        let answer = async {
            self.write_line(command).await?;
            self.read_answer().await
        };
        let answer = deadlines::await_answer(PeerKind::Relay, bound, answer).await??;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    async fn write_line(&mut self, line: &str) -> anyhow::Result<()> {
        Ok(self
            .stream
            .write_all(format!("{line}\r\n").as_bytes())
            .await?)
    }

    /// Reads up to the next prompt.
    async fn read_answer(&mut self) -> anyhow::Result<Vec<u8>> {
        let mut answer = Vec::new();
        let mut chunk = vec![0; READ_BYTES];
        loop {
            let length = self.stream.read(&mut chunk).await?;
            if length == 0 {
                bail!("the relay closed the connection");
            }
            answer.extend_from_slice(&chunk[..length]);
            if answer.ends_with(PROMPT) || answer.ends_with(PASSWORD_PROMPT) {
                return Ok(answer);
            }
            if answer.len() > ANSWER_BYTES_MAX {
                bail!("the answer exceeds {ANSWER_BYTES_MAX} bytes");
            }
        }
    }
}

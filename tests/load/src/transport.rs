//! The cost of encryption: calls and heartbeats through a stack whose processes and stores talk over TLS, compared with one
//! in which they talk in clear.

use talktime_client::UserRole;

use crate::LoadSettings;
use crate::call_worker::{CallWorker, START_AND_END, choose_steps};
use crate::driver;
use crate::heartbeat::{HeartbeatPhoneClient, PHONES};
use crate::people;
use crate::report::{RateReport, ReportLine};
use crate::stack::BenchStack;

pub(crate) async fn run_bench(stack: &BenchStack, pace: LoadSettings) -> anyhow::Result<()> {
    let plaintext = BenchStack::plaintext_from_env()?;
    let mut plaintext = StackLoad::prepare(&plaintext, pace.clients, "in clear").await?;
    let mut encrypted = StackLoad::prepare(stack, pace.clients, "over TLS").await?;
    for _ in 0..pace.rounds {
        plaintext.run_round(pace).await?;
        encrypted.run_round(pace).await?;
    }
    let title = format!("Calls: start, end, {} at a time", pace.clients);
    RateReport::new(&title, vec![plaintext.calls, encrypted.calls]).publish()?;
    let title = format!("POST /users/me/heartbeat, {PHONES} at a time");
    RateReport::new(&title, vec![plaintext.heartbeats, encrypted.heartbeats]).publish()
}

/// Users of one stack, and how many of their requests it answers.
struct StackLoad {
    pairs: Vec<CallWorker>,
    phones: Vec<HeartbeatPhoneClient>,
    calls: ReportLine,
    heartbeats: ReportLine,
}

impl StackLoad {
    /// Signs users up.
    async fn prepare(stack: &BenchStack, clients: usize, transport: &str) -> anyhow::Result<Self> {
        let mut phones = Vec::new();
        for person in people::sign_up(stack, UserRole::User, PHONES).await? {
            phones.push(HeartbeatPhoneClient::new(stack, &person).await?);
        }
        Ok(Self {
            pairs: CallWorker::prepare(stack, clients).await?,
            phones,
            calls: ReportLine::new(&format!("calls {transport}")),
            heartbeats: ReportLine::new(&format!("heartbeats {transport}")),
        })
    }

    async fn run_round(&mut self, pace: LoadSettings) -> anyhow::Result<()> {
        choose_steps(&mut self.pairs, START_AND_END).await?;
        let calls = driver::run_flat_out(&mut self.pairs, pace.duration()).await?;
        self.calls.add_round(&calls);
        let heartbeats = driver::run_flat_out(&mut self.phones, pace.duration()).await?;
        self.heartbeats.add_round(&heartbeats);
        Ok(())
    }
}

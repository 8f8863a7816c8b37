//! What stands before the gateways, as a Service of Kubernetes does: requests go in turn to those that
//! say that they are ready. A 503 is asked again, as the app does.

use std::env;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use talktime_client::{ApiAnswer, ApiClient, ApiRequest, OtpInbox};

use crate::tally::Tally;

const LOOK_EVERY: Duration = Duration::from_millis(200);
const LOOK_TIMEOUT: Duration = Duration::from_secs(1);
const TRIES_MAX: u32 = 40;
const RETRY_AFTER: Duration = Duration::from_millis(250);
const SERVICE_UNAVAILABLE: u16 = 503;
/// The first try is still at work, under the same key.
const CONFLICT: u16 = 409;

/// A gateway.
struct Gateway {
    app: ApiClient,
    ops_url: String,
    is_ready: AtomicBool,
}

/// The way to whichever gateway is ready.
pub(crate) struct Edge {
    gateways: Vec<Arc<Gateway>>,
    next: AtomicUsize,
    tally: Arc<Tally>,
    /// The phones' text messages.
    pub(crate) inbox: OtpInbox,
}

impl Edge {
    /// Finds the gateways and looks after them from now on.
    pub(crate) async fn watch(tally: Arc<Tally>) -> anyhow::Result<Self> {
        let mut gateways = Vec::new();
        for name in ["GATEWAY", "GATEWAY_2"] {
            let gateway = Arc::new(Gateway {
                app: ApiClient::new(&variable(&format!("{name}_URL"))?)?,
                ops_url: variable(&format!("{name}_OPS_URL"))?,
                is_ready: AtomicBool::new(true),
            });
            tokio::spawn(Arc::clone(&gateway).look());
            gateways.push(gateway);
        }
        Ok(Self {
            gateways,
            next: AtomicUsize::new(0),
            tally,
            inbox: OtpInbox::connect(&variable("REDIS_URL")?).await?,
        })
    }

    /// A gateway that is ready; in turn.
    pub(crate) fn app(&self) -> &ApiClient {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let count = self.gateways.len();
        let in_turn = (0..count).map(|step| &self.gateways[(turn + step) % count]);
        let ready = in_turn
            .clone()
            .find(|gateway| gateway.is_ready.load(Ordering::Relaxed));
        &ready.unwrap_or_else(|| &self.gateways[turn % count]).app
    }

    /// Asks until the answer is no 503. Any other answer is one; silence is an error.
    pub(crate) async fn ask(
        &self,
        ask: impl Fn(&ApiClient) -> ApiRequest,
    ) -> anyhow::Result<ApiAnswer> {
        let begun = Instant::now();
        for attempt in 0..TRIES_MAX {
            match ask(self.app()).send().await {
                Ok(answer) if answer.status == SERVICE_UNAVAILABLE => {
                    self.tally.was_503(answer.code());
                }
                Ok(answer) if answer.status == CONFLICT && attempt > 0 => {}
                Ok(answer) => {
                    self.tally.answered(attempt, begun.elapsed());
                    return Ok(answer);
                }
                Err(error) => {
                    self.tally.noticed(format!("{error:#}"));
                    return Err(error);
                }
            }
            tokio::time::sleep(RETRY_AFTER).await;
        }
        self.tally.noticed(format!("a 503 after {TRIES_MAX} tries"));
        bail!("still unavailable after {TRIES_MAX} tries")
    }

    /// Asks for something that must work.
    pub(crate) async fn must(
        &self,
        ask: impl Fn(&ApiClient) -> ApiRequest,
    ) -> anyhow::Result<serde_json::Value> {
        let answer = self.ask(ask).await?;
        answer
            .into_body()
            .inspect_err(|error| self.noticed(format!("{error:#}")))
    }

    /// Something that must not happen.
    pub(crate) fn noticed(&self, what: String) {
        self.tally.noticed(what);
    }
}

impl Gateway {
    async fn look(self: Arc<Self>) {
        let http = reqwest::Client::builder().timeout(LOOK_TIMEOUT).no_proxy();
        let http = http.build().expect("nothing unusual is asked of it");
        loop {
            let answer = http.get(format!("{}/readyz", self.ops_url)).send().await;
            let is_ready = answer.is_ok_and(|answer| answer.status().is_success());
            self.is_ready.store(is_ready, Ordering::Relaxed);
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// A variable of the stack.
pub(crate) fn variable(name: &str) -> anyhow::Result<String> {
    env::var(name).with_context(|| format!("{name} is not set: run `cargo dev roll`"))
}

//! Distributes requests to gateways that are ready, like a Service of Kubernetes, and repeats requests after a 503, like
//! the app.

use std::env;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use talktime_client::{ApiAnswer, ApiClient, ApiRequest, OtpInbox, StoreAddress};

use crate::tally::RequestTally;

const PROBE_EVERY: Duration = Duration::from_millis(200);
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
const TRIES_MAX: u32 = 40;
const RETRY_AFTER: Duration = Duration::from_millis(250);
const SERVICE_UNAVAILABLE: u16 = 503;
/// The first attempt with the same key is still under way.
const CONFLICT: u16 = 409;

/// A gateway and whether it is ready.
struct GatewayState {
    app: ApiClient,
    ops_url: String,
    is_ready: AtomicBool,
}

/// Sends requests to gateways that are ready.
pub(crate) struct GatewayBalancer {
    gateways: Vec<Arc<GatewayState>>,
    next: AtomicUsize,
    tally: Arc<RequestTally>,
    /// Source of one-time passwords.
    pub(crate) inbox: OtpInbox,
}

impl GatewayBalancer {
    /// Connects to the gateways and probes them from now on.
    pub(crate) async fn connect(tally: Arc<RequestTally>) -> anyhow::Result<Self> {
        let mut gateways = Vec::new();
        for name in ["GATEWAY", "GATEWAY_2"] {
            let gateway = Arc::new(GatewayState {
                app: ApiClient::new(&read_variable(&format!("{name}_URL"))?)?,
                ops_url: read_variable(&format!("{name}_OPS_URL"))?,
                is_ready: AtomicBool::new(true),
            });
            tokio::spawn(Arc::clone(&gateway).probe_repeatedly());
            gateways.push(gateway);
        }
        Ok(Self {
            gateways,
            next: AtomicUsize::new(0),
            tally,
            inbox: OtpInbox::connect(&StoreAddress::from_variables("REDIS")?).await?,
        })
    }

    /// Returns the next gateway that is ready, or simply the next one while none is ready.
    pub(crate) fn app(&self) -> &ApiClient {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let count = self.gateways.len();
        let in_turn = (0..count).map(|step| &self.gateways[(turn + step) % count]);
        let ready = in_turn
            .clone()
            .find(|gateway| gateway.is_ready.load(Ordering::Relaxed));
        &ready.unwrap_or_else(|| &self.gateways[turn % count]).app
    }

    /// Repeats a request until its answer is not a 503. A missing answer is an error.
    pub(crate) async fn request(
        &self,
        build_request: impl Fn(&ApiClient) -> ApiRequest,
    ) -> anyhow::Result<ApiAnswer> {
        let started_at = Instant::now();
        for attempt in 0..TRIES_MAX {
            match build_request(self.app()).send().await {
                Ok(answer) if answer.status == SERVICE_UNAVAILABLE => {
                    self.tally.record_503(answer.code());
                }
                Ok(answer) if answer.status == CONFLICT && attempt > 0 => {}
                Ok(answer) => {
                    self.tally.record_answer(attempt, started_at.elapsed());
                    return Ok(answer);
                }
                Err(error) => {
                    self.tally.record_failure(format!("{error:#}"));
                    return Err(error);
                }
            }
            tokio::time::sleep(RETRY_AFTER).await;
        }
        self.tally
            .record_failure(format!("a 503 after {TRIES_MAX} attempts"));
        bail!("still unavailable after {TRIES_MAX} attempts")
    }

    /// Sends a request that must succeed.
    pub(crate) async fn request_ok(
        &self,
        build_request: impl Fn(&ApiClient) -> ApiRequest,
    ) -> anyhow::Result<serde_json::Value> {
        let answer = self.request(build_request).await?;
        answer
            .into_body()
            .inspect_err(|error| self.record_failure(format!("{error:#}")))
    }

    /// Records a failure.
    pub(crate) fn record_failure(&self, failure: String) {
        self.tally.record_failure(failure);
    }
}

impl GatewayState {
    async fn probe_repeatedly(self: Arc<Self>) {
        let http = reqwest::Client::builder().timeout(PROBE_TIMEOUT).no_proxy();
        let http = http.build().expect("a valid configuration");
        loop {
            let answer = http.get(format!("{}/readyz", self.ops_url)).send().await;
            let is_ready = answer.is_ok_and(|answer| answer.status().is_success());
            self.is_ready.store(is_ready, Ordering::Relaxed);
            tokio::time::sleep(PROBE_EVERY).await;
        }
    }
}

/// Reads a variable of the stack.
pub(crate) fn read_variable(name: &str) -> anyhow::Result<String> {
    env::var(name).with_context(|| format!("{name} is not set: run `cargo dev roll`"))
}

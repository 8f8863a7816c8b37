//! Logins and refreshes, compared with their parts: signatures, scripts in Redis, commits.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use fred::prelude::{Builder, Client, ClientLike, Expiration, KeysInterface};
use http::Method;
use serde_json::{Value, json};
use sqlx::Executor;
use talktime_auth::domain::claims::{TokenGrant, TokenLifetimes, UserSession};
use talktime_auth::keyring::{Ed25519PrivateKey, TokenKeyRing};
use talktime_auth::tokens::TokenIssuer;
use talktime_client::{AppUser, UserRole, random_phone};
use talktime_proto::access::v1::Workload;
use talktime_proto::auth::v1::RefreshTokensRequest;
use talktime_proto::auth::v1::auth_service_client::AuthServiceClient;
use tonic::transport::Channel;
use uuid::Uuid;

use crate::LoadSettings;
use crate::driver::{self, LoadWorker};
use crate::http::HttpConnection;
use crate::people;
use crate::pgbench::PgbenchScript;
use crate::report::{RateReport, ReportLine};
use crate::stack::BenchStack;

/// The code of every login, which the measurement stores in the place of auth.
const OTP: &str = "123456";
const OTP_LIFETIME_SECS: i64 = 300;
/// Repetitions of each single step.
const SINGLE_ASKS: u32 = 500;
const ALONE: Duration = Duration::from_secs(3);

pub(crate) async fn run_bench(stack: &BenchStack, pace: LoadSettings) -> anyhow::Result<()> {
    let database = stack.connect_database().await?;
    database
        .execute(include_str!("../pgbench/auth_tables.sql"))
        .await?;
    let redis = connect_redis(stack).await?;
    let people = people::sign_up(stack, UserRole::User, pace.clients).await?;
    let logins = measure_logins(stack, pace, &redis, &people).await?;
    logins.publish()?;
    let refreshes = measure_refreshes(stack, pace, &people).await?;
    refreshes.publish()?;
    println!("{}", measure_steps(stack, &redis, &people[0]).await?);
    Ok(())
}

async fn connect_redis(stack: &BenchStack) -> anyhow::Result<Client> {
    let redis = Builder::from_config(stack.redis.redis_config()?).build()?;
    redis.init().await.context("cannot connect to Redis")?;
    Ok(redis)
}

async fn measure_logins(
    stack: &BenchStack,
    pace: LoadSettings,
    redis: &Client,
    people: &[AppUser],
) -> anyhow::Result<RateReport> {
    let mut phones = Vec::new();
    let mut requests = Vec::new();
    for person in people {
        phones.push(LoginPhoneClient::new(stack, redis, person).await?);
        requests.push(OtpRequester {
            connection: HttpConnection::open(&stack.gateway_url, "").await?,
        });
    }
    let pgbench = PgbenchScript::new(stack, include_str!("../pgbench/login.sql"))?;
    let mut reference = ReportLine::new("pgbench, a login's rows in one commit");
    let mut login = ReportLine::new("POST /auth/verify of a known phone");
    let mut request = ReportLine::new("POST /auth/request_otp");
    for _ in 0..pace.rounds {
        reference.add_rate(pgbench.run(pace.clients, pace.duration()).await?);
        login.add_round(&driver::run_flat_out(&mut phones, pace.duration()).await?);
        request.add_round(&driver::run_flat_out(&mut requests, pace.duration()).await?);
    }
    let title = "Logins: code, session, audit log and event, two signatures";
    Ok(RateReport::new(title, vec![reference, login, request]))
}

async fn measure_refreshes(
    stack: &BenchStack,
    pace: LoadSettings,
    people: &[AppUser],
) -> anyhow::Result<RateReport> {
    let auth = stack
        .connect_grpc(Workload::Gateway, Workload::Auth)
        .await?;
    let auth = AuthServiceClient::new(auth);
    let (mut rest, mut grpc) = (Vec::new(), Vec::new());
    // A refresh token can be used once, so REST and gRPC need different users.
    for (index, person) in people.iter().enumerate() {
        if index % 2 == 0 {
            rest.push(RestRefresher {
                connection: HttpConnection::open(&stack.gateway_url, "").await?,
                refresh_token: person.refresh_token.clone(),
            });
        } else {
            grpc.push(GrpcRefresher {
                auth: auth.clone(),
                refresh_token: person.refresh_token.clone(),
            });
        }
    }
    let cores = std::thread::available_parallelism()?.get();
    let mut signers = (0..cores)
        .map(TokenSigner::new)
        .collect::<Result<Vec<_>, _>>()?;
    let mut reference = ReportLine::new("pairs of tokens signed, on every core");
    let mut by_grpc = ReportLine::new("RefreshTokens over gRPC");
    let mut by_rest = ReportLine::new("POST /auth/refresh");
    for _ in 0..pace.rounds {
        reference.add_round(&driver::run_flat_out(&mut signers, pace.duration()).await?);
        by_grpc.add_round(&driver::run_flat_out(&mut grpc, pace.duration()).await?);
        by_rest.add_round(&driver::run_flat_out(&mut rest, pace.duration()).await?);
    }
    let title = "Refreshes: one check, one script in Redis, two signatures";
    Ok(RateReport::new(title, vec![reference, by_grpc, by_rest]))
}

/// An app that logs in repeatedly. The code is written to Redis as auth does it, because a phone gets at most five in
/// fifteen minutes.
struct LoginPhoneClient {
    connection: HttpConnection,
    redis: Client,
    number: String,
}

impl LoginPhoneClient {
    async fn new(stack: &BenchStack, redis: &Client, person: &AppUser) -> anyhow::Result<Self> {
        Ok(Self {
            connection: HttpConnection::open(&stack.gateway_url, "").await?,
            redis: redis.clone(),
            number: person.phone.clone(),
        })
    }

    async fn log_in(&mut self) -> anyhow::Result<Bytes> {
        let lifetime = Some(Expiration::EX(OTP_LIFETIME_SECS));
        let key = format!("otp:{}", self.number);
        let () = self.redis.set(key, OTP, lifetime, None, false).await?;
        let body = json!({"phone": self.number, "otp": OTP});
        let connection = &mut self.connection;
        let post = Method::POST;
        connection
            .request_ok(post, "/auth/verify", None, Some(&body))
            .await
    }
}

impl LoadWorker for LoginPhoneClient {
    async fn execute(&mut self) -> anyhow::Result<u64> {
        self.log_in().await?;
        Ok(1)
    }
}

/// Requests codes for different phones.
struct OtpRequester {
    connection: HttpConnection,
}

impl LoadWorker for OtpRequester {
    async fn execute(&mut self) -> anyhow::Result<u64> {
        let body = json!({"phone": random_phone()});
        let path = "/auth/request_otp";
        let connection = &mut self.connection;
        connection
            .request_ok(Method::POST, path, None, Some(&body))
            .await?;
        Ok(1)
    }
}

struct RestRefresher {
    connection: HttpConnection,
    refresh_token: String,
}

impl LoadWorker for RestRefresher {
    async fn execute(&mut self) -> anyhow::Result<u64> {
        let body = json!({"refresh_token": self.refresh_token});
        let path = "/auth/refresh";
        let connection = &mut self.connection;
        let answer = connection
            .request_ok(Method::POST, path, None, Some(&body))
            .await?;
        let answer: Value = serde_json::from_slice(&answer)?;
        let next = answer["refresh_token"].as_str();
        next.context("an answer without a token")?
            .clone_into(&mut self.refresh_token);
        Ok(1)
    }
}

struct GrpcRefresher {
    auth: AuthServiceClient<Channel>,
    refresh_token: String,
}

impl LoadWorker for GrpcRefresher {
    async fn execute(&mut self) -> anyhow::Result<u64> {
        let request = RefreshTokensRequest {
            refresh_token: self.refresh_token.clone(),
        };
        let answer = self.auth.refresh_tokens(request).await?.into_inner();
        let pair = answer.tokens.context("an answer without tokens")?;
        self.refresh_token = pair.refresh_token;
        Ok(1)
    }
}

/// Signs pairs of tokens.
struct TokenSigner {
    issuer: Arc<TokenIssuer>,
    session: UserSession,
}

impl TokenSigner {
    fn new(index: usize) -> anyhow::Result<Self> {
        let key = Ed25519PrivateKey::from_der(&Ed25519PrivateKey::generate()?)?;
        let ring = TokenKeyRing::new(key, &[])?;
        Ok(Self {
            issuer: Arc::new(TokenIssuer::with_ring(ring, TokenLifetimes::default())),
            session: UserSession {
                user_id: i64::try_from(index)?,
                session_id: Uuid::new_v4(),
            },
        })
    }

    fn sign_pair(&self) -> anyhow::Result<()> {
        let now = talktime_kit::Clock::System.now();
        for grant in [
            TokenGrant::Access(self.session),
            TokenGrant::Refresh(self.session),
        ] {
            self.issuer.issue_token(Uuid::new_v4(), now, grant)?;
        }
        Ok(())
    }
}

impl LoadWorker for TokenSigner {
    /// Signs many pairs at once, so that the work of the driver is negligible.
    async fn execute(&mut self) -> anyhow::Result<u64> {
        const PAIRS: u64 = 100;
        for _ in 0..PAIRS {
            self.sign_pair()?;
        }
        tokio::task::yield_now().await;
        Ok(PAIRS)
    }
}

/// Measures the steps of a login and of a refresh one after another, without other load.
async fn measure_steps(
    stack: &BenchStack,
    redis: &Client,
    person: &AppUser,
) -> anyhow::Result<String> {
    let mut phone = LoginPhoneClient::new(stack, redis, person).await?;
    let mut rest = RestRefresher {
        connection: HttpConnection::open(&stack.gateway_url, "").await?,
        refresh_token: log_in(&mut phone).await?,
    };
    let mut grpc = GrpcRefresher {
        auth: AuthServiceClient::new(
            stack
                .connect_grpc(Workload::Gateway, Workload::Auth)
                .await?,
        ),
        refresh_token: log_in(&mut phone).await?,
    };
    let signer = TokenSigner::new(0)?;
    let pgbench = PgbenchScript::new(stack, include_str!("../pgbench/login.sql"))?;
    let commits_per_second = pgbench.run(1, ALONE).await?;
    let ping = async || Ok(redis.ping::<()>(None).await?);
    let steps = [
        (
            "POST /auth/verify",
            measure_mean(async || phone.execute().await.map(drop)).await?,
        ),
        (
            "  a login's rows in one commit",
            Duration::from_secs_f64(commits_per_second.recip()),
        ),
        (
            "POST /auth/refresh",
            measure_mean(async || rest.execute().await.map(drop)).await?,
        ),
        (
            "  RefreshTokens over gRPC",
            measure_mean(async || grpc.execute().await.map(drop)).await?,
        ),
        ("  a round trip to Redis", measure_mean(ping).await?),
        (
            "  two signatures",
            measure_mean(async || signer.sign_pair()).await?,
        ),
    ];
    let lines = steps.map(|(step, took)| format!("  {step:<52} {:>7} us", took.as_micros()));
    let title = "Durations of single steps (means)";
    Ok(format!("\n{title}\n{}\n", lines.join("\n")))
}

/// Logs in and returns the refresh token.
async fn log_in(phone: &mut LoginPhoneClient) -> anyhow::Result<String> {
    let answer: Value = serde_json::from_slice(&phone.log_in().await?)?;
    let token = answer["refresh_token"].as_str().map(str::to_owned);
    token.context("an answer without a token")
}

async fn measure_mean(
    mut send: impl AsyncFnMut() -> anyhow::Result<()>,
) -> anyhow::Result<Duration> {
    let started_at = Instant::now();
    for _ in 0..SINGLE_ASKS {
        send().await?;
    }
    Ok(started_at.elapsed() / SINGLE_ASKS)
}

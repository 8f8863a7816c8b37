//! Logins and refreshes beside what they are made of: signatures, scripts in Redis, commits.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use fred::prelude::{Builder, Client, ClientLike, Config, Expiration, KeysInterface};
use http::Method;
use serde_json::{Value, json};
use sqlx::Executor;
use talktime_auth::domain::claims::{TokenGrant, TokenLifetimes, UserSession};
use talktime_auth::keyring::{KeyRing, PrivateKey};
use talktime_auth::tokens::TokenIssuer;
use talktime_client::{AppUser, UserRole, random_phone};
use talktime_proto::auth::v1::RefreshTokensRequest;
use talktime_proto::auth::v1::auth_service_client::AuthServiceClient;
use tonic::transport::Channel;
use uuid::Uuid;

use crate::Pace;
use crate::driver::{self, Worker};
use crate::http::Connection;
use crate::people;
use crate::pgbench::Pgbench;
use crate::report::{Line, Report};
use crate::stack::Stack;

/// What every login presents: the bench puts it where auth would have.
const OTP: &str = "123456";
const OTP_LIFETIME_SECS: i64 = 300;
/// Each step by itself is asked so often for its time.
const SINGLE_ASKS: u32 = 500;
const ALONE: Duration = Duration::from_secs(3);

pub(crate) async fn bench(stack: &Stack, pace: Pace) -> anyhow::Result<()> {
    let database = stack.database().await?;
    database
        .execute(include_str!("../pgbench/auth_tables.sql"))
        .await?;
    let redis = redis(stack).await?;
    let people = people::sign_up(stack, UserRole::User, pace.clients).await?;
    println!("{}", logins(stack, pace, &redis, &people).await?);
    println!("{}", refreshes(stack, pace, &people).await?);
    println!("{}", where_time_goes(stack, &redis, &people[0]).await?);
    Ok(())
}

async fn redis(stack: &Stack) -> anyhow::Result<Client> {
    let redis = Builder::from_config(Config::from_url(&stack.redis_url)?).build()?;
    redis.init().await.context("Redis is not there")?;
    Ok(redis)
}

async fn logins(
    stack: &Stack,
    pace: Pace,
    redis: &Client,
    people: &[AppUser],
) -> anyhow::Result<Report> {
    let mut phones = Vec::new();
    let mut requests = Vec::new();
    for person in people {
        phones.push(Phone::new(stack, redis, person).await?);
        requests.push(Requester {
            connection: Connection::open(&stack.gateway_url, "").await?,
        });
    }
    let pgbench = Pgbench::new(stack, include_str!("../pgbench/login.sql"))?;
    let mut opponent = Line::new("pgbench, a login's rows in one commit");
    let mut login = Line::new("POST /auth/verify of a known phone");
    let mut request = Line::new("POST /auth/request_otp");
    for _ in 0..pace.rounds {
        opponent.rate(pgbench.run(pace.clients, pace.duration()).await?);
        login.add(&driver::flat_out(&mut phones, pace.duration()).await?);
        request.add(&driver::flat_out(&mut requests, pace.duration()).await?);
    }
    let title = "Logins: code, session, audit log and event, two signatures";
    Ok(Report::new(title, vec![opponent, login, request]))
}

async fn refreshes(stack: &Stack, pace: Pace, people: &[AppUser]) -> anyhow::Result<Report> {
    let auth = AuthServiceClient::new(stack.grpc("auth").await?);
    let (mut rest, mut grpc) = (Vec::new(), Vec::new());
    // A refresh token is used once, so each face has people of its own.
    for (index, person) in people.iter().enumerate() {
        if index % 2 == 0 {
            rest.push(RestRefresher {
                connection: Connection::open(&stack.gateway_url, "").await?,
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
    let mut signers = (0..cores).map(Signer::new).collect::<Result<Vec<_>, _>>()?;
    let mut opponent = Line::new("pairs of tokens signed, on every core");
    let mut by_grpc = Line::new("RefreshTokens over gRPC");
    let mut by_rest = Line::new("POST /auth/refresh");
    for _ in 0..pace.rounds {
        opponent.add(&driver::flat_out(&mut signers, pace.duration()).await?);
        by_grpc.add(&driver::flat_out(&mut grpc, pace.duration()).await?);
        by_rest.add(&driver::flat_out(&mut rest, pace.duration()).await?);
    }
    let title = "Refreshes: one check, one script in Redis, two signatures";
    Ok(Report::new(title, vec![opponent, by_grpc, by_rest]))
}

/// Somebody's app, which logs in again and again. The code is put into Redis as auth does it, since a
/// phone is sent five in a quarter of an hour and no more.
struct Phone {
    connection: Connection,
    redis: Client,
    number: String,
}

impl Phone {
    async fn new(stack: &Stack, redis: &Client, person: &AppUser) -> anyhow::Result<Self> {
        Ok(Self {
            connection: Connection::open(&stack.gateway_url, "").await?,
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
            .must(post, "/auth/verify", None, Some(&body))
            .await
    }
}

impl Worker for Phone {
    async fn ask(&mut self) -> anyhow::Result<u64> {
        self.log_in().await?;
        Ok(1)
    }
}

/// Asks for codes, each for another phone.
struct Requester {
    connection: Connection,
}

impl Worker for Requester {
    async fn ask(&mut self) -> anyhow::Result<u64> {
        let body = json!({"phone": random_phone()});
        let path = "/auth/request_otp";
        let connection = &mut self.connection;
        connection
            .must(Method::POST, path, None, Some(&body))
            .await?;
        Ok(1)
    }
}

struct RestRefresher {
    connection: Connection,
    refresh_token: String,
}

impl Worker for RestRefresher {
    async fn ask(&mut self) -> anyhow::Result<u64> {
        let body = json!({"refresh_token": self.refresh_token});
        let path = "/auth/refresh";
        let connection = &mut self.connection;
        let answer = connection
            .must(Method::POST, path, None, Some(&body))
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

impl Worker for GrpcRefresher {
    async fn ask(&mut self) -> anyhow::Result<u64> {
        let request = RefreshTokensRequest {
            refresh_token: self.refresh_token.clone(),
        };
        let answer = self.auth.refresh_tokens(request).await?.into_inner();
        let pair = answer.tokens.context("an answer without tokens")?;
        self.refresh_token = pair.refresh_token;
        Ok(1)
    }
}

/// Signs, and does nothing else.
struct Signer {
    issuer: Arc<TokenIssuer>,
    session: UserSession,
}

impl Signer {
    fn new(index: usize) -> anyhow::Result<Self> {
        let key = PrivateKey::from_der(&PrivateKey::generate()?)?;
        let ring = KeyRing::new(key, &[])?;
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

impl Worker for Signer {
    /// Many at a time, since the driver's own work would show otherwise.
    async fn ask(&mut self) -> anyhow::Result<u64> {
        const PAIRS: u64 = 100;
        for _ in 0..PAIRS {
            self.sign_pair()?;
        }
        tokio::task::yield_now().await;
        Ok(PAIRS)
    }
}

/// One after the other, with nobody else about: what a login and a refresh consist of.
async fn where_time_goes(
    stack: &Stack,
    redis: &Client,
    person: &AppUser,
) -> anyhow::Result<String> {
    let mut phone = Phone::new(stack, redis, person).await?;
    let mut rest = RestRefresher {
        connection: Connection::open(&stack.gateway_url, "").await?,
        refresh_token: log_in(&mut phone).await?,
    };
    let mut grpc = GrpcRefresher {
        auth: AuthServiceClient::new(stack.grpc("auth").await?),
        refresh_token: log_in(&mut phone).await?,
    };
    let signer = Signer::new(0)?;
    let pgbench = Pgbench::new(stack, include_str!("../pgbench/login.sql"))?;
    let commits_per_second = pgbench.run(1, ALONE).await?;
    let ping = async || Ok(redis.ping::<()>(None).await?);
    let steps = [
        (
            "POST /auth/verify",
            mean(async || phone.ask().await.map(drop)).await?,
        ),
        (
            "  a login's rows in one commit",
            Duration::from_secs_f64(commits_per_second.recip()),
        ),
        (
            "POST /auth/refresh",
            mean(async || rest.ask().await.map(drop)).await?,
        ),
        (
            "  RefreshTokens over gRPC",
            mean(async || grpc.ask().await.map(drop)).await?,
        ),
        ("  a round trip to Redis", mean(ping).await?),
        ("  two signatures", mean(async || signer.sign_pair()).await?),
    ];
    let lines = steps.map(|(step, took)| format!("  {step:<52} {:>7} us", took.as_micros()));
    let title = "Where the time goes, one at a time (means)";
    Ok(format!("\n{title}\n{}\n", lines.join("\n")))
}

/// A refresh token of a new session.
async fn log_in(phone: &mut Phone) -> anyhow::Result<String> {
    let answer: Value = serde_json::from_slice(&phone.log_in().await?)?;
    let token = answer["refresh_token"].as_str().map(str::to_owned);
    token.context("an answer without a token")
}

async fn mean(mut ask: impl AsyncFnMut() -> anyhow::Result<()>) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    for _ in 0..SINGLE_ASKS {
        ask().await?;
    }
    Ok(begun.elapsed() / SINGLE_ASKS)
}

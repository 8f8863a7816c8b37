//! Auth's binary: `serve`, and the commands that every service has.

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    talktime_kit::cli::main(talktime_auth::SCHEMA, talktime_auth::serve).await
}

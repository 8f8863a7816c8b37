//! The calls service's binary: `serve`, and the commands that every service has.

#[global_allocator]
static ALLOCATOR: talktime_kit::MiMalloc = talktime_kit::MiMalloc;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    talktime_kit::cli::main(talktime_calls::SCHEMA, talktime_calls::serve).await
}

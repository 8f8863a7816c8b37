//! Signs up users before a measurement.

use anyhow::Context;
use futures::{StreamExt, TryStreamExt, stream};
use talktime_client::{ApiClient, AppUser, OtpInbox, UserRole};

use crate::stack::BenchStack;

const SIGN_UPS_AT_A_TIME: usize = 16;

/// Signs up users through the API.
pub(crate) async fn sign_up(
    stack: &BenchStack,
    role: UserRole,
    count: usize,
) -> anyhow::Result<Vec<AppUser>> {
    let app = ApiClient::new(&stack.gateway_url)?;
    let inbox = OtpInbox::connect(&stack.redis).await?;
    stream::iter(0..count)
        .map(|_| app.sign_up(&inbox, role))
        .buffer_unordered(SIGN_UPS_AT_A_TIME)
        .try_collect()
        .await
        .context("signing people up")
}

//! People with accounts, made before the clock runs.

use anyhow::Context;
use futures::{StreamExt, TryStreamExt, stream};
use talktime_client::{ApiClient, AppUser, OtpInbox, UserRole};

use crate::stack::Stack;

const SIGN_UPS_AT_A_TIME: usize = 16;

/// Signs up so many people, as their phones would.
pub(crate) async fn sign_up(
    stack: &Stack,
    role: UserRole,
    count: usize,
) -> anyhow::Result<Vec<AppUser>> {
    let app = ApiClient::new(&stack.gateway_url)?;
    let inbox = OtpInbox::connect(&stack.redis_url).await?;
    stream::iter(0..count)
        .map(|_| app.sign_up(&inbox, role))
        .buffer_unordered(SIGN_UPS_AT_A_TIME)
        .try_collect()
        .await
        .context("signing people up")
}

//! The two accounts of the demo page.

use anyhow::Result;
use serde::Serialize;
use talktime_client::{ApiClient, AppUser, NewAppUser, OtpInbox, StoreAddress, UserRole};
use tokio::sync::OnceCell;

/// Rupees that the caller's account begins with, which are thirty minutes of sound.
const RECHARGE_RUPEES: u32 = 150;

/// The accounts, which are signed up when the page is opened for the first time: this server starts before the gateway.
pub(crate) struct DemoAccounts {
    app: ApiClient,
    redis: StoreAddress,
    inbox: OnceCell<OtpInbox>,
    pair: OnceCell<DemoPair>,
}

/// The accounts as the page knows them.
#[derive(Clone, Serialize)]
pub(crate) struct DemoPair {
    caller: DemoAccount,
    listener: DemoAccount,
}

/// An account; the page logs in with the phone number, as an app does.
#[derive(Clone, Serialize)]
struct DemoAccount {
    user_id: i64,
    phone: String,
    username: String,
}

impl DemoAccounts {
    pub(crate) fn new(gateway_url: &str, redis: StoreAddress) -> Result<Self> {
        Ok(Self {
            app: ApiClient::new(gateway_url)?,
            redis,
            inbox: OnceCell::new(),
            pair: OnceCell::new(),
        })
    }

    /// Waits for the last one-time password of a phone.
    pub(crate) async fn read_otp(&self, phone: &str) -> Result<String> {
        self.inbox().await?.read_otp(phone).await
    }

    /// Returns the two accounts, and signs them up if they do not exist yet.
    pub(crate) async fn load_pair(&self) -> Result<DemoPair> {
        let pair = self.pair.get_or_try_init(|| self.sign_up_pair()).await?;
        Ok(pair.clone())
    }

    async fn sign_up_pair(&self) -> Result<DemoPair> {
        let caller = self.sign_up("asha", UserRole::User).await?;
        let recharged = self.app.recharge(&caller, RECHARGE_RUPEES).await?;
        recharged.into_body()?;
        let listener = self.sign_up("devi", UserRole::Listener).await?;
        Ok(DemoPair {
            caller: caller.into(),
            listener: listener.into(),
        })
    }

    async fn sign_up(&self, name: &str, role: UserRole) -> Result<AppUser> {
        let new = NewAppUser::with_name(name, role);
        self.app.sign_up_as(self.inbox().await?, new).await
    }

    async fn inbox(&self) -> Result<&OtpInbox> {
        let connect = || OtpInbox::connect(&self.redis);
        self.inbox.get_or_try_init(connect).await
    }
}

impl From<AppUser> for DemoAccount {
    fn from(user: AppUser) -> Self {
        Self {
            user_id: user.user_id,
            phone: user.phone,
            username: user.username,
        }
    }
}

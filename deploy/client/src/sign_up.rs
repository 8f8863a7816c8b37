//! Sign-up and login, as the app does them.

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::app::ApiClient;
use crate::inbox::OtpInbox;
use crate::users::{AppUser, NewAppUser, UserRole};

impl ApiClient {
    /// Signs up a user with a random phone number and name.
    pub async fn sign_up(&self, inbox: &OtpInbox, role: UserRole) -> anyhow::Result<AppUser> {
        self.sign_up_as(inbox, NewAppUser::with_name(role.name(), role))
            .await
    }

    /// Signs up a user: one-time password, verification, registration.
    pub async fn sign_up_as(&self, inbox: &OtpInbox, new: NewAppUser) -> anyhow::Result<AppUser> {
        let verified = self.verify_phone(inbox, &new.phone).await?;
        ensure!(
            verified["status"] == "needs_registration",
            "{} is taken: {verified}",
            new.phone
        );
        let registration = json!({
            "registration_token": verified["registration_token"],
            "username": new.username,
            "sex": new.sex,
            "dob": new.dob,
            "role": new.role.name(),
            "interests": new.interests,
        });
        let request = self.post("/auth/register").json(&registration);
        let registered = request.send().await?.into_body()?;
        let user_id = registered["user_id"].as_i64();
        Ok(AppUser {
            user_id: user_id.context("the registration has no user_id")?,
            phone: new.phone,
            username: new.username,
            access_token: text_field(&registered, "access_token")?,
            refresh_token: text_field(&registered, "refresh_token")?,
        })
    }

    /// Logs a user in again and returns them with new tokens; the old ones stay valid.
    pub async fn log_in(&self, inbox: &OtpInbox, user: &AppUser) -> anyhow::Result<AppUser> {
        let verified = self.verify_phone(inbox, &user.phone).await?;
        Ok(AppUser {
            access_token: text_field(&verified, "access_token")?,
            refresh_token: text_field(&verified, "refresh_token")?,
            ..user.clone()
        })
    }

    async fn verify_phone(&self, inbox: &OtpInbox, phone: &str) -> anyhow::Result<Value> {
        let request = self.post("/auth/request_otp");
        request
            .json(&json!({"phone": phone}))
            .send()
            .await?
            .into_body()?;
        let otp = inbox.read_otp(phone).await?;
        let request = self.post("/auth/verify");
        request
            .json(&json!({"phone": phone, "otp": otp}))
            .send()
            .await?
            .into_body()
    }
}

fn text_field(answer: &Value, field: &str) -> anyhow::Result<String> {
    let value = answer[field].as_str().map(str::to_owned);
    value.with_context(|| format!("the answer has no {field}"))
}

//! People who sign up.

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::App;
use crate::inbox::OtpInbox;

/// What a person signs up as.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// Calls and pays.
    User,
    /// Is called and earns.
    Listener,
}

impl Role {
    /// As it is written on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Listener => "listener",
        }
    }
}

/// Who is going to sign up.
#[derive(Clone, Debug)]
pub struct NewPerson {
    /// E.164.
    pub phone: String,
    /// 3 to 50 letters, digits, underscores.
    pub username: String,
    /// `male`, `female` or `other`.
    pub sex: String,
    /// ISO 8601 date.
    pub dob: String,
    /// What for.
    pub role: Role,
    /// At most 10.
    pub interests: Vec<String>,
}

impl NewPerson {
    /// An adult whom nobody has met before; the user name begins with `name`.
    pub fn named(name: &str, role: Role) -> Self {
        Self {
            phone: random_phone(),
            username: random_username(name),
            sex: "female".to_owned(),
            dob: "1995-06-15".to_owned(),
            role,
            interests: Vec::new(),
        }
    }
}

/// Someone who has signed up and is logged in.
#[derive(Clone, Debug)]
pub struct Person {
    /// Their id.
    pub user_id: i64,
    /// E.164.
    pub phone: String,
    /// Their name to others.
    pub username: String,
    /// The token for every request.
    pub access_token: String,
    /// The token for the next pair.
    pub refresh_token: String,
}

/// An Indian mobile number in E.164, one of a thousand million.
pub fn random_phone() -> String {
    format!("+919{:09}", Uuid::new_v4().as_u128() % 1_000_000_000)
}

/// A user name that nobody has, beginning with `name`.
pub fn random_username(name: &str) -> String {
    let unique = Uuid::new_v4().simple().to_string();
    format!("{name}_{}", &unique[..10])
}

impl App {
    /// Someone new, with a random phone and name.
    pub async fn sign_up(&self, inbox: &OtpInbox, role: Role) -> anyhow::Result<Person> {
        self.sign_up_as(inbox, NewPerson::named(role.name(), role))
            .await
    }

    /// One-time password, verification, registration.
    pub async fn sign_up_as(&self, inbox: &OtpInbox, new: NewPerson) -> anyhow::Result<Person> {
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
        let ask = self.post("/auth/register").json(&registration);
        let registered = ask.send().await?.ok()?;
        let user_id = registered["user_id"].as_i64();
        Ok(Person {
            user_id: user_id.context("a registration without user_id")?,
            phone: new.phone,
            username: new.username,
            access_token: text(&registered, "access_token")?,
            refresh_token: text(&registered, "refresh_token")?,
        })
    }

    /// Logs in again; the person has new tokens, and the old ones stay good.
    pub async fn log_in(&self, inbox: &OtpInbox, person: &Person) -> anyhow::Result<Person> {
        let verified = self.verify_phone(inbox, &person.phone).await?;
        Ok(Person {
            access_token: text(&verified, "access_token")?,
            refresh_token: text(&verified, "refresh_token")?,
            ..person.clone()
        })
    }

    async fn verify_phone(&self, inbox: &OtpInbox, phone: &str) -> anyhow::Result<Value> {
        let ask = self.post("/auth/request_otp");
        ask.json(&json!({"phone": phone})).send().await?.ok()?;
        let otp = inbox.read(phone).await?;
        let ask = self.post("/auth/verify");
        ask.json(&json!({"phone": phone, "otp": otp}))
            .send()
            .await?
            .ok()
    }
}

fn text(answer: &Value, field: &str) -> anyhow::Result<String> {
    let value = answer[field].as_str().map(str::to_owned);
    value.with_context(|| format!("an answer without {field}"))
}

//! What happens in the demo, and what must be true after each step.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use talktime_client::{App, NewPerson, OtpInbox, Person, Role, Socket, random_username, until};

use crate::events::{Listening, Ours, describe};

/// Where everything is, and how long a minute lasts.
pub(crate) struct Settings {
    pub(crate) gateway_url: String,
    pub(crate) redis_url: String,
    pub(crate) nats_url: String,
    pub(crate) minute_secs: u64,
}

/// What a newcomer to the platform is ready to wait for a second minute.
const WATCHABLE_MINUTE_SECS: u64 = 5;
/// What travels by events is there well within it.
const SEEN_WITHIN: Duration = Duration::from_secs(10);
const RECHARGE_RUPEES: u32 = 150;
const RECHARGE_COINS: i64 = 300;

/// Published by any call that is paid for, answered and ended.
const EVENTS: [&str; 7] = [
    "events.profile.user_registered",
    "events.presence.status_changed",
    "events.wallet.coins_added",
    "events.wallet.charged",
    "events.wallet.earned",
    "events.calls.call_started",
    "events.calls.call_ended",
];

/// Two people and the app they use.
struct Stage {
    app: App,
    caller: Person,
    listener: Person,
    /// The caller's, on `/ws/presence`.
    socket: Socket,
}

/// A call that was started.
struct Call {
    call_id: i64,
    coins_per_minute: i64,
}

/// Tells the story; fails at the first thing that is not as it should be.
pub(crate) async fn tell(settings: &Settings) -> Result<()> {
    let listening = Listening::begin(&settings.nats_url).await?;
    let mut stage = prepare(settings).await?;
    let call = start(&mut stage).await?;
    let minutes = talk(&stage, &call, settings.minute_secs).await?;
    end(&mut stage, &call, minutes).await?;

    let ours = Ours {
        user_ids: [stage.caller.user_id, stage.listener.user_id],
        call_id: call.call_id,
    };
    let events = listening.collect(&ours, &EVENTS).await?;
    step(
        "events",
        &format!("{} were published meanwhile:", events.len()),
    );
    for event in &events {
        println!("              {}", describe(event));
    }
    Ok(())
}

fn step(name: &str, what: &str) {
    println!("  {name:<10}  {what}");
}

/// Sign-up, recharge, feed, socket.
async fn prepare(settings: &Settings) -> Result<Stage> {
    let app = App::new(&settings.gateway_url)?;
    let inbox = OtpInbox::connect(&settings.redis_url).await?;
    let caller = sign_up(&app, &inbox, NewPerson::named("asha", Role::User)).await?;
    // An interest of her own, by which the feed finds her among all listeners.
    let interest = random_username("demo").replace('_', " ");
    let new_listener = NewPerson {
        interests: vec![interest.clone()],
        ..NewPerson::named("devi", Role::Listener)
    };
    let listener = sign_up(&app, &inbox, new_listener).await?;
    recharge(&app, &caller).await?;
    find_in_feed(&app, &caller, &listener, &interest).await?;

    let mut socket = app.socket("/ws/presence", &caller).await?;
    let hello = socket.next_of_type("hello", SEEN_WITHIN).await?;
    ensure!(hello["data"]["epoch"].is_string(), "a hello without epoch");
    step(
        "socket",
        &format!("{} listens on /ws/presence", caller.username),
    );
    Ok(Stage {
        app,
        caller,
        listener,
        socket,
    })
}

async fn sign_up(app: &App, inbox: &OtpInbox, new: NewPerson) -> Result<Person> {
    let role = new.role.name();
    let person = app.sign_up_as(inbox, new).await?;
    let Person {
        user_id, username, ..
    } = &person;
    step(
        "sign-up",
        &format!("{username} is user {user_id}, role {role}"),
    );
    Ok(person)
}

async fn recharge(app: &App, caller: &Person) -> Result<()> {
    let receipt = app.recharge(caller, RECHARGE_RUPEES).await?.ok()?;
    let (added, balance) = (
        integer(&receipt, "coins_added")?,
        integer(&receipt, "new_balance")?,
    );
    equal("coins for the recharge", added, RECHARGE_COINS)?;
    equal("the new balance", balance, RECHARGE_COINS)?;
    let what = format!("₹{RECHARGE_RUPEES} become {added} coins; balance {balance} coins");
    step("recharge", &what);
    Ok(())
}

async fn find_in_feed(app: &App, caller: &Person, listener: &Person, interest: &str) -> Result<()> {
    let query = [("interests", interest), ("available_only", "true")];
    let listeners = until("the listener in the feed", SEEN_WITHIN, async || {
        let feed = app.get("/feed/listeners").of(caller).query(&query);
        let feed = feed.send().await?.ok()?;
        let listeners = feed["listeners"].as_array().cloned().unwrap_or_default();
        Ok((!listeners.is_empty()).then_some(listeners))
    })
    .await?;
    ensure!(
        listeners[0]["user_id"] == listener.user_id,
        "the feed shows somebody else: {}",
        listeners[0]
    );
    let what = format!("{} finds {}, available", caller.username, listener.username);
    step("feed", &what);
    Ok(())
}

async fn start(stage: &mut Stage) -> Result<Call> {
    let Stage {
        app,
        caller,
        listener,
        socket,
    } = stage;
    let before = coins(app, caller).await?;
    let started = app.start_call(caller, listener, "audio").await?.ok()?;
    let call_id = integer(&started, "call_id")?;
    let remaining = integer(&started, "remaining_coins")?;
    equal(
        "coins after the start",
        coins(app, caller).await?,
        remaining,
    )?;
    let coins_per_minute = before - remaining;
    ensure!(coins_per_minute > 0, "the first minute cost nothing");
    step(
        "call",
        &format!("audio call {call_id} starts; coins {before} -> {remaining}: minute 1 is paid"),
    );
    see_status(socket, listener, true).await?;
    step(
        "busy",
        &format!("{} is busy, says the socket", listener.username),
    );
    Ok(Call {
        call_id,
        coins_per_minute,
    })
}

/// Waits for the second minute where minutes are short. Answers with the minutes billed at least.
async fn talk(stage: &Stage, call: &Call, minute_secs: u64) -> Result<i64> {
    if minute_secs > WATCHABLE_MINUTE_SECS {
        step("talk", "a short call: a minute that has begun counts whole");
        return Ok(1);
    }
    let Stage { app, caller, .. } = stage;
    let two_minutes = 2 * call.coins_per_minute;
    let within = SEEN_WITHIN + Duration::from_secs(2 * minute_secs);
    let remaining = until("minute 2 on the bill", within, async || {
        let ongoing = app.ongoing_call(caller).await?.ok()?;
        let is_billed = integer(&ongoing, "coins_spent")? >= two_minutes;
        is_billed
            .then(|| integer(&ongoing, "remaining_coins"))
            .transpose()
    })
    .await?;
    step(
        "minute 2",
        &format!("billed by the server itself, {minute_secs} s a minute; {remaining} coins left"),
    );
    Ok(2)
}

async fn end(stage: &mut Stage, call: &Call, minutes_at_least: i64) -> Result<()> {
    let Stage {
        app,
        caller,
        listener,
        socket,
    } = stage;
    let receipt = app.end_call(caller, call.call_id).await?.ok()?;
    let minutes = integer(&receipt, "duration_minutes")?;
    let spent = integer(&receipt, "coins_spent")?;
    let earned = &receipt["listener_money_earned"];
    ensure!(
        minutes >= minutes_at_least,
        "the receipt has {minutes} minutes, {minutes_at_least} were billed"
    );
    equal("coins spent", spent, minutes * call.coins_per_minute)?;
    step(
        "receipt",
        &format!("minutes: {minutes}; {spent} coins spent; ₹{earned} for the listener"),
    );
    see_status(socket, listener, false).await?;
    step(
        "free",
        &format!("{} is free, says the socket", listener.username),
    );

    let left = coins(app, caller).await?;
    equal("coins left", left, RECHARGE_COINS - spent)?;
    equal(
        "the receipt's balance",
        integer(&receipt, "remaining_coins")?,
        left,
    )?;
    let listeners = app.balance(listener).await?.ok()?;
    let money = &listeners["withdrawable_money"];
    ensure!(
        money == earned && *money != 0,
        "the listener has ₹{money}, the receipt says ₹{earned}"
    );
    step(
        "balances",
        &format!(
            "{}: {RECHARGE_COINS} - {spent} = {left} coins; {}: ₹{money}",
            caller.username, listener.username
        ),
    );
    Ok(())
}

async fn see_status(socket: &mut Socket, person: &Person, is_busy: bool) -> Result<()> {
    let what = if is_busy {
        "busy status"
    } else {
        "free status"
    };
    let is_it = |message: &Value| {
        let data = &message["data"];
        message["type"] == "status_change"
            && data["user_id"] == person.user_id
            && data["is_busy"] == is_busy
    };
    socket.next_where(what, SEEN_WITHIN, is_it).await?;
    Ok(())
}

async fn coins(app: &App, person: &Person) -> Result<i64> {
    let balance = app.balance(person).await?.ok()?;
    integer(&balance, "balance_coins")
}

fn integer(answer: &Value, field: &str) -> Result<i64> {
    let number = answer[field].as_i64();
    number.with_context(|| format!("{field} is not an integer in {answer}"))
}

fn equal(what: &str, found: i64, expected: i64) -> Result<()> {
    ensure!(
        found == expected,
        "{what}: {found}, where {expected} was expected"
    );
    Ok(())
}

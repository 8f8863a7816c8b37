//! The steps of the demo, with the checks after each step.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use talktime_client::{
    ApiClient, AppSocket, AppUser, NewAppUser, OtpInbox, StoreAddress, UserRole, poll_until,
    random_username,
};

use crate::events::{DemoIds, EventRecorder, describe_event};

/// The addresses of the stack, and the length of a minute.
pub(crate) struct DemoSettings {
    pub(crate) gateway_url: String,
    pub(crate) redis: StoreAddress,
    pub(crate) nats: StoreAddress,
    pub(crate) minute_secs: u64,
}

/// Longest minute for whose end the demo waits.
const WATCHABLE_MINUTE_SECS: u64 = 5;
/// Time within which the effects of events must be visible.
const VISIBLE_WITHIN: Duration = Duration::from_secs(10);
const RECHARGE_RUPEES: u32 = 150;
const RECHARGE_COINS: i64 = 300;

/// Events of a call that rings and is missed, and of one that is accepted, paid and ended.
const EVENTS: [&str; 10] = [
    "events.profile.user_registered",
    "events.presence.status_changed",
    "events.wallet.coins_added",
    "events.wallet.charged",
    "events.wallet.earned",
    "events.calls.call_ringing",
    "events.calls.call_unanswered",
    "events.calls.call_accepted",
    "events.calls.call_started",
    "events.calls.call_ended",
];

/// Two users with the client and the socket that they use.
struct DemoSetup {
    app: ApiClient,
    caller: AppUser,
    listener: AppUser,
    /// Socket of the caller on `/ws/presence`.
    socket: AppSocket,
    /// Socket of the listener's phone on `/ws/calls`.
    phone: AppSocket,
}

/// A call that the listener has accepted.
struct DemoCall {
    call_id: i64,
    coins_per_minute: i64,
}

/// Runs all steps and fails at the first one with an unexpected result.
pub(crate) async fn run_demo(settings: &DemoSettings) -> Result<()> {
    let recorder = EventRecorder::subscribe(&settings.nats).await?;
    let mut setup = prepare_users(settings).await?;
    let missed_call_id = miss_call(&mut setup).await?;
    let call = accept_call(&mut setup).await?;
    let minutes = wait_for_minutes(&setup, &call, settings.minute_secs).await?;
    end_call(&mut setup, &call, minutes).await?;

    let ids = DemoIds {
        user_ids: [setup.caller.user_id, setup.listener.user_id],
        call_ids: [missed_call_id, call.call_id],
    };
    let events = recorder.collect(&ids, &EVENTS).await?;
    print_step(
        "events",
        &format!("{} events were published meanwhile:", events.len()),
    );
    for event in &events {
        println!("              {}", describe_event(event));
    }
    Ok(())
}

fn print_step(name: &str, result: &str) {
    println!("  {name:<10}  {result}");
}

/// Signs up both users, recharges, finds the listener in the feed and opens the sockets.
async fn prepare_users(settings: &DemoSettings) -> Result<DemoSetup> {
    let app = ApiClient::new(&settings.gateway_url)?;
    let inbox = OtpInbox::connect(&settings.redis).await?;
    let caller = sign_up(&app, &inbox, NewAppUser::with_name("asha", UserRole::User)).await?;
    // By this interest the feed finds the listener among all others.
    let interest = random_username("demo").replace('_', " ");
    let new_listener = NewAppUser {
        interests: vec![interest.clone()],
        ..NewAppUser::with_name("devi", UserRole::Listener)
    };
    let listener = sign_up(&app, &inbox, new_listener).await?;
    recharge(&app, &caller).await?;
    find_in_feed(&app, &caller, &listener, &interest).await?;

    let mut socket = app.connect_socket("/ws/presence", &caller).await?;
    let hello = socket.receive_type("hello", VISIBLE_WITHIN).await?;
    ensure!(hello["data"]["epoch"].is_string(), "the hello has no epoch");
    let mut phone = app.connect_socket("/ws/calls", &listener).await?;
    phone.receive_type("hello", VISIBLE_WITHIN).await?;
    print_step(
        "sockets",
        &format!(
            "{} opens /ws/presence, {} opens /ws/calls",
            caller.username, listener.username
        ),
    );
    Ok(DemoSetup {
        app,
        caller,
        listener,
        socket,
        phone,
    })
}

async fn sign_up(app: &ApiClient, inbox: &OtpInbox, new: NewAppUser) -> Result<AppUser> {
    let role = new.role.name();
    let person = app.sign_up_as(inbox, new).await?;
    let AppUser {
        user_id, username, ..
    } = &person;
    print_step(
        "sign-up",
        &format!("{username} is user {user_id}, role {role}"),
    );
    Ok(person)
}

async fn recharge(app: &ApiClient, caller: &AppUser) -> Result<()> {
    let receipt = app.recharge(caller, RECHARGE_RUPEES).await?.into_body()?;
    let (added, balance) = (
        integer_field(&receipt, "coins_added")?,
        integer_field(&receipt, "new_balance")?,
    );
    ensure_equal("coins for the recharge", added, RECHARGE_COINS)?;
    ensure_equal("the new balance", balance, RECHARGE_COINS)?;
    let result = format!("₹{RECHARGE_RUPEES} become {added} coins; balance {balance} coins");
    print_step("recharge", &result);
    Ok(())
}

async fn find_in_feed(
    app: &ApiClient,
    caller: &AppUser,
    listener: &AppUser,
    interest: &str,
) -> Result<()> {
    let query = [("interests", interest), ("available_only", "true")];
    let listeners = poll_until("listener in the feed", VISIBLE_WITHIN, async || {
        let feed = app.get("/feed/listeners").as_user(caller).query(&query);
        let feed = feed.send().await?.into_body()?;
        let listeners = feed["listeners"].as_array().cloned().unwrap_or_default();
        Ok((!listeners.is_empty()).then_some(listeners))
    })
    .await?;
    ensure!(
        listeners[0]["user_id"] == listener.user_id,
        "the feed contains another listener: {}",
        listeners[0]
    );
    let result = format!("{} finds {}, available", caller.username, listener.username);
    print_step("feed", &result);
    Ok(())
}

/// Rings the listener until the phone rings. Returns the id of the call.
async fn ring_phone(setup: &mut DemoSetup) -> Result<i64> {
    let DemoSetup {
        app,
        caller,
        listener,
        phone,
        ..
    } = setup;
    let ring = app
        .ring_listener(caller, listener, "audio")
        .await?
        .into_body()?;
    let call_id = integer_field(&ring, "call_id")?;
    let is_ring_of_call = |message: &Value| {
        message["type"] == "call_ringing" && message["data"]["call_id"] == call_id
    };
    phone
        .receive_matching("ring", VISIBLE_WITHIN, is_ring_of_call)
        .await?;
    app.acknowledge_ring(listener, call_id).await?.into_body()?;
    let result = format!(
        "audio call {call_id}: the phone of {} rings; nothing is paid",
        listener.username
    );
    print_step("ring", &result);
    Ok(call_id)
}

/// Rings and gives up. The listener finds the call among the missed ones, and nobody pays for it.
async fn miss_call(setup: &mut DemoSetup) -> Result<i64> {
    let before = load_coins(&setup.app, &setup.caller).await?;
    let call_id = ring_phone(setup).await?;
    let DemoSetup {
        app,
        caller,
        listener,
        socket,
        ..
    } = setup;
    expect_busy(socket, listener, true).await?;
    app.cancel_call(caller, call_id).await?.into_body()?;
    expect_busy(socket, listener, false).await?;
    let after = load_coins(app, caller).await?;
    ensure_equal("coins after the missed call", after, before)?;
    let missed = app.list_missed_calls(listener).await?.into_body()?;
    ensure!(
        missed["calls"][0]["call_id"] == call_id && missed["unseen_count"] == 1,
        "the list of missed calls is wrong: {missed}"
    );
    let result = format!(
        "{} gives up; {} has a missed call; still {after} coins",
        caller.username, listener.username
    );
    print_step("missed", &result);
    Ok(call_id)
}

/// Rings again. The listener accepts, and the first minute is paid.
async fn accept_call(setup: &mut DemoSetup) -> Result<DemoCall> {
    let before = load_coins(&setup.app, &setup.caller).await?;
    let call_id = ring_phone(setup).await?;
    let DemoSetup {
        app,
        caller,
        listener,
        socket,
        ..
    } = setup;
    let ringing = load_coins(app, caller).await?;
    ensure_equal("coins while the call rings", ringing, before)?;
    app.accept_call(listener, call_id).await?.into_body()?;
    let remaining = load_coins(app, caller).await?;
    let coins_per_minute = before - remaining;
    ensure!(coins_per_minute > 0, "the first minute cost nothing");
    print_step(
        "call",
        &format!(
            "{} accepts; coins {before} -> {remaining}: minute 1 is paid",
            listener.username
        ),
    );
    expect_busy(socket, listener, true).await?;
    print_step(
        "busy",
        &format!("the socket reports {} as busy", listener.username),
    );
    Ok(DemoCall {
        call_id,
        coins_per_minute,
    })
}

/// Waits for the second minute if minutes are short. Returns the least number of billed minutes.
async fn wait_for_minutes(setup: &DemoSetup, call: &DemoCall, minute_secs: u64) -> Result<i64> {
    if minute_secs > WATCHABLE_MINUTE_SECS {
        print_step(
            "talk",
            "the call is short: a minute that has begun counts as a whole",
        );
        return Ok(1);
    }
    let DemoSetup { app, caller, .. } = setup;
    let two_minutes = 2 * call.coins_per_minute;
    let within = VISIBLE_WITHIN + Duration::from_secs(2 * minute_secs);
    let remaining = poll_until("bill for minute 2", within, async || {
        let ongoing = app.load_ongoing_call(caller).await?.into_body()?;
        let is_billed = integer_field(&ongoing, "coins_spent")? >= two_minutes;
        is_billed
            .then(|| integer_field(&ongoing, "remaining_coins"))
            .transpose()
    })
    .await?;
    print_step(
        "minute 2",
        &format!("billed by the server, {minute_secs} s a minute; {remaining} coins left"),
    );
    Ok(2)
}

async fn end_call(setup: &mut DemoSetup, call: &DemoCall, minutes_min: i64) -> Result<()> {
    let DemoSetup {
        app,
        caller,
        listener,
        socket,
        ..
    } = setup;
    let receipt = app.end_call(caller, call.call_id).await?.into_body()?;
    let minutes = integer_field(&receipt, "duration_minutes")?;
    let spent = integer_field(&receipt, "coins_spent")?;
    let earned = &receipt["listener_money_earned"];
    ensure!(
        minutes >= minutes_min,
        "the receipt has {minutes} minutes, but {minutes_min} were billed"
    );
    ensure_equal("coins spent", spent, minutes * call.coins_per_minute)?;
    print_step(
        "receipt",
        &format!("minutes: {minutes}; {spent} coins spent; ₹{earned} for the listener"),
    );
    expect_busy(socket, listener, false).await?;
    print_step(
        "free",
        &format!("the socket reports {} as free", listener.username),
    );

    let left = load_coins(app, caller).await?;
    ensure_equal("coins left", left, RECHARGE_COINS - spent)?;
    ensure_equal(
        "the receipt's balance",
        integer_field(&receipt, "remaining_coins")?,
        left,
    )?;
    let balance = app.load_balance(listener).await?.into_body()?;
    let money = &balance["withdrawable_money"];
    ensure!(
        money == earned && *money != 0,
        "the listener has ₹{money}, but the receipt says ₹{earned}"
    );
    print_step(
        "balances",
        &format!(
            "{}: {RECHARGE_COINS} - {spent} = {left} coins; {}: ₹{money}",
            caller.username, listener.username
        ),
    );
    Ok(())
}

async fn expect_busy(socket: &mut AppSocket, user: &AppUser, is_busy: bool) -> Result<()> {
    let description = if is_busy {
        "busy status"
    } else {
        "free status"
    };
    let is_expected_status = |message: &Value| {
        let data = &message["data"];
        message["type"] == "status_change"
            && data["user_id"] == user.user_id
            && data["is_busy"] == is_busy
    };
    socket
        .receive_matching(description, VISIBLE_WITHIN, is_expected_status)
        .await?;
    Ok(())
}

async fn load_coins(app: &ApiClient, user: &AppUser) -> Result<i64> {
    let balance = app.load_balance(user).await?.into_body()?;
    integer_field(&balance, "balance_coins")
}

fn integer_field(answer: &Value, field: &str) -> Result<i64> {
    let number = answer[field].as_i64();
    number.with_context(|| format!("{field} is not an integer in {answer}"))
}

fn ensure_equal(name: &str, found: i64, expected: i64) -> Result<()> {
    ensure!(found == expected, "{name}: {found} instead of {expected}");
    Ok(())
}

//! Sensitive requests soon after a login, where the operator requires that.

use serde_json::json;
use talktime_client::{ApiAnswer, ApiClient, AppUser, UserRole};
use talktime_tests::replica::start_gateway;
use talktime_tests::{ExpectAnswer, connect_app, wait_for};

use crate::assert_problem;

const CODE: &str = "recent_login_required";

async fn put_bank_details(gateway: &ApiClient, person: &AppUser) -> ApiAnswer {
    let details = json!({
        "account_holder_name": "Devi Rao", "account_number": "123456789012",
        "ifsc_code": "HDFC0ABC123",
    });
    let request = gateway.put("/wallet/bank-details").as_user(person);
    request.json(&details).answer().await
}

async fn withdraw(gateway: &ApiClient, person: &AppUser) -> ApiAnswer {
    let request = gateway.post("/wallet/withdraw").as_user(person);
    request.json(&json!({"amount": 1})).answer().await
}

async fn delete_account(gateway: &ApiClient, person: &AppUser) -> ApiAnswer {
    gateway.delete("/users/me").as_user(person).answer().await
}

#[tokio::test]
async fn money_and_deletion_need_a_recent_login_where_that_is_required() {
    let app = connect_app().await;
    let gateway = start_gateway(&[("TALKTIME_GATEWAY__RECENT_LOGIN_SECS", "5")]).await;
    let gateway = &gateway.app;
    let mut person = app.sign_up(UserRole::Listener).await;
    let saved = put_bank_details(gateway, &person).await;
    assert_eq!(saved.status, 200, "{saved:?}");

    wait_for("the login to be too long ago", || async {
        let refused = put_bank_details(gateway, &person).await;
        (refused.status == 403).then_some(())
    })
    .await;
    // A refresh is no login.
    let request = gateway.post("/auth/refresh");
    let request = request.json(&json!({"refresh_token": person.refresh_token}));
    let refreshed = request.answer().await;
    let token = refreshed.body["access_token"].as_str().expect("a token");
    person.access_token = token.to_owned();
    for refused in [
        put_bank_details(gateway, &person).await,
        withdraw(gateway, &person).await,
        delete_account(gateway, &person).await,
    ] {
        assert_problem(&refused, 403, CODE);
    }
    let elsewhere = gateway.get("/wallet/bank-details").as_user(&person);
    assert_eq!(elsewhere.answer().await.status, 200, "not a sensitive one");
    // A gateway that does not require it allows them.
    let saved = put_bank_details(&app, &person).await;
    assert_eq!(saved.status, 200, "{saved:?}");

    let person = app.log_in_again(&person).await;
    assert_problem(&withdraw(gateway, &person).await, 400, "insufficient_money");
    let deleted = delete_account(gateway, &person).await;
    assert_eq!(deleted.status, 200, "{deleted:?}");
}

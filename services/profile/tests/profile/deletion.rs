//! People who go.

use talktime_proto::events::v1::UserDeleted;
use talktime_proto::events::v1::event::Kind;
use tonic::Code;

use crate::{Profile, refusal};

#[tokio::test]
async fn a_deletion_leaves_no_row_and_is_told() {
    let profile = Profile::start().await;
    // The stack's calls is told of the deletion, and its own users are others.
    sqlx::query("ALTER TABLE profile.users ALTER COLUMN user_id RESTART WITH 4000000000")
        .execute(&profile.database.superuser)
        .await
        .expect("restarted");
    let asha = profile.register("asha", "listener").await.user_id;
    let ravi = profile.register("ravi", "user").await.user_id;
    profile.block(asha, ravi).await;
    sqlx::query("INSERT INTO profile.user_favorites (favoriter_id, favoritee_id) VALUES ($1, $2)")
        .bind(ravi)
        .bind(asha)
        .execute(&profile.database.app_pool)
        .await
        .expect("liked");

    profile.delete(asha).await.expect("deleted");
    for (query, left) in [
        ("SELECT count(*) FROM profile.users", 1),
        ("SELECT count(*) FROM profile.user_roles", 1),
        ("SELECT count(*) FROM profile.feed_listeners", 0),
        ("SELECT count(*) FROM profile.user_blocks", 0),
        ("SELECT count(*) FROM profile.user_favorites", 0),
    ] {
        assert_eq!(profile.count(query).await, left, "{query}");
    }
    let told = profile.told(asha).await;
    let deleted = Kind::UserDeleted(UserDeleted { user_id: asha });
    assert_eq!((told[1].version, &told[1].kind), (2, &Some(deleted)));
    assert_eq!(
        profile.delete(asha).await.expect_err("gone"),
        refusal(Code::NotFound, "user_not_found")
    );
    profile.register("asha", "user").await;
}

//! Listeners who take no calls, or only those of one type.

use talktime_proto::events::v1::StatusChanged;
use talktime_proto::events::v1::event::Kind;
use talktime_proto::profile::v1 as pb;
use talktime_proto::profile::v1::profile_service_server::ProfileService;
use tonic::{Code, Request};

use crate::feed::{first_page, list_page, try_list_page, usernames_of};
use crate::{Refusal, TestProfile, UNKNOWN_USER, into_result, refusal};

fn accepting_status(user_id: i64) -> Kind {
    online_status(user_id, true)
}

fn paused_status(user_id: i64) -> Kind {
    online_status(user_id, false)
}

fn online_status(user_id: i64, accepting_calls: bool) -> Kind {
    Kind::StatusChanged(StatusChanged {
        user_id,
        is_online: true,
        accepting_calls: Some(accepting_calls),
        ..StatusChanged::default()
    })
}

async fn update_preferences(
    profile: &TestProfile,
    user_id: i64,
    audio_enabled: Option<bool>,
    video_enabled: Option<bool>,
) -> Result<pb::ListenerPreferences, Refusal> {
    let request = Request::new(pb::UpdateListenerPreferencesRequest {
        user_id,
        audio_enabled,
        video_enabled,
    });
    into_result(profile.api.update_listener_preferences(request).await)
}

#[tokio::test]
async fn a_listener_who_pauses_calls_is_online_and_not_available() {
    let profile = TestProfile::start().await;
    let paused = profile.register("paused", "listener").await.user_id;
    let free = profile.register("free", "listener").await.user_id;
    profile.apply_event(1, paused_status(paused)).await;
    profile.apply_event(1, accepting_status(free)).await;

    let all = list_page(&profile, first_page(0)).await;
    assert_eq!(
        usernames_of(&all),
        ["free", "paused"],
        "who can be called first"
    );
    assert!(all.listeners[0].takes_calls() && !all.listeners[1].takes_calls());
    assert_eq!((all.online_count, all.available_count), (2, 1));
    let available = pb::ListListenersRequest {
        available_only: true,
        ..first_page(0)
    };
    assert_eq!(
        usernames_of(&list_page(&profile, available).await),
        ["free"]
    );
    let stats = Request::new(pb::GetFeedStatsRequest {});
    let stats = into_result(profile.api.get_feed_stats(stats).await).expect("counted");
    let counts = (stats.online_listeners, stats.busy_listeners);
    assert_eq!((counts, stats.available_listeners), ((2, 1), 1));

    profile.apply_event(2, accepting_status(paused)).await;
    assert_eq!(list_page(&profile, first_page(0)).await.available_count, 2);
}

#[tokio::test]
async fn a_favourite_who_pauses_calls_is_not_available() {
    let profile = TestProfile::start().await;
    let ravi = profile.register("ravi", "user").await.user_id;
    let asha = profile.register("asha", "listener").await.user_id;
    profile.apply_event(1, paused_status(asha)).await;
    let favorite = pb::FavoriteRequest {
        user_id: ravi,
        listener_id: asha,
    };
    let added = profile.api.add_favorite(Request::new(favorite)).await;
    added.expect("added");
    let request = pb::ListFavoritesRequest {
        user_id: ravi,
        page: 1,
        per_page: 20,
        ..pb::ListFavoritesRequest::default()
    };
    let listed = profile.api.list_favorites(Request::new(request)).await;
    let page = into_result(listed).expect("a page");
    assert!(page.favorites[0].is_online && !page.favorites[0].takes_calls());
    assert_eq!((page.online_count, page.available_count), (1, 0));
}

#[tokio::test]
async fn preferences_are_kept_and_checked_before_calls() {
    let profile = TestProfile::start().await;
    let ravi = profile.register("ravi", "user").await.user_id;
    let asha = profile.register("asha", "listener").await.user_id;
    let read = async || {
        let request = Request::new(pb::GetListenerPreferencesRequest { user_id: asha });
        into_result(profile.api.get_listener_preferences(request).await)
    };
    let preferences = |audio_enabled, video_enabled| {
        Ok(pb::ListenerPreferences {
            audio_enabled,
            video_enabled,
        })
    };
    assert_eq!(read().await, preferences(true, true));
    let no_video = update_preferences(&profile, asha, None, Some(false)).await;
    assert_eq!(no_video, preferences(true, false));
    assert_eq!(read().await, preferences(true, false));

    let planned = pb::PlannedCall {
        caller_id: ravi,
        listener_id: asha,
    };
    let request = Request::new(pb::CheckCallsRequest {
        calls: vec![planned],
    });
    let checked = into_result(profile.api.check_calls(request).await).expect("checked");
    let check = &checked.checks[0];
    assert_eq!(
        (check.audio_enabled, check.video_enabled),
        (Some(true), Some(false))
    );

    let neither = update_preferences(&profile, asha, Some(false), None).await;
    let invalid = refusal(Code::InvalidArgument, "invalid_preferences");
    assert_eq!(neither.expect_err("no type is left"), invalid);
    assert_eq!(read().await, preferences(true, false));
    let unknown = update_preferences(&profile, UNKNOWN_USER, Some(true), None).await;
    let not_found = refusal(Code::NotFound, "user_not_found");
    assert_eq!(unknown.expect_err("there is no such user"), not_found);
}

#[tokio::test]
async fn the_feed_finds_listeners_by_the_type_of_call_that_they_take() {
    let profile = TestProfile::start().await;
    profile.register("both", "listener").await;
    for (name, audio_enabled, video_enabled) in
        [("only_audio", true, false), ("only_video", false, true)]
    {
        let user_id = profile.register(name, "listener").await.user_id;
        let changed =
            update_preferences(&profile, user_id, Some(audio_enabled), Some(video_enabled)).await;
        changed.expect("changed");
    }
    for (call_type, expected) in [("audio", "only_audio"), ("video", "only_video")] {
        let request = pb::ListListenersRequest {
            call_type: Some(call_type.to_owned()),
            ..first_page(0)
        };
        let page = list_page(&profile, request).await;
        assert_eq!(usernames_of(&page), [expected, "both"], "{call_type}");
        assert_eq!(page.total_count, 2);
        let listener = &page.listeners[0];
        let takes_other = if call_type == "audio" {
            listener.video_enabled
        } else {
            listener.audio_enabled
        };
        assert_eq!(takes_other, Some(false), "{listener:?}");
    }
    let unknown = pb::ListListenersRequest {
        call_type: Some("text".to_owned()),
        ..first_page(0)
    };
    let refused = try_list_page(&profile, unknown)
        .await
        .expect_err("no such type");
    assert_eq!(refused, refusal(Code::InvalidArgument, "invalid_call_type"));
}

#[tokio::test]
async fn everybody_may_see_names_pictures_and_ratings() {
    let profile = TestProfile::start().await;
    let asha = profile.register("asha", "listener").await.user_id;
    let request = Request::new(pb::GetPublicProfilesRequest {
        user_ids: vec![asha, UNKNOWN_USER],
    });
    let found = into_result(profile.api.get_public_profiles(request).await).expect("found");
    let expected = pb::PublicProfile {
        user_id: asha,
        username: "asha".to_owned(),
        profile_image_url: Some("https://example.com/a.png".to_owned()),
        rating_hundredths: None,
    };
    assert_eq!(found.profiles, [expected]);
    let request = Request::new(pb::GetPublicProfilesRequest {
        user_ids: vec![asha; 201],
    });
    let refused = into_result(profile.api.get_public_profiles(request).await);
    let too_many = refusal(Code::InvalidArgument, "too_many_users");
    assert_eq!(refused.expect_err("too many"), too_many);
}

#[tokio::test]
async fn preferences_stay_when_somebody_is_a_listener_again() {
    let profile = TestProfile::start().await;
    let asha = profile.register("asha", "listener").await.user_id;
    update_preferences(&profile, asha, Some(false), None)
        .await
        .expect("changed");
    for active in [false, true] {
        sqlx::query(
            "UPDATE profile.user_roles SET active = $2 WHERE user_id = $1 AND role = 'listener'",
        )
        .bind(asha)
        .bind(active)
        .execute(&profile.database.app_pool)
        .await
        .expect("written");
    }
    let page = list_page(&profile, first_page(0)).await;
    assert_eq!(page.listeners[0].audio_enabled, Some(false));
}

//! The feed's filters find values of any case and Unicode form.

use talktime_proto::profile::v1 as pb;
use talktime_proto::profile::v1::profile_service_server::ProfileService;
use tonic::Request;

use crate::TestProfile;
use crate::feed::{first_page, list_page, usernames_of};

#[tokio::test]
async fn filters_ignore_case_and_find_every_tag_of_a_language() {
    let profile = TestProfile::start().await;
    for (name, language, interest) in [
        ("one", "hi", "Music"),
        ("two", "hi-IN", "क्रिकेट"),
        ("three", "HI-Latn-in", "फ\u{93C}िल्में"),
        ("four", "hin", "İstanbul"),
        ("five", "en", "CAFE\u{301}"),
    ] {
        let mut request = crate::registration(name, "listener");
        request.preferred_language = language.to_owned();
        request.interests = vec![interest.to_owned()];
        profile.create(request).await.expect("registered");
    }
    let mut found = Vec::new();
    let languages = [
        "hi",
        "HI",
        "hi-in",
        "hi-latn",
        "HI-Latn-IN",
        "hi-la",
        "hin",
        "en",
    ];
    for language in languages {
        let mut request = first_page(0);
        request.language = Some(language.to_owned());
        let page = list_page(&profile, request).await;
        found.push((language, usernames_of(&page).join(" ")));
    }
    let expected = [
        "three two one",
        "three two one",
        "two",
        "three",
        "three",
        "",
        "four",
        "five",
    ];
    assert_eq!(
        found,
        languages
            .into_iter()
            .zip(expected.map(str::to_owned))
            .collect::<Vec<_>>()
    );
    for (interest, expected) in [
        ("music", "one"),
        ("MUSIC", "one"),
        ("क्रिकेट", "two"),
        ("\u{95E}िल्में", "three"),
        ("फ\u{93C}िल्\u{200C}में", "three"),
        ("i\u{307}stanbul", "four"),
        ("café", "five"),
        ("musi", ""),
    ] {
        let mut request = first_page(0);
        request.interests = vec![interest.to_owned(), "nothing".to_owned()];
        let page = list_page(&profile, request).await;
        assert_eq!(usernames_of(&page).join(" "), expected, "{interest}");
    }
}

#[tokio::test]
async fn rows_written_by_older_replicas_are_found_like_others() {
    let profile = TestProfile::start().await;
    let user_id = profile.register("asha", "listener").await.user_id;
    // Older replicas did not normalize texts.
    sqlx::query("UPDATE profile.users SET interests = $2 WHERE user_id = $1")
        .bind(user_id)
        .bind(["Cafe\u{301}", "CAF\u{C9}"])
        .execute(&profile.database.app_pool)
        .await
        .expect("written");
    let mut request = first_page(0);
    request.interests = vec!["café".to_owned()];
    assert_eq!(usernames_of(&list_page(&profile, request).await), ["asha"]);
    let stats = profile
        .api
        .get_feed_stats(Request::new(pb::GetFeedStatsRequest {}));
    let stats = stats.await.expect("stats").into_inner();
    assert_eq!(stats.top_interests.len(), 1);
    assert_eq!(stats.top_interests[0].interest, "café");
    assert_eq!(stats.top_interests[0].count, 1);
}

#[tokio::test]
async fn a_search_finds_the_beginning_of_a_name_and_follows_a_change_of_it() {
    let profile = TestProfile::start().await;
    let asha = profile.register("Asha_Rao", "listener").await.user_id;
    profile.register("asha", "user").await;
    profile.register("ash_meena", "listener").await;
    let search = async |prefix: &str| {
        let mut request = first_page(0);
        request.username_prefix = Some(prefix.to_owned());
        let page = list_page(&profile, request).await;
        assert_eq!(usize::try_from(page.total_count), Ok(page.listeners.len()));
        usernames_of(&page).join(" ")
    };
    for (prefix, expected) in [
        ("ASH", "ash_meena Asha_Rao"),
        (" asha_ ", "Asha_Rao"),
        ("a_", ""),
        (" ", "ash_meena Asha_Rao"),
    ] {
        assert_eq!(search(prefix).await, expected, "{prefix}");
    }
    let update = pb::UpdateUserRequest {
        user_id: asha,
        username: Some("Usha".to_owned()),
        ..pb::UpdateUserRequest::default()
    };
    profile.update(update).await.expect("renamed");
    assert_eq!(search("ash").await, "ash_meena");
    assert_eq!(search("us").await, "Usha");
}

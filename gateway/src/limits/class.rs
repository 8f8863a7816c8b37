//! Classes of endpoints whose requests are counted together.

use http::Method;

use crate::config::RateLimitsConfig;

/// A class of endpoints. Each user, or each address where the user is unknown, has one count for each class.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RateClass {
    /// Logins. Counted by address, even if the user is known.
    Auth,
    /// The feed.
    Feed,
    /// Orders, payments and everything else that moves coins or rupees.
    Money,
    /// Uploads of files.
    Upload,
    /// All other reads.
    Read,
    /// All other writes.
    Write,
}

const AUTHENTICATED_AUTH: [&str; 3] = ["/auth/logout", "/auth/logout_all", "/auth/sessions"];
const MONEY: [&str; 4] = ["/calls/recharge", "/wallet/", "/payments/", "/calls/start"];
const UPLOADS: [&str; 4] = [
    "/verification/upload-audio-file",
    "/verification/upload-ticket",
    "/verification/confirm",
    "/users/me/photo",
];
const SOCKET_TICKET: &str = "/ws/ticket";
/// Sockets have limits of their own, and payment providers must be able to send every notification. Every app reads its
/// configuration at its start, from memory, and many users share the address of a mobile network. A screen of listeners
/// loads a photo of each, without a token.
const NOT_COUNTED: [&str; 5] = [
    "/ws/",
    "/payments/webhook",
    "/docs",
    "/app/config",
    "/photos/",
];

impl RateClass {
    /// Returns the class of a route, or `None` for a route that is not limited.
    pub fn of(method: &Method, route: &str) -> Option<Self> {
        let is_below_any =
            |prefixes: &[&str]| prefixes.iter().any(|prefix| route.starts_with(prefix));
        if is_below_any(&NOT_COUNTED) && route != SOCKET_TICKET {
            return None;
        }
        let reads = *method == Method::GET || *method == Method::HEAD;
        Some(
            if is_below_any(&["/auth/"]) && !is_below_any(&AUTHENTICATED_AUTH) {
                Self::Auth
            } else if is_below_any(&["/feed/"]) {
                Self::Feed
            } else if is_below_any(&UPLOADS) && !reads {
                Self::Upload
            } else if is_below_any(&MONEY) && !reads {
                Self::Money
            } else if reads {
                Self::Read
            } else {
                Self::Write
            },
        )
    }

    /// Returns the name in keys, in metrics and in the OpenAPI document.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Feed => "feed",
            Self::Money => "money",
            Self::Upload => "upload",
            Self::Read => "read",
            Self::Write => "write",
        }
    }

    /// Returns whether requests are counted by address even if the user is known.
    pub fn is_by_address(self) -> bool {
        self == Self::Auth
    }

    /// Returns whether requests of unknown users are counted, by address. The feed does not count them, because it
    /// refuses them at no cost.
    pub fn counts_unknown_users(self) -> bool {
        self != Self::Feed
    }

    /// Returns the requests a minute that one user may send; 0 for no limit.
    pub fn limit(self, limits: &RateLimitsConfig) -> u32 {
        match self {
            Self::Auth => limits.auth,
            Self::Feed => limits.feed,
            Self::Money => limits.money,
            Self::Upload => limits.upload,
            Self::Read => limits.read,
            Self::Write => limits.write,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_belong_to_the_class_of_their_effect() {
        for (method, route, class) in [
            (Method::POST, "/auth/request_otp", Some(RateClass::Auth)),
            (
                Method::GET,
                "/auth/username-available",
                Some(RateClass::Auth),
            ),
            (Method::POST, "/auth/logout", Some(RateClass::Write)),
            (Method::GET, "/auth/sessions", Some(RateClass::Read)),
            (Method::GET, "/feed/listeners", Some(RateClass::Feed)),
            (Method::POST, "/calls/recharge", Some(RateClass::Money)),
            (
                Method::GET,
                "/calls/recharge/history",
                Some(RateClass::Read),
            ),
            (Method::GET, "/wallet/balance", Some(RateClass::Read)),
            (Method::POST, "/calls/start", Some(RateClass::Money)),
            (
                Method::POST,
                "/verification/confirm",
                Some(RateClass::Upload),
            ),
            (Method::PUT, "/users/me", Some(RateClass::Write)),
            (Method::POST, "/users/me/photo", Some(RateClass::Upload)),
            (Method::GET, "/users/me/photo", Some(RateClass::Read)),
            (Method::GET, "/photos/{photo_key}", None),
            (Method::GET, "/ws/presence", None),
            (Method::POST, "/ws/ticket", Some(RateClass::Write)),
            (Method::GET, "/app/config", None),
        ] {
            assert_eq!(RateClass::of(&method, route), class, "{method} {route}");
        }
    }
}

//! Which requests are counted together.

use http::Method;

use crate::config::LimitsConfig;

/// A class of endpoints: each person, or each address where nobody is known, has one count a class.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Class {
    /// Logging in; by address, whoever asks.
    Auth,
    /// The feed.
    Feed,
    /// Orders and payments, anything that moves coins or rupees.
    Money,
    /// Files.
    Upload,
    /// Everything else that only reads.
    Read,
    /// Everything else.
    Write,
}

const AUTH_OF_THE_LOGGED_IN: [&str; 3] = ["/auth/logout", "/auth/logout_all", "/auth/sessions"];
const MONEY: [&str; 4] = ["/calls/recharge", "/wallet/", "/payments/", "/calls/start"];
const UPLOADS: [&str; 3] = [
    "/verification/upload-audio-file",
    "/verification/upload-ticket",
    "/verification/confirm",
];
/// Sockets have limits of their own, and providers send webhooks as often as they have to.
const NOT_COUNTED: [&str; 3] = ["/ws/", "/payments/webhook", "/docs"];

impl Class {
    /// The class of a route; none for what is not counted.
    pub fn of(method: &Method, route: &str) -> Option<Self> {
        let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| route.starts_with(prefix));
        if begins(&NOT_COUNTED) {
            return None;
        }
        let reads = *method == Method::GET || *method == Method::HEAD;
        Some(if begins(&["/auth/"]) && !begins(&AUTH_OF_THE_LOGGED_IN) {
            Self::Auth
        } else if begins(&["/feed/"]) {
            Self::Feed
        } else if begins(&UPLOADS) {
            Self::Upload
        } else if begins(&MONEY) && !reads {
            Self::Money
        } else if reads {
            Self::Read
        } else {
            Self::Write
        })
    }

    /// The name in keys and metrics, and in the document.
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

    /// Whether an address is counted even where a person is known.
    pub fn is_by_address(self) -> bool {
        self == Self::Auth
    }

    /// Whether who is not known is counted, by address. The feed's limit is each person's own: a
    /// stranger is turned away there at no cost.
    pub fn counts_strangers(self) -> bool {
        self != Self::Feed
    }

    /// Requests a minute of one person; 0 for no limit.
    pub fn limit(self, limits: &LimitsConfig) -> u32 {
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
    fn every_route_is_in_the_class_of_what_it_does() {
        for (method, route, class) in [
            (Method::POST, "/auth/request_otp", Some(Class::Auth)),
            (Method::POST, "/auth/logout", Some(Class::Write)),
            (Method::GET, "/auth/sessions", Some(Class::Read)),
            (Method::GET, "/feed/listeners", Some(Class::Feed)),
            (Method::POST, "/calls/recharge", Some(Class::Money)),
            (Method::GET, "/calls/recharge/history", Some(Class::Read)),
            (Method::GET, "/wallet/balance", Some(Class::Read)),
            (Method::POST, "/calls/start", Some(Class::Money)),
            (Method::POST, "/verification/confirm", Some(Class::Upload)),
            (Method::PUT, "/users/me", Some(Class::Write)),
            (Method::GET, "/ws/presence", None),
        ] {
            assert_eq!(Class::of(&method, route), class, "{method} {route}");
        }
    }
}

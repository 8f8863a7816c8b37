//! The page of a listener: the public figures that this service has, and whether a user could call them now.

use talktime_kit::Error;

use crate::badges::BadgeService;
use crate::domain::CallError;
use crate::domain::badge::{Badge, BadgeError};
use crate::domain::call::CallType;
use crate::history::MinuteRate;
use crate::saga::steps::check::{PlannedCall, check_planned};
use crate::service::CallService;
use crate::store::{call_ratings, live_parties};

/// The public figures of a listener, for one user who looks at them.
#[derive(Clone, Debug)]
pub(crate) struct ListenerCard {
    /// The badge of today.
    pub(crate) badge: Badge,
    /// Numbers of the ratings with one star, two, and so on up to five.
    pub(crate) ratings_by_stars: Vec<i64>,
    pub(crate) audio: MinuteRate,
    pub(crate) video: MinuteRate,
    /// The code with which a start would be refused now; `None` if nothing forbids it.
    pub(crate) refusal_code: Option<String>,
}

impl CallService {
    /// Loads the card of a listener. A peer that does not answer is a refusal like any other, because a start
    /// would be refused as well.
    pub(crate) async fn load_listener_card(
        &self,
        badges: &BadgeService,
        caller_id: i64,
        listener_id: i64,
    ) -> Result<ListenerCard, CallError> {
        let refusal = self.find_refusal(caller_id, listener_id);
        let (badge, ratings_by_stars, refusal) = tokio::join!(
            badges.find_badge(listener_id, None),
            self.count_ratings(listener_id),
            refusal
        );
        let badge = match badge {
            Ok(found) => found.badge,
            // The event of the new listener is on its way.
            Err(BadgeError::NoSuchBadge) => Badge::Basic,
            Err(error) => return Err(Error::from(error).into()),
        };
        Ok(ListenerCard {
            badge,
            ratings_by_stars: ratings_by_stars?,
            audio: self.minute_rate(CallType::Audio),
            video: self.minute_rate(CallType::Video),
            refusal_code: refusal
                .err()
                .map(|error| Error::from(error).code().to_owned()),
        })
    }

    async fn count_ratings(&self, listener_id: i64) -> Result<Vec<i64>, CallError> {
        let mut connection = self.db.acquire().await?;
        Ok(call_ratings::count_by_stars(&mut connection, listener_id).await?)
    }

    /// Makes the checks of a start without starting a call. The order is that of a start, so that the code is the
    /// same.
    async fn find_refusal(&self, caller_id: i64, listener_id: i64) -> Result<(), CallError> {
        if caller_id == listener_id {
            return Err(CallError::Oneself);
        }
        if self.backlog.is_long() {
            return Err(CallError::Overloaded);
        }
        let call_type = self.find_permitted_type(caller_id, listener_id).await?;
        self.require_free(&[caller_id, listener_id]).await?;
        self.require_coins(caller_id, call_type).await
    }

    /// Finds the cheapest type of call that the listener takes now.
    async fn find_permitted_type(
        &self,
        caller_id: i64,
        listener_id: i64,
    ) -> Result<CallType, CallError> {
        let planned = [CallType::Audio, CallType::Video].map(|call_type| PlannedCall {
            caller_id,
            listener_id,
            call_type,
            required_coins: None,
        });
        let checks = Box::pin(check_planned(&self.peers, &planned)).await?;
        let mut refusal = CallError::CallTypeDisabled;
        for (call, check) in planned.iter().zip(checks) {
            match check {
                Ok(_) => return Ok(call.call_type),
                Err(CallError::CallTypeDisabled) => {}
                Err(error) => refusal = error,
            }
        }
        Err(refusal)
    }

    async fn require_free(&self, user_ids: &[i64]) -> Result<(), CallError> {
        let mut connection = self.db.acquire().await?;
        if live_parties::is_any_busy(&mut connection, user_ids).await? {
            return Err(CallError::OnACall);
        }
        Ok(())
    }

    async fn require_coins(&self, caller_id: i64, call_type: CallType) -> Result<(), CallError> {
        let required = self.terms.coins_per_minute(call_type);
        let available = self.peers.load_balance_coins(caller_id).await?;
        if available < required {
            return Err(CallError::InsufficientCoins {
                required,
                available,
            });
        }
        Ok(())
    }
}

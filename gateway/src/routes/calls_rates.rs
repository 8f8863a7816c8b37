//! The prices of calls and coins (contract, section 7).

use std::collections::BTreeMap;

use axum::extract::State;
use serde::Serialize;
use talktime_kit::Error;
use talktime_kit::grpc::client::retry_idempotent;
use talktime_proto::calls::v1::{GetRatesRequest, GetRatesResponse, Rate};
use talktime_proto::wallet::v1::{GetRateCardRequest, RateCardStep};
use utoipa::ToSchema;

use crate::clients::{CallsClient, WalletClient};
use crate::extract::Json;
use crate::number::Hundredths;
use crate::problem::Result;

#[derive(Serialize, ToSchema)]
pub(super) struct RatesAnswer {
    call_rates: RatesByCallType<CallRate>,
    /// The price of an audio minute in coins, as in `call_rates`.
    audio_rate_per_minute: i64,
    /// The price of a video minute in coins, as in `call_rates`.
    video_rate_per_minute: i64,
    /// The amounts in rupees and the coins that they buy.
    #[schema(example = json!({"150": 300, "300": 600}))]
    #[schema(value_type = BTreeMap<String, i64>)]
    recharge_options: BTreeMap<i64, i64>,
    /// The rupees a minute that a listener with the basic badge earns.
    listener_earnings: RatesByCallType<Hundredths>,
}

#[derive(Serialize, ToSchema)]
struct RatesByCallType<T> {
    audio: T,
    video: T,
}

#[derive(Serialize, ToSchema)]
struct CallRate {
    /// The price of a minute in coins.
    rate_per_minute: i64,
    /// The price of the shortest call in coins.
    minimum_charge: i64,
}

impl From<Rate> for CallRate {
    fn from(rate: Rate) -> Self {
        Self {
            rate_per_minute: rate.coins_per_minute,
            minimum_charge: rate.minimum_coins,
        }
    }
}

impl RatesAnswer {
    fn new(rates: GetRatesResponse, steps: Vec<RateCardStep>) -> Option<Self> {
        let (audio, video) = (rates.audio?, rates.video?);
        Some(Self {
            audio_rate_per_minute: audio.coins_per_minute,
            video_rate_per_minute: video.coins_per_minute,
            listener_earnings: RatesByCallType {
                audio: Hundredths(audio.listener_paise_per_minute),
                video: Hundredths(video.listener_paise_per_minute),
            },
            call_rates: RatesByCallType {
                audio: audio.into(),
                video: video.into(),
            },
            recharge_options: steps
                .into_iter()
                .map(|step| (step.amount_paise / 100, step.coins))
                .collect(),
        })
    }
}

/// Read the prices of calls and coins, and the earnings of listeners.
///
/// This needs no token.
#[utoipa::path(
    get,
    path = "/calls/rates",
    tag = "calls",
    security(()),
    responses((status = 200, body = RatesAnswer))
)]
// Public, so that users can see the prices before they register.
pub(super) async fn read_rates(
    State(calls): State<CallsClient>,
    State(wallet): State<WalletClient>,
) -> Result<Json<RatesAnswer>> {
    let rates = retry_idempotent(&calls, CallsClient::get_rates, GetRatesRequest {});
    let card = retry_idempotent(&wallet, WalletClient::get_rate_card, GetRateCardRequest {});
    let (rates, card) = tokio::try_join!(rates, card)?;
    let answer = RatesAnswer::new(rates, card.steps)
        .ok_or_else(|| Error::internal("calls answered without rates"))?;
    Ok(Json(answer))
}

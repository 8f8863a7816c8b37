//! The body of a signal: a description or candidates, as browsers write them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ice_candidate::filter_candidate;
use super::session_description::filter_description;
use crate::openapi::media_values;

/// Longest session description in bytes.
const SDP_BYTES_MAX: usize = 32 * 1024;
/// Candidates in one signal.
const CANDIDATES_MAX: usize = 20;
/// Longest candidate, and the longest of its other fields, in bytes.
const CANDIDATE_BYTES_MAX: usize = 1_024;
const FIELD_BYTES_MAX: usize = 256;

/// The signal has neither or both of its parts, or one of them is too large.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct InvalidSignal;

/// A description or candidates for the other app.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct SignalBody {
    /// An offer or answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub description: Option<DescriptionData>,
    /// At most 20.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, max_items = 20)]
    pub candidates: Option<Vec<CandidateData>>,
}

/// An `RTCSessionDescriptionInit`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct DescriptionData {
    /// As in `RTCSdpType`.
    #[schema(value_type = media_values::DescriptionType)]
    pub r#type: String,
    /// At most 32 KiB. Candidates of relays pass; all other addresses are removed.
    #[serde(default)]
    #[schema(max_length = 32768)]
    pub sdp: String,
}

/// An `RTCIceCandidateInit`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CandidateData {
    /// The candidate; empty after the last one. One that is not of a relay is removed.
    pub candidate: String,
    /// The medium that the candidate belongs to.
    #[serde(default)]
    pub sdp_mid: Option<String>,
    /// The same by its position in the description.
    #[serde(default)]
    pub sdp_m_line_index: Option<u16>,
    /// The `ice-ufrag` of the description that the candidate belongs to.
    #[serde(default)]
    pub username_fragment: Option<String>,
}

impl SignalBody {
    /// Returns the signal as the other app may have it; `None` if nothing is left of it.
    pub fn filter(self) -> Result<Option<Self>, InvalidSignal> {
        match (self.description, self.candidates) {
            (Some(description), None) => Ok(Some(Self {
                description: Some(description.filter()?),
                candidates: None,
            })),
            (None, Some(candidates)) => {
                if candidates.len() > CANDIDATES_MAX {
                    return Err(InvalidSignal);
                }
                let filtered = candidates.into_iter().map(CandidateData::filter);
                let filtered = filtered.collect::<Result<Vec<_>, _>>()?;
                let left: Vec<CandidateData> = filtered.into_iter().flatten().collect();
                Ok((!left.is_empty()).then_some(Self {
                    description: None,
                    candidates: Some(left),
                }))
            }
            _ => Err(InvalidSignal),
        }
    }
}

impl DescriptionData {
    fn filter(self) -> Result<Self, InvalidSignal> {
        let is_known = ["offer", "answer", "pranswer", "rollback"].contains(&self.r#type.as_str());
        if !is_known || self.sdp.len() > SDP_BYTES_MAX {
            return Err(InvalidSignal);
        }
        Ok(Self {
            sdp: filter_description(&self.sdp),
            ..self
        })
    }
}

impl CandidateData {
    /// Returns the candidate as it may pass; `None` if it is not one of a relay.
    fn filter(self) -> Result<Option<Self>, InvalidSignal> {
        let is_field = |field: &Option<String>| {
            field.as_ref().is_none_or(|text| {
                text.len() <= FIELD_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic())
            })
        };
        let is_small = self.candidate.len() <= CANDIDATE_BYTES_MAX;
        if !is_small || !is_field(&self.sdp_mid) || !is_field(&self.username_fragment) {
            return Err(InvalidSignal);
        }
        let text = self.candidate.trim();
        let text = text.strip_prefix("a=").unwrap_or(text);
        let candidate = if text.is_empty() {
            Some(String::new())
        } else {
            filter_candidate(text)
        };
        Ok(candidate.map(|candidate| Self { candidate, ..self }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(text: &str) -> CandidateData {
        CandidateData {
            candidate: text.to_owned(),
            sdp_mid: Some("0".to_owned()),
            sdp_m_line_index: Some(0),
            username_fragment: None,
        }
    }

    fn candidates(texts: &[&str]) -> SignalBody {
        SignalBody {
            description: None,
            candidates: Some(texts.iter().map(|text| candidate(text)).collect()),
        }
    }

    fn description(r#type: &str, sdp: &str) -> SignalBody {
        SignalBody {
            description: Some(DescriptionData {
                r#type: r#type.to_owned(),
                sdp: sdp.to_owned(),
            }),
            candidates: None,
        }
    }

    const HOST: &str = "candidate:1 1 udp 2122 192.168.1.7 61665 typ host";
    const RELAY: &str = "candidate:1 1 udp 418 203.0.113.9 50000 typ relay raddr 0.0.0.0 rport 0";

    #[test]
    fn candidates_of_relays_and_the_end_of_candidates_pass() {
        let filtered = candidates(&[HOST, RELAY, ""]).filter();
        assert_eq!(filtered, Ok(Some(candidates(&[RELAY, ""]))));
        let prefixed = format!("a={RELAY}");
        let filtered = candidates(&[&prefixed]).filter();
        assert_eq!(filtered, Ok(Some(candidates(&[RELAY]))));
    }

    #[test]
    fn nothing_is_left_of_candidates_of_a_device() {
        assert_eq!(candidates(&[HOST]).filter(), Ok(None));
        assert_eq!(candidates(&[]).filter(), Ok(None));
    }

    #[test]
    fn a_description_is_filtered() {
        let sdp = format!("v=0\na={HOST}\na={RELAY}\n");
        let expected = format!("v=0\r\na={RELAY}\r\n");
        let filtered = description("offer", &sdp).filter();
        assert_eq!(filtered, Ok(Some(description("offer", &expected))));
    }

    #[test]
    fn a_signal_has_one_part_of_a_limited_size() {
        let too_long = "a".repeat(SDP_BYTES_MAX + 1);
        let too_many = vec![RELAY; CANDIDATES_MAX + 1];
        let both = SignalBody {
            candidates: Some(vec![]),
            ..description("offer", "")
        };
        let neither = SignalBody {
            description: None,
            candidates: None,
        };
        let mut smuggling = candidates(&[RELAY]);
        if let Some(candidates) = &mut smuggling.candidates {
            candidates[0].sdp_mid = Some("0\r\na=x:192.168.1.7".to_owned());
        }
        for invalid in [
            description("offer", &too_long),
            description("counter-offer", ""),
            candidates(&too_many),
            candidates(&[&too_long]),
            both,
            neither,
            smuggling,
        ] {
            assert_eq!(invalid.clone().filter(), Err(InvalidSignal), "{invalid:?}");
        }
        let longest = description("offer", &"a".repeat(SDP_BYTES_MAX));
        assert!(longest.filter().is_ok());
    }
}

//! Whether an event belongs to the subject that it arrived on.
//!
//! NATS lets a process publish its own subjects only, so the subject is what can be trusted. The kind of an event and the
//! source that it names are written by the publisher: without this check, `calls` could publish a `UserDeleted` on a
//! subject of its own, and every consumer of calls would believe it.

use talktime_proto::events::subject;
use talktime_proto::events::v1::Event;

/// Begins the source of every event (`CloudEvents` `source`): `/talktime/wallet`.
const SOURCE_PREFIX: &str = "/talktime/";
const REFUSED: &str = "events_refused_total";

/// An event that is not of its subject.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{claim} arrived on {subject}")]
pub struct ForeignEvent {
    subject: String,
    /// The subject of its kind, or the source that it names.
    claim: String,
}

impl ForeignEvent {
    /// Counts and logs that a consumer refused the event.
    pub fn record_refusal(&self, consumer: &str) {
        metrics::counter!(REFUSED, "consumer" => consumer.to_owned()).increment(1);
        tracing::error!(
            consumer,
            subject = self.subject,
            claim = self.claim,
            "refused an event that is not of its subject; it is not delivered again"
        );
    }
}

/// Starts the counter of refusals at zero, so that the first one is visible as an increase.
pub fn register_refusals(consumer: &'static str) {
    metrics::counter!(REFUSED, "consumer" => consumer).increment(0);
}

/// Checks that the kind of an event is that of its subject, and that it names the service of the subject as its source. The
/// replay of a dead letter names none. An event of an unknown kind is of a newer release, and has no effect here.
///
/// # Errors
/// The event is not of this subject.
pub fn check_origin(
    subject_of_message: &str,
    source: Option<&str>,
    event: &Event,
) -> Result<(), ForeignEvent> {
    let foreign = |claim: &str| ForeignEvent {
        subject: subject_of_message.to_owned(),
        claim: claim.to_owned(),
    };
    if let Some(kind) = &event.kind
        && subject(kind) != subject_of_message
    {
        return Err(foreign(subject(kind)));
    }
    let service = subject_of_message.split('.').nth(1);
    match source {
        Some(source) if source.strip_prefix(SOURCE_PREFIX) != service => Err(foreign(source)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use talktime_proto::events::v1::event::Kind;
    use talktime_proto::events::v1::{CallRated, UserDeleted};

    use super::*;

    fn event(kind: Kind) -> Event {
        Event {
            version: 1,
            happened_at: None,
            kind: Some(kind),
        }
    }

    #[test]
    fn an_event_of_its_subject_passes_with_its_source_or_none() {
        let rated = event(Kind::CallRated(CallRated::default()));
        for source in [Some("/talktime/calls"), None] {
            assert_eq!(
                check_origin("events.calls.call_rated", source, &rated),
                Ok(())
            );
        }
    }

    #[test]
    fn the_kind_of_another_subject_is_foreign() {
        let deleted = event(Kind::UserDeleted(UserDeleted::default()));
        for subject in ["events.calls.call_rated", "events.profile.user_updated"] {
            let foreign = check_origin(subject, None, &deleted).expect_err("it is forged");
            assert_eq!(
                foreign.to_string(),
                format!("events.profile.user_deleted arrived on {subject}")
            );
        }
    }

    #[test]
    fn a_source_that_is_not_the_service_of_the_subject_is_foreign() {
        let rated = event(Kind::CallRated(CallRated::default()));
        for source in ["/talktime/verification", "/talktime/calls/2", "calls", ""] {
            let checked = check_origin("events.calls.call_rated", Some(source), &rated);
            assert!(checked.is_err(), "{source}");
        }
    }

    #[test]
    fn a_kind_that_is_not_known_yet_passes() {
        let newer = Event {
            version: 1,
            happened_at: None,
            kind: None,
        };
        let source = Some("/talktime/calls");
        assert_eq!(check_origin("events.calls.newer", source, &newer), Ok(()));
    }
}

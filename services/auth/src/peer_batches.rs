//! Requests to other services that logins of the same moment share: one takes about as much processor time as the rest of a
//! login. Those that come in while a request is under way are sent together by the next one.
//!
//! A single one is sent by a method for one, which replicas of the release before know as well. They refuse the method for
//! several, and then each is sent alone.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use talktime_kit::batch::{BatchHandler, BatchItem, BatchLimits};
use talktime_kit::grpc::client::{PeerChannel, retry_idempotent};
use talktime_kit::{Error, ErrorKind, grpc};
use talktime_proto::presence::v1::presence_service_client::PresenceServiceClient;
use talktime_proto::presence::v1::{FollowSessionsRequest, SessionChange, SetOnlineRequest};
use talktime_proto::profile::v1::profile_service_client::ProfileServiceClient;
use talktime_proto::profile::v1::{FindAccountsRequest, GetUserByPhoneRequest};

use crate::domain::{PhoneNumber, UserAccount};

/// Limits of lookups. A second request may meet a replica that answers while the first one waits for one that does not.
pub(crate) const LOOKUP_LIMITS: BatchLimits = BatchLimits {
    overlap_items_max: usize::MAX,
    ..BatchLimits::REQUESTS
};

/// Time limit of a lookup. It needs one of its own because the deadlines of the logins that share it differ.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(2);
/// A login waits for presence no longer than this: the event does the same a moment later.
pub(crate) const SET_ONLINE_TIMEOUT: Duration = Duration::from_millis(300);

/// Finds the accounts of phones.
pub(crate) struct AccountLookupBatchHandler {
    pub(crate) profile: ProfileServiceClient<PeerChannel>,
}

/// Reports logins and logouts to presence.
pub(crate) struct SessionReportBatchHandler {
    pub(crate) presence: PresenceServiceClient<PeerChannel>,
}

impl BatchHandler for AccountLookupBatchHandler {
    const NAME: &'static str = "account_lookups";
    type Task = PhoneNumber;
    /// None for a phone without an account.
    type Answer = Option<UserAccount>;
    type Error = Error;

    async fn handle(
        &self,
        batch: &[BatchItem<PhoneNumber>],
    ) -> Result<Vec<Option<UserAccount>>, Error> {
        let finding = async {
            match batch {
                [item] => Ok(vec![self.find_one(&item.task).await?]),
                _ => self.find_all(batch).await,
            }
        };
        grpc::with_deadline(Instant::now() + LOOKUP_TIMEOUT, finding).await
    }

    fn fails_whole_batch(error: &Error) -> bool {
        error.is_outcome_unknown()
    }
}

impl AccountLookupBatchHandler {
    async fn find_one(&self, phone: &PhoneNumber) -> Result<Option<UserAccount>, Error> {
        let request = GetUserByPhoneRequest {
            phone: phone.to_string(),
        };
        let method = ProfileServiceClient::get_user_by_phone;
        match retry_idempotent(&self.profile, method, request).await {
            Ok(user) => Ok(Some(user.into())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn find_all(
        &self,
        batch: &[BatchItem<PhoneNumber>],
    ) -> Result<Vec<Option<UserAccount>>, Error> {
        let phones = batch.iter().map(|item| item.task.to_string());
        let request = FindAccountsRequest {
            phones: phones.collect(),
        };
        let method = ProfileServiceClient::find_accounts;
        let found = retry_idempotent(&self.profile, method, request).await?;
        let accounts = found.accounts.into_iter().map(|account| {
            let (user_id, username) = (account.user_id, account.username);
            (account.phone, UserAccount { user_id, username })
        });
        let accounts: HashMap<String, UserAccount> = accounts.collect();
        let answers = batch.iter();
        let answers = answers.map(|item| accounts.get(item.task.as_str()).cloned());
        Ok(answers.collect())
    }
}

impl BatchHandler for SessionReportBatchHandler {
    const NAME: &'static str = "session_reports";
    type Task = SetOnlineRequest;
    type Answer = ();
    type Error = Error;

    async fn handle(&self, batch: &[BatchItem<SetOnlineRequest>]) -> Result<Vec<()>, Error> {
        let sent = tokio::time::timeout(SET_ONLINE_TIMEOUT, self.send(batch));
        sent.await
            .map_err(|_elapsed| Error::internal("presence did not answer in time"))??;
        Ok(vec![(); batch.len()])
    }

    fn fails_whole_batch(error: &Error) -> bool {
        error.is_outcome_unknown()
    }
}

impl SessionReportBatchHandler {
    /// Sends reports without retries, since events deliver them too.
    async fn send(&self, batch: &[BatchItem<SetOnlineRequest>]) -> Result<(), Error> {
        let mut presence = self.presence.clone();
        if let [item] = batch {
            presence.set_online(item.task.clone()).await?;
            return Ok(());
        }
        let changes = batch.iter().map(|item| SessionChange {
            session: Some(item.task.clone()),
            traceparent: item.traceparent.clone().unwrap_or_default(),
        });
        let request = FollowSessionsRequest {
            changes: changes.collect(),
        };
        presence.follow_sessions(request).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_replica_of_the_release_before_refuses_is_sent_one_by_one() {
        let refused = || {
            Error::new(
                ErrorKind::PermissionDenied,
                "caller_not_allowed",
                "Refused.",
            )
        };
        assert!(!AccountLookupBatchHandler::fails_whole_batch(&refused()));
        assert!(!SessionReportBatchHandler::fails_whole_batch(&refused()));
    }
}

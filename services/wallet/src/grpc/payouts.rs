//! Between the wire and the domain: bank details and withdrawals.

use talktime_kit::idempotency;
use talktime_proto::timestamp;
use talktime_proto::wallet::v1 as pb;

use crate::domain::WalletError;
use crate::domain::bank::BankDetails;
use crate::domain::withdrawal::{
    WithdrawalDecision, WithdrawalStatus, normalize_notes, parse_status,
};
use crate::ledger::{AdminWithdrawalView, WithdrawalHold, WithdrawalRecord, WithdrawalRequest};

pub(super) fn parse_bank_details(
    request: &pb::SetBankDetailsRequest,
) -> Result<BankDetails, WalletError> {
    BankDetails::parse(
        &request.account_holder_name,
        &request.account_number,
        &request.ifsc_code,
        request.bank_name.as_deref(),
    )
}

pub(super) fn masked_details_message(details: BankDetails) -> pb::MaskedBankDetails {
    pb::MaskedBankDetails {
        masked_account_number: details.masked_account_number(),
        account_holder_name: details.account_holder_name,
        ifsc_code: details.ifsc_code,
        bank_name: details.bank_name,
    }
}

pub(super) fn parse_withdrawal_request(
    request: pb::WithdrawRequest,
) -> Result<WithdrawalRequest, WalletError> {
    let (user_id, amount_paise) = (request.user_id, request.amount_paise);
    let key = request.idempotency_key;
    let idempotency = key
        .map(|key| {
            idempotency::KeyedRequest::new(user_id, "POST /wallet/withdraw", key, &amount_paise)
        })
        .transpose()?;
    Ok(WithdrawalRequest {
        user_id,
        amount_paise,
        idempotency,
    })
}

pub(super) fn withdraw_response(held: &WithdrawalHold) -> pb::WithdrawResponse {
    pb::WithdrawResponse {
        transaction_id: held.transaction_id,
        withdrawal_id: held.withdrawal_id,
        amount_paise: held.amount_paise,
        created_at: Some(timestamp(held.created_at)),
    }
}

pub(super) fn withdrawal_message(
    withdrawal: WithdrawalRecord,
) -> Result<pb::Withdrawal, WalletError> {
    Ok(pb::Withdrawal {
        withdrawal_id: withdrawal.withdrawal_id,
        transaction_id: withdrawal.hold_transaction_id()?,
        user_id: withdrawal.user_id,
        amount_paise: withdrawal.amount_paise,
        status: withdrawal.status,
        created_at: Some(timestamp(withdrawal.created_at)),
        processed_at: withdrawal.processed_at.map(timestamp),
        payable_at: Some(timestamp(withdrawal.payable_at)),
    })
}

pub(super) fn review_message(
    reviewed: AdminWithdrawalView,
) -> Result<pb::ReviewedWithdrawal, WalletError> {
    Ok(pb::ReviewedWithdrawal {
        agreed_admin_ids: reviewed.withdrawal.agreed.clone(),
        withdrawal: Some(withdrawal_message(reviewed.withdrawal)?),
        details: Some(masked_details_message(reviewed.details)),
        admins_needed: i32::try_from(reviewed.admins_needed).unwrap_or(i32::MAX),
    })
}

pub(super) fn parse_decision(
    request: &pb::DecideWithdrawalRequest,
) -> Result<WithdrawalDecision, WalletError> {
    let status = parse_status(&request.status)?;
    if status == WithdrawalStatus::Pending {
        return Err(WalletError::UnknownWithdrawalStatus);
    }
    Ok(WithdrawalDecision {
        admin_id: request.admin_id,
        status,
        notes: request.notes.as_deref().map(normalize_notes).transpose()?,
    })
}

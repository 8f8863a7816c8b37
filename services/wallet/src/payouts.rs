//! Paying out by hand: what an operator takes to the bank, as CSV.
//!
//! A provider that pays over HTTP takes the same list; it becomes an adapter beside this one.

use std::io::Write;

use anyhow::Context;

use crate::ledger::PayoutBatch;

/// Characters with which a spreadsheet begins a formula. Names are what listeners typed, and must
/// not do anything where they are opened.
const FORMULA_STARTS: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

/// Writes a batch of payouts as CSV with a header (RFC 4180), amounts in rupees.
pub fn write_csv(batch: &PayoutBatch, out: impl Write) -> anyhow::Result<()> {
    let mut csv = csv::Writer::from_writer(out);
    csv.write_record([
        "batch_id",
        "withdrawal_id",
        "amount",
        "account_holder_name",
        "account_number",
        "ifsc_code",
        "bank_name",
    ])?;
    for payout in &batch.payouts {
        let (rupees, paise) = (payout.amount_paise / 100, payout.amount_paise % 100);
        let details = &payout.details;
        csv.write_record([
            batch.batch_id.to_string(),
            payout.withdrawal_id.to_string(),
            format!("{rupees}.{paise:02}"),
            escape_formula(&details.account_holder_name),
            details.account_number.clone(),
            details.ifsc_code.clone(),
            escape_formula(details.bank_name.as_deref().unwrap_or_default()),
        ])?;
    }
    csv.flush().context("writing payouts")
}

fn escape_formula(text: &str) -> String {
    if text.starts_with(FORMULA_STARTS) {
        format!("'{text}")
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::bank::BankDetails;
    use crate::ledger::PayoutListItem;

    #[test]
    fn names_are_quoted_and_never_a_formula() {
        let payout = |withdrawal_id, name: &str| PayoutListItem {
            withdrawal_id,
            amount_paise: 123_405,
            details: BankDetails::parse(name, "012345678", "HDFC0ABC123", None).expect("right"),
        };
        let mut out = Vec::new();
        let batch = PayoutBatch {
            batch_id: 3,
            payouts: vec![payout(7, "Rao, \"Devi\""), payout(8, "=1+1")],
        };
        write_csv(&batch, &mut out).expect("written");
        let expected = "batch_id,withdrawal_id,amount,account_holder_name,account_number,ifsc_code,bank_name\n\
                        3,7,1234.05,\"Rao, \"\"Devi\"\"\",012345678,HDFC0ABC123,\n\
                        3,8,1234.05,'=1+1,012345678,HDFC0ABC123,\n";
        assert_eq!(String::from_utf8(out).expect("text"), expected);
    }
}

-- Every reason for which money moves. Kinds are only ever added: the journal keeps what it has.
ALTER TABLE wallet.transfers
    DROP CONSTRAINT transfers_kind_check,
    ADD CONSTRAINT transfers_kind_check CHECK (kind IN
        ('charge', 'void', 'settlement', 'payment', 'closing', 'refund', 'earning', 'bonus',
         'withdrawal', 'withdrawal_return', 'payout', 'payment_reversal'));

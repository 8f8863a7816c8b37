-- What leads from a deleted account to a later one of the same phone, for as long as its payments may go back: a keyed hash
-- whose key the wallet does not have, and the account that has taken its place.
SELECT lock_exclusively('wallet.closed_wallets');
ALTER TABLE wallet.closed_wallets
    ADD COLUMN phone_hash   bytea,
    ADD COLUMN successor_id bigint,
    ADD CONSTRAINT closed_wallets_phone_hash_check CHECK (octet_length(phone_hash) = 32) NOT VALID;

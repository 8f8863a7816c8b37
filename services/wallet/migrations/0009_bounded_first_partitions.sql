-- Reads both tables once, beside all readers and writers.
ALTER TABLE wallet.journal VALIDATE CONSTRAINT first_partition;
ALTER TABLE wallet.user_transactions VALIDATE CONSTRAINT first_partition;

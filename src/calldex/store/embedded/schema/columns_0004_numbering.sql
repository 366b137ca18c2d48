-- The number of a version among those of its account, from the ledger.
ALTER TABLE kept.cdr ADD COLUMN number BIGINT NOT NULL DEFAULT 0;
INSERT INTO kept.fill VALUES ('number', 0);

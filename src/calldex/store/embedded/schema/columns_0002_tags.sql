-- Tags and flags. Versions that are there get their values from the ledger, those up to `upto` have them.
ALTER TABLE kept.cdr ADD COLUMN tags VARCHAR NOT NULL DEFAULT '';
ALTER TABLE kept.cdr ADD COLUMN flags BIGINT NOT NULL DEFAULT 0;
CREATE TABLE kept.fill (name VARCHAR NOT NULL, upto BIGINT NOT NULL);
INSERT INTO kept.fill VALUES ('tags', 0), ('flags', 0);

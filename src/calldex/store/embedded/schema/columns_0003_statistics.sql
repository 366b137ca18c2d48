-- Whether there is a recording, and what statistics are made of.
ALTER TABLE kept.cdr ADD COLUMN has_recording UTINYINT NOT NULL DEFAULT 0;
ALTER TABLE kept.cdr ADD COLUMN answer_ms BIGINT NOT NULL DEFAULT 0;
ALTER TABLE kept.cdr ADD COLUMN talk_s BIGINT NOT NULL DEFAULT 0;
ALTER TABLE kept.cdr ADD COLUMN ring_s BIGINT NOT NULL DEFAULT 0;
ALTER TABLE kept.cdr ADD COLUMN wait_s BIGINT NOT NULL DEFAULT 0;
ALTER TABLE kept.cdr ADD COLUMN hold_s BIGINT NOT NULL DEFAULT 0;
ALTER TABLE kept.cdr ADD COLUMN wrapup_s BIGINT NOT NULL DEFAULT 0;
INSERT INTO kept.fill VALUES ('has_recording', 0), ('answer_ms', 0), ('talk_s', 0), ('ring_s', 0), ('wait_s', 0), ('hold_s', 0), ('wrapup_s', 0);

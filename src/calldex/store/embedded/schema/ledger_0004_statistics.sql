-- Whether there is a recording, and what statistics are made of: see the kinds of columns in `records/fields.py`.
ALTER TABLE version ADD COLUMN has_recording INTEGER NOT NULL DEFAULT 0;
ALTER TABLE version ADD COLUMN answer_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE version ADD COLUMN talk_s INTEGER NOT NULL DEFAULT 0;
ALTER TABLE version ADD COLUMN ring_s INTEGER NOT NULL DEFAULT 0;
ALTER TABLE version ADD COLUMN wait_s INTEGER NOT NULL DEFAULT 0;
ALTER TABLE version ADD COLUMN hold_s INTEGER NOT NULL DEFAULT 0;
ALTER TABLE version ADD COLUMN wrapup_s INTEGER NOT NULL DEFAULT 0;
INSERT INTO fill SELECT 'has_recording', 0, ifnull(max(seq), 0) FROM version;
INSERT INTO fill SELECT 'answer_ms', 0, ifnull(max(seq), 0) FROM version;
INSERT INTO fill SELECT 'talk_s', 0, ifnull(max(seq), 0) FROM version;
INSERT INTO fill SELECT 'ring_s', 0, ifnull(max(seq), 0) FROM version;
INSERT INTO fill SELECT 'wait_s', 0, ifnull(max(seq), 0) FROM version;
INSERT INTO fill SELECT 'hold_s', 0, ifnull(max(seq), 0) FROM version;
INSERT INTO fill SELECT 'wrapup_s', 0, ifnull(max(seq), 0) FROM version;

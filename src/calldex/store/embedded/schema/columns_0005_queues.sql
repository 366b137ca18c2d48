-- The queues that a call passed.
ALTER TABLE kept.cdr ADD COLUMN passed_queues VARCHAR NOT NULL DEFAULT '';
INSERT INTO kept.fill VALUES ('passed_queues', 0);

-- The queues that a call passed.
ALTER TABLE version ADD COLUMN passed_queues TEXT NOT NULL DEFAULT '';
INSERT INTO fill SELECT 'passed_queues', 0, ifnull(max(seq), 0) FROM version;

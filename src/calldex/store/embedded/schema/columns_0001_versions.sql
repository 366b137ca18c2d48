-- The versions that have content, as columns, and the parties that occur in them. No index and no constraint, see docs/decisions/0001.
CREATE TABLE kept.cdr (
    seq BIGINT NOT NULL,
    seq_to BIGINT NOT NULL,
    account_id INTEGER NOT NULL,
    uuid UUID NOT NULL,
    started_ms BIGINT NOT NULL,
    type UTINYINT NOT NULL,
    disposition UTINYINT NOT NULL,
    end_reason UTINYINT NOT NULL,
    agent_id BIGINT NOT NULL,
    queue_id BIGINT NOT NULL,
    campaign_id BIGINT NOT NULL,
    team_ids VARCHAR NOT NULL,
    wrapup_code VARCHAR NOT NULL,
    events BIGINT NOT NULL,
    duration_s INTEGER NOT NULL,
    caller VARCHAR NOT NULL USING COMPRESSION uncompressed,
    caller_key BIGINT NOT NULL,
    callee VARCHAR NOT NULL USING COMPRESSION uncompressed,
    callee_key BIGINT NOT NULL,
    party INTEGER NOT NULL
);
CREATE TABLE kept.party (
    party INTEGER NOT NULL,
    agent_id BIGINT NOT NULL,
    queue_id BIGINT NOT NULL,
    campaign_id BIGINT NOT NULL,
    team_ids VARCHAR NOT NULL
);
CREATE TABLE kept.meta (store_id VARCHAR, layout VARCHAR, applied BIGINT);

-- The queues that a call passed. For a cluster of one's own, whose name stands for `$cluster`; nobody has tried it on one.
-- What a version lacks that is there already, or that an older Calldex still writes, is worked out of its JSON when it
-- is read; then each part is written again with it.

-- blocks: no. It changes what the table is said to have.
ALTER TABLE cdr_local ON CLUSTER '$cluster'
    ADD COLUMN IF NOT EXISTS passed_queues SimpleAggregateFunction(max, LowCardinality(String)) DEFAULT if(
        empty(JSONExtract(json, 'queue', 'String'))
            AND NOT arrayExists(event -> NOT empty(event.1), JSONExtract(json, 'events', 'Array(Tuple(queue String))')),
        '', concat('\x1f', arrayStringConcat(arrayMap(
            name -> concat(replaceAll(replaceAll(name, '\x1e', '\x1e0'), '\x1f', '\x1e1'), '\x1f'),
            arraySort(arrayDistinct(arrayFilter(name -> NOT empty(name), arrayPushFront(
                arrayMap(event -> event.1, JSONExtract(json, 'events', 'Array(Tuple(queue String))')),
                JSONExtract(json, 'queue', 'String'))))))))) AFTER wrapup_s;

-- blocks: no. It changes what the table over them is said to have.
ALTER TABLE cdr ON CLUSTER '$cluster'
    ADD COLUMN IF NOT EXISTS passed_queues SimpleAggregateFunction(max, LowCardinality(String)) AFTER wrapup_s;

-- blocks: no. Parts are written again in the background, one after another; writing and reading go on.
ALTER TABLE cdr_local ON CLUSTER '$cluster' MATERIALIZE COLUMN passed_queues SETTINGS mutations_sync = 0;

-- blocks: no. It changes what the table is said to be.
ALTER TABLE cdr_local ON CLUSTER '$cluster' MODIFY COMMENT 'calldex schema 4';

-- blocks: no. It changes what the table is said to be.
ALTER TABLE cdr_uuid_local ON CLUSTER '$cluster' MODIFY COMMENT 'calldex schema 4';

-- blocks: no. It changes what the table is said to be.
ALTER TABLE cdr ON CLUSTER '$cluster' MODIFY COMMENT 'calldex schema 4';

-- blocks: no. It changes what the table is said to be.
ALTER TABLE cdr_uuid ON CLUSTER '$cluster' MODIFY COMMENT 'calldex schema 4';

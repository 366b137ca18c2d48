-- The queues that a call passed. For one node, and for ClickHouse Cloud.
-- What a version lacks that is there already, or that an older Calldex still writes, is worked out of its JSON when it
-- is read; then each part is written again with it.

-- blocks: no. It changes what the table is said to have.
ALTER TABLE cdr
    ADD COLUMN IF NOT EXISTS passed_queues SimpleAggregateFunction(max, LowCardinality(String)) DEFAULT if(
        empty(JSONExtract(json, 'queue', 'String'))
            AND NOT arrayExists(event -> NOT empty(event.1), JSONExtract(json, 'events', 'Array(Tuple(queue String))')),
        '', concat('\x1f', arrayStringConcat(arrayMap(
            name -> concat(replaceAll(replaceAll(name, '\x1e', '\x1e0'), '\x1f', '\x1e1'), '\x1f'),
            arraySort(arrayDistinct(arrayFilter(name -> NOT empty(name), arrayPushFront(
                arrayMap(event -> event.1, JSONExtract(json, 'events', 'Array(Tuple(queue String))')),
                JSONExtract(json, 'queue', 'String'))))))))) AFTER wrapup_s;

-- blocks: no. Parts are written again in the background, one after another; writing and reading go on.
ALTER TABLE cdr MATERIALIZE COLUMN passed_queues SETTINGS mutations_sync = 0;

-- blocks: no. It changes what the table is said to be.
ALTER TABLE cdr MODIFY COMMENT 'calldex schema 4';

-- blocks: no. It changes what the table is said to be.
ALTER TABLE cdr_uuid MODIFY COMMENT 'calldex schema 4';

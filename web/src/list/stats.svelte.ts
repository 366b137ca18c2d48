// Figures over the whole filtered set, made by the store: counts of a filter's values, sums, calls over time.
import { ApiError, aborted, ask } from '../app/api';
import { instantOf } from './dates';
import { base } from './filters.svelte';
import { listed } from './query';

export type Group = Record<string, string | number | null>;
export interface Stats {
    groups: Group[];
    total: Group;
}

type Bucket = 'hour' | 'day' | 'week';

/** Into what times are cut, so that a picture has enough of them and not too many. */
export function bucketOf(start: string | null, end: string | null): Bucket {
    if (!start) return 'day';
    const days = ((end ? Date.parse(end) : Date.now()) - Date.parse(start)) / 86_400_000;
    return days <= 4 ? 'hour' : days <= 400 ? 'day' : 'week';
}

/** When a bucket of statistics began, in epoch milliseconds: an hour is told as an instant, a day or a week as a day of the zone. */
export function beganAt(told: string, bucket: Bucket, zone: string): number {
    return Date.parse(bucket === 'hour' ? told : instantOf(told, 0, 0, zone));
}

/** Statistics; raises what the server says to it. */
export function statistics(query: string, wanted: Record<string, string>, signal?: AbortSignal): Promise<Stats> {
    const params = new URLSearchParams(query);
    for (const [name, value] of Object.entries(wanted)) params.set(name, value);
    return ask<Stats>(`/api/v2/cdr/stats?${params}`, signal ? { signal } : {});
}

/** The same query of calls that came in, as nobody else waits to be served; null where it leaves them out. */
export function incoming(query: string): string | null {
    const params = new URLSearchParams(query);
    const [types, without] = [listed(params.get('type')), listed(params.get('type_not'))];
    if ((types.length && !types.includes('inbound')) || without.includes('inbound')) return null;
    params.set('type', 'inbound');
    return params.toString();
}

/** What takes the failure of statistics. That one may not see calls, has to sign in again, or asked for what is not understood, is
    told by the list or the figures beside them. */
export function failing(tell: (problem: ApiError | null) => void): (error: unknown) => void {
    return (error) => {
        if (aborted(error)) return;
        if (!(error instanceof ApiError)) throw error;
        tell([400, 401, 403].includes(error.status) ? null : error);
    };
}

/** What statistics call the things that filters choose, and where a group of them has the filter's value. */
const GROUPED: Record<string, string> = {
    type: 'type',
    disposition: 'disposition',
    queue_ids: 'queue',
    agent_ids: 'agent',
    team_ids: 'team',
    campaign_ids: 'campaign',
    wrapup_codes: 'wrapup_code',
};

/** How many calls each value of a filter has, under the other filters; null where that is not told. */
export async function counts(name: string, query: string): Promise<Map<string, number> | null> {
    const by = GROUPED[base(name)];
    if (!by) return null;
    const others = new URLSearchParams(query);
    others.delete(base(name));
    others.delete(`${base(name)}_not`);
    const found = await statistics(others.toString(), { group_by: by, measures: 'calls' }).catch((error: unknown) => {
        if (error instanceof ApiError) return null;
        throw error;
    });
    if (!found) return null;
    const values = found.groups.map((group): [string, number] => [String(group[`${by}_id`] ?? group[by]), Number(group['calls'])]);
    return new Map(values);
}

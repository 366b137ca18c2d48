// Figures over the whole filtered set, made by the store: counts of a filter's values, sums, calls over time.
import { ApiError, ask } from '../app/api';
import { base } from './filters.svelte';

export type Group = Record<string, string | number | null>;
export interface Stats {
    groups: Group[];
    total: Group;
}

let missing = false;

/** Into what times are cut, so that a picture has enough of them and not too many. */
export function bucketOf(start: string | null, end: string | null): 'hour' | 'day' | 'week' {
    if (!start) return 'day';
    const days = ((end ? Date.parse(end) : Date.now()) - Date.parse(start)) / 86_400_000;
    return days <= 4 ? 'hour' : days <= 400 ? 'day' : 'week';
}

/** Statistics; raises what the server says to it. */
export function statistics(query: string, wanted: Record<string, string>, signal?: AbortSignal): Promise<Stats> {
    const params = new URLSearchParams(query);
    for (const [name, value] of Object.entries(wanted)) params.set(name, value);
    return ask<Stats>(`/api/v2/cdr/stats?${params}`, signal ? { signal } : {});
}

/** Null where the server has no statistics, or does not answer this one. */
export async function stats(query: string, wanted: Record<string, string>, signal?: AbortSignal): Promise<Stats | null> {
    if (missing) return null;
    try {
        return await statistics(query, wanted, signal);
    } catch (error) {
        if (error instanceof ApiError) {
            missing = error.status === 404;
            return null;
        }
        throw error;
    }
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

/** How many calls each value of a filter has, under the other filters. */
export async function counts(name: string, query: string): Promise<Map<string, number> | null> {
    const by = GROUPED[base(name)];
    if (!by) return null;
    const others = new URLSearchParams(query);
    others.delete(base(name));
    others.delete(`${base(name)}_not`);
    const found = await stats(others.toString(), { group_by: by, measures: 'calls' });
    if (!found) return null;
    const values = found.groups.map((group): [string, number] => [String(group[`${by}_id`] ?? group[by]), Number(group['calls'])]);
    return new Map(values);
}

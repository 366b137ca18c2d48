// The filters there are, as the API's own description lists them, and what their values are called.
import { ask, type Named } from '../app/api';
import { day, length, shortTime, typedPhone, type Clock } from '../app/format';
import { t, word, type Key } from '../app/i18n.svelte';
import { isPreset } from './dates';
import { chips, listed } from './query';

export type Kind = 'words' | 'ids' | 'seconds' | 'text' | 'days';

export interface Filter {
    name: string;
    kind: Kind;
    words: string[];
    description: string;
}

interface Schema {
    type?: string;
    enum?: string[];
    items?: Schema;
    anyOf?: Schema[];
    pattern?: string;
}
interface Document {
    paths: Record<string, { get: { parameters: Parameter[] } }>;
    components: { schemas: Record<string, { properties: Record<string, Schema> }> };
}
interface Parameter {
    name: string;
    in: string;
    description: string;
    schema: Schema;
}

const LOOKUPS: Record<string, string> = {
    agent_ids: 'agents',
    queue_ids: 'queues',
    team_ids: 'teams',
    campaign_ids: 'campaigns',
    wrapup_codes: 'wrapup_codes',
};
/** Which words of the language file a filter's values are. */
const VOCABULARY: Record<string, string> = { end_reasons: 'end_reason', events: 'event', flags: 'flag', has_recording: 'yesno', withheld: 'yesno', callback_state: 'callback_state' };
const NO_FILTERS = ['page', 'per_page', 'search_token', 'key', 'start_date', 'end_date', 'timezone', 'wrapup_code_ids', 'wrapup_code_ids_not', 'callback_hours', 'numbers'];

/** Words that only old clients use; each has a newer one beside it. */
const OLD_TYPES = ['campaign', 'callback', 'queue-callback', 'scheduled-callback'];

export const base = (name: string): string => name.replace(/_not$/, '');
export const negated = (name: string): boolean => name.endsWith('_not');

class Filters {
    all = $state<Filter[]>([]);
    names = $state<Record<string, Map<string, string>>>({});
    #asked: Promise<void> | null = null;
    #lookups = new Set<string>();

    /** Ask the API which filters it has; once. */
    load(): Promise<void> {
        this.#asked ??= this.#ask().catch((error: unknown) => {
            this.#asked = null;
            throw error;
        });
        return this.#asked;
    }
    async #ask(): Promise<void> {
        const document = await ask<Document>('/openapi.json');
        const { Record: record, Event: event } = document.components.schemas;
        const words: Record<string, string[]> = {
            type: (record!.properties['type']!.enum ?? []).filter((each) => !OLD_TYPES.includes(each)),
            disposition: record!.properties['disposition']!.enum ?? [],
            end_reasons: record!.properties['end_reason']!.anyOf?.[0]?.enum ?? record!.properties['end_reason']!.enum ?? [],
            events: ['all_transfers', ...(event!.properties['type']!.enum ?? [])],
        };
        this.all = document.paths['/api/v2/cdr']!.get.parameters
            .filter((each) => !NO_FILTERS.includes(each.name) && each.in === 'query')
            .map((each) => described(each, words[base(each.name)]));
    }

    get(name: string): Filter | undefined {
        return this.all.find((filter) => filter.name === name);
    }

    /** Ask what the ids of a filter are called; once. */
    async look(name: string): Promise<void> {
        const lookup = LOOKUPS[base(name)];
        if (!lookup || this.#lookups.has(lookup)) return;
        this.#lookups.add(lookup);
        try {
            const found = await ask<(Named & { code?: string; description?: string })[]>(`/api/v2/cdr/${lookup}`);
            this.names[base(name)] = new Map(found.map((each) => (each.code === undefined ? [String(each.id), each.name] : [each.code, each.description ?? each.code])));
        } catch (error) {
            this.#lookups.delete(lookup);
            throw error;
        }
    }
}

export const filters = new Filters();

/** A list of words is described by a pattern of them, which has the words that only old clients use as well. */
function described(parameter: Parameter, known: string[] | undefined): Filter {
    const schema = parameter.schema.items ?? parameter.schema;
    const listed = /^\^\(([\w|\\-]+)\)\(,/.exec(schema.pattern ?? '')?.[1]?.replaceAll('\\', '').split('|');
    const words = known ?? schema.enum ?? listed ?? [];
    const kind: Kind = LOOKUPS[base(parameter.name)] ? 'ids' : words.length ? 'words' : schema.type === 'integer' ? 'seconds' : 'text';
    return { name: parameter.name, kind, words, description: parameter.description };
}

/** What a filter is called. */
export function label(name: string): string {
    const own = word('filter', base(name));
    return negated(name) ? t('filter.not', { name: own }) : own;
}

export function valueLabel(name: string, value: string): string {
    const of = base(name);
    if (LOOKUPS[of]) return filters.names[of]?.get(value) ?? value;
    if (/^(min|max)_(duration|wait)$/.test(of)) return length(Number(value));
    if (['from', 'to', 'cli', 'number'].includes(of)) return typedPhone(value);
    if (of === 'type' || of === 'disposition' || VOCABULARY[of]) return word(VOCABULARY[of] ?? of, value);
    return value;
}

export interface Sentence {
    about: string;
    how: string;
    values: string[];
}

/** A filter in words: what it is about, how it compares, and the values. */
export function sentence(name: string, value: string): Sentence {
    const several = filters.get(name)?.kind !== 'text' || LOOKUPS[base(name)] ? listed(value) : [value];
    const known: Record<string, Key> = {
        cli: 'how.begins',
        number: 'how.begins',
        wildcard_cli: 'how.contains',
        wildcard_number: 'how.contains',
        party: 'how.contains',
        min_duration: 'how.longer',
        max_duration: 'how.shorter',
        min_wait: 'how.longer',
        max_wait: 'how.shorter',
    };
    const values = several.slice(0, 3).map((each) => valueLabel(name, each));
    if (several.length > 3) values.push(t('filter.more', { count: several.length - 3 }));
    return { about: word('filter', base(name)), how: negated(name) ? t('how.is_not') : t(known[base(name)] ?? 'how.is'), values };
}

/** A chip of an address in words: of the time, nothing but when. */
export function chip(name: string, params: URLSearchParams, zone: string, clock: Clock): Sentence {
    if (name === 'start_date') return { about: '', how: '', values: [times(params, zone, clock)] };
    return sentence(name, params.get(name) ?? '');
}

function times(params: URLSearchParams, zone: string, clock: Clock): string {
    const start = params.get('start_date');
    if (isPreset(start)) return word('preset', start);
    const at = (text: string): string => (text.includes('T') ? `${day(text, zone)} ${shortTime(text, zone, clock)}` : day(`${text}T12:00:00Z`, 'UTC'));
    const end = params.get('end_date');
    if (!start) return t('span.until', { to: at(end!) });
    if (!end) return t('span.from', { from: at(start) });
    if (start === end) return at(start);
    const sameDay = start.includes('T') && end.includes('T') && day(start, zone) === day(end, zone);
    return `${at(start)} – ${sameDay ? shortTime(end, zone, clock) : at(end)}`;
}

/** What an address shows, in few words: the values of its filters. */
export function inShort(params: URLSearchParams, zone: string, clock: Clock): string {
    const said = chips(params).map((name) => {
        const { how, values } = chip(name, params, zone, clock);
        return `${negated(name) ? `${how} ` : ''}${values.join(t('filter.or'))}`;
    });
    return said.join(', ') || t('bar.all');
}

/** Filters and values that begin with what was typed in the search box. */
export function suggestions(text: string, most = 8): { name: string; value: string }[] {
    const wanted = text.toLowerCase();
    const found: { name: string; value: string; rank: number }[] = [];
    const consider = (name: string, value: string, called: string): void => {
        const plain = called.toLowerCase();
        const rank = plain.startsWith(wanted) ? 0 : plain.split(/[\s,._-]+/).some((part) => part.startsWith(wanted)) ? 1 : plain.includes(wanted) ? 2 : 3;
        if (rank < 3) found.push({ name, value, rank });
    };
    for (const name of ['type', 'disposition', 'end_reasons', 'events'])
        for (const value of filters.get(name)?.words ?? []) consider(name, value, valueLabel(name, value));
    for (const [name, names] of Object.entries(filters.names)) for (const [value, called] of names) consider(name, value, called);
    return found.sort((a, b) => a.rank - b.rank).slice(0, most);
}

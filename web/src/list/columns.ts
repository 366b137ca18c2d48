// The columns a list can have: what stands in them, and which filter "only this" sets. Pure.
import type { Cdr } from '../app/api';
import { word, type Key } from '../app/i18n.svelte';
import { copiedPhone, count, isoDay, length, phone } from '../app/format';

export interface Column {
    id: string;
    label: Key;
    /** In pixels, unless it was resized. */
    width: number;
    /** Takes a share of what room is left. */
    grow?: boolean;
    right?: boolean;
    /** Is read from the left in every language. */
    number?: boolean;
    text: (record: Cdr) => string;
    /** What is copied, where that is not the text. */
    copied?: (record: Cdr) => string;
    /** The parameter and value that keep only records with this cell's value. */
    filter?: (record: Cdr, zone: string) => [parameter: string, value: string] | null;
}

/** Where people have ids, which no country writes in its way: digits that look like a number and are none. */
const MESSENGERS = ['facebook', 'instagram', 'telegram'];
const isId = (record: Cdr, number: string | null): number is string => number !== null && MESSENGERS.includes(record.type) && /^[\d*]+$/.test(number);
/** A side of a record as it is read: a number as its country writes it, or the id of a messenger. */
export const party = (record: Cdr, number: string | null): string => (isId(record, number) ? `ID ${number}` : phone(number));
const copiedParty = (record: Cdr, number: string | null): string => (isId(record, number) ? number : copiedPhone(number));

const CALLED = ['outbound', 'dialer', 'click_to_call', 'queue_callback', 'outbound_sms', 'HLR_lookup'];
/** The side that is not the centre's own. */
export const customer = (record: Cdr): string | null => (CALLED.includes(record.type) ? record.to : record.from);

const id = (parameter: string, value: number | null): [string, string] | null => (value === null ? null : [parameter, String(value)]);
const text = (parameter: string, value: string | null): [string, string] | null => (value ? [parameter, value] : null);
const withheld = (record: Cdr): [string, string] | null => (VOICE.includes(record.type) ? ['withheld', 'yes'] : null);

export const COLUMNS: Column[] = [
    { id: 'started_at', label: 'column.started_at', width: 92, text: (r) => r.started_at, filter: (r, zone) => ['start_date', isoDay(new Date(r.started_at), zone)] },
    { id: 'type', label: 'column.type', width: 134, text: (r) => r.type, filter: (r) => ['type', r.type] },
    { id: 'from', label: 'column.from', width: 142, grow: true, number: true, text: (r) => party(r, r.from), copied: (r) => copiedParty(r, r.from), filter: (r) => text('from', r.from) ?? withheld(r) },
    { id: 'to', label: 'column.to', width: 142, grow: true, number: true, text: (r) => party(r, r.to), copied: (r) => copiedParty(r, r.to), filter: (r) => text('to', r.to) },
    { id: 'disposition', label: 'column.disposition', width: 148, text: (r) => r.disposition, filter: (r) => ['disposition', r.disposition] },
    { id: 'queue', label: 'column.queue', width: 136, grow: true, text: (r) => r.queue ?? '', filter: (r) => id('queue_ids', r.queue_id) },
    { id: 'agent', label: 'column.agent', width: 140, grow: true, text: (r) => r.agent ?? '', filter: (r) => id('agent_ids', r.agent_id) },
    { id: 'wait_s', label: 'column.wait_s', width: 66, right: true, text: (r) => length(r.wait_s) },
    { id: 'talk_s', label: 'column.talk_s', width: 82, right: true, text: (r) => length(r.talk_s) },
    { id: 'recording', label: 'column.recording', width: 56, text: (r) => r.recording ?? '', filter: (r) => ['has_recording', r.recording ? 'yes' : 'no'] },
    { id: 'tags', label: 'column.tags', width: 110, grow: true, text: (r) => r.tags.join(', '), filter: (r) => text('tags', r.tags.join(',')) },
    { id: 'duration_s', label: 'column.duration_s', width: 74, right: true, text: (r) => length(r.duration_s) },
    { id: 'ring_s', label: 'column.ring_s', width: 58, right: true, text: (r) => length(r.ring_s) },
    { id: 'hold_s', label: 'column.hold_s', width: 58, right: true, text: (r) => length(r.hold_s) },
    { id: 'wrapup_s', label: 'column.wrapup_s', width: 74, right: true, text: (r) => length(r.wrapup_s) },
    {
        id: 'wrapup_code',
        label: 'column.wrapup_code',
        width: 140,
        grow: true,
        text: (r) => r.wrapup_description ?? r.wrapup_code ?? '',
        filter: (r) => text('wrapup_codes', r.wrapup_code),
    },
    { id: 'campaign', label: 'column.campaign', width: 120, grow: true, text: (r) => r.campaign ?? '', filter: (r) => id('campaign_ids', r.campaign_id) },
    {
        id: 'teams',
        label: 'column.teams',
        width: 120,
        grow: true,
        text: (r) => r.teams.map((team) => team.name ?? String(team.id)).join(', '),
        filter: (r) => text('team_ids', r.teams.map((team) => team.id).join(',')),
    },
    { id: 'end_reason', label: 'column.end_reason', width: 130, text: (r) => r.end_reason ?? '', filter: (r) => text('end_reasons', r.end_reason) },
    { id: 'did', label: 'column.did', width: 132, number: true, text: (r) => phone(r.did), copied: (r) => copiedPhone(r.did) },
    { id: 'legs', label: 'column.legs', width: 48, right: true, text: (r) => (r.legs.length ? count(r.legs.length) : '') },
    { id: 'score', label: 'column.score', width: 54, right: true, text: (r) => (r.score === null ? '' : count(r.score)) },
    { id: 'comment', label: 'column.comment', width: 160, grow: true, text: (r) => r.comment ?? '' },
    { id: 'source', label: 'column.source', width: 90, text: (r) => r.source ?? '' },
    { id: 'external_account_id', label: 'column.external_account_id', width: 110, text: (r) => r.external_account_id ?? '' },
    { id: 'flags', label: 'column.flags', width: 110, text: (r) => r.flags.map((flag) => word('flag', flag)).join(', '), filter: (r) => text('flags', r.flags.join(',')) },
    { id: 'uuid', label: 'column.uuid', width: 270, text: (r) => r.uuid, filter: (r) => ['uuid', r.uuid] },
];
const BY_ID = new Map(COLUMNS.map((column) => [column.id, column]));
export const DEFAULT = ['started_at', 'type', 'from', 'to', 'disposition', 'queue', 'agent', 'wait_s', 'talk_s', 'recording', 'tags'];
const NARROWEST = 40;
const WIDEST = 800;

/** The columns that an address names, in its order; names it has that are none are left to be told by `unknown`. */
export function shown(parameter: string | null): Column[] {
    const found = (parameter?.split(',') ?? DEFAULT).flatMap((name) => BY_ID.get(name) ?? []);
    return found.length ? found : shown(null);
}

export function unknown(parameter: string | null): string[] {
    return (parameter?.split(',') ?? []).filter((name) => name && !BY_ID.has(name));
}

/** `from:200,queue:90` */
export function widths(parameter: string | null): Map<string, number> {
    const found = new Map<string, number>();
    for (const part of parameter?.split(',') ?? []) {
        const [name, width] = part.split(':');
        if (name && BY_ID.has(name) && Number(width)) found.set(name, Math.min(WIDEST, Math.max(NARROWEST, Math.round(Number(width)))));
    }
    return found;
}

export function widthsWritten(found: Map<string, number>): string {
    return [...found].map(([name, width]) => `${name}:${Math.round(width)}`).join(',');
}

function widthOf(column: Column, resized: Map<string, number>, days: boolean): number {
    return resized.get(column.id) ?? (column.id === 'started_at' && days ? 144 : column.width);
}

/** The tracks of the grid that the rows are. */
export function tracks(columns: Column[], resized: Map<string, number>, days: boolean): string {
    return columns
        .map((column) => {
            const width = widthOf(column, resized, days);
            return column.grow && !resized.has(column.id) ? `minmax(${width}px, ${width}fr)` : `${width}px`;
        })
        .join(' ');
}

/** How wide a row is at least. */
export function least(columns: Column[], resized: Map<string, number>, days: boolean): number {
    return columns.reduce((sum, column) => sum + widthOf(column, resized, days), 12);
}

// --- shapes: a word's colour is never all that tells it -----------------------------------------------------------------

export type Tone = 'good' | 'warn' | 'bad' | 'rest';
const GOOD = ['answered', 'sent', 'delivered', 'available', 'active'];
const WARN = ['abandoned', 'dialer_abandoned'];
const BAD = ['missed', 'failed', 'busy', 'no_answer', 'rejected', 'system_reject', 'not_sent', 'not_delivered', 'route_unavailable', 'absent'];

export function tone(disposition: string): Tone {
    return GOOD.includes(disposition) ? 'good' : WARN.includes(disposition) ? 'warn' : BAD.includes(disposition) ? 'bad' : 'rest';
}

export function shape(disposition: string): string {
    if (disposition === 'missed' || disposition === 'no_answer') return '○';
    return { good: '●', warn: '◐', bad: '✕', rest: '·' }[tone(disposition)];
}

/** What somebody calls in; of the others, nobody waits on the line, and no number is withheld. */
export const VOICE = ['inbound', 'outbound', 'dialer', 'internal', 'click_to_call', 'queue_callback', 'scheduled_callback'];

const ARROWS: Record<string, string> = { inbound: '↙', outbound: '↗', dialer: '⇉', click_to_call: '↗', queue_callback: '↩', internal: '↔', HLR_lookup: '?' };
export const arrow = (type: string): string => ARROWS[type] ?? '✉';

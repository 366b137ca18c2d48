// Times as people write them become the API's `start_date` and `end_date`. The address keeps the word ("today"), so that
// a saved view means the day it is opened on; the API gets the days. Pure.
import { formatter, isoDay } from '../app/format';

export interface Span {
    start_date: string;
    end_date: string;
}

/** Words an address may hold as `start_date`, each meaning a whole span. */
export const PRESETS = [
    'last_hour',
    'today',
    'yesterday',
    'last_7_days',
    'last_30_days',
    'this_week',
    'last_week',
    'this_month',
    'last_month',
] as const;
export type Preset = (typeof PRESETS)[number];

export const isPreset = (text: string | null): text is Preset => PRESETS.includes(text as Preset);

const DAY = 86_400_000;
/** An instant as the API takes it, of epoch milliseconds. */
export const instant = (ms: number): string => new Date(ms).toISOString().replace('.000Z', 'Z');
const utc = (iso: string): number => Date.parse(`${iso}T00:00:00Z`);
const iso = (ms: number): string => new Date(ms).toISOString().slice(0, 10);
const plus = (day: string, days: number): string => iso(utc(day) + days * DAY);

/** What a preset means now, in a zone. */
export function spanOf(preset: Preset, zone: string, now: Date): Span {
    const today = isoDay(now, zone);
    const monday = plus(today, -((new Date(utc(today)).getUTCDay() + 6) % 7));
    const first = `${today.slice(0, 8)}01`;
    switch (preset) {
        case 'last_hour':
            return { start_date: new Date(Math.floor(now.getTime() / 60_000) * 60_000 - 3_600_000).toISOString(), end_date: '' };
        case 'today':
            return { start_date: today, end_date: today };
        case 'yesterday':
            return { start_date: plus(today, -1), end_date: plus(today, -1) };
        case 'last_7_days':
            return { start_date: plus(today, -6), end_date: today };
        case 'last_30_days':
            return { start_date: plus(today, -29), end_date: today };
        case 'this_week':
            return { start_date: monday, end_date: today };
        case 'last_week':
            return { start_date: plus(monday, -7), end_date: plus(monday, -1) };
        case 'this_month':
            return { start_date: first, end_date: today };
        case 'last_month': {
            const end = plus(first, -1);
            return { start_date: `${end.slice(0, 8)}01`, end_date: end };
        }
    }
}

/** The instant of a clock time on a day in a zone. Of a time that a clock change skips, the one after; of one that comes
 * twice, the first. */
export function instantOf(day: string, hour: number, minute: number, zone: string): string {
    const wall = utc(day) + (hour * 60 + minute) * 60_000;
    const before = wall - offsetOf(wall - DAY, zone);
    const after = wall - offsetOf(wall + DAY, zone);
    const fits = [before, after].filter((at) => at + offsetOf(at, zone) === wall);
    return instant(fits.length ? Math.min(...fits) : Math.max(before, after));
}

const WALL = { hourCycle: 'h23', year: 'numeric', month: 'numeric', day: 'numeric', hour: 'numeric', minute: 'numeric', second: 'numeric' } as const;
function offsetOf(at: number, zone: string): number {
    const parts = formatter(zone, WALL, 'en-US').formatToParts(at);
    const of = (type: string): number => Number(parts.find((part) => part.type === type)!.value);
    return Date.UTC(of('year'), of('month') - 1, of('day'), of('hour'), of('minute'), of('second')) - Math.floor(at / 1000) * 1000;
}

// --- typed ------------------------------------------------------------------------------------------------------------

const TIME = String.raw`(\d{1,2})(?:[:.](\d{2}))?\s*(am|pm)?`;
const TIMES = new RegExp(`^${TIME}$`, 'i');

/** The language that somebody types in besides English: what it calls the presets, in lower case, and its word for "to"
 * between two days. */
export interface Said {
    language: string;
    named: Record<string, string>;
    to: string;
}
const ENGLISH: Said = { language: 'en', named: {}, to: 'to' };

/** Names of months in English and in the person's language, by their first three letters. */
function monthOf(text: string, language: string): number {
    const wanted = text.toLowerCase().replace('.', '');
    for (const locale of [language, 'en'])
        for (let month = 0; month < 12; month++)
            for (const style of ['long', 'short'] as const) {
                const name = formatter('UTC', { month: style }, locale).format(Date.UTC(2026, month, 1));
                if (wanted.length >= 3 && name.toLowerCase().replace('.', '').startsWith(wanted)) return month;
            }
    return -1;
}

function dayOf(text: string, zone: string, now: Date, { language, named }: Said): string | null {
    const today = isoDay(now, zone);
    const plain = text.trim().toLowerCase();
    const meant = named[plain] ?? plain;
    if (meant === 'today') return today;
    if (meant === 'yesterday') return plus(today, -1);
    let found = /^(\d{4})-(\d{1,2})-(\d{1,2})$/.exec(plain);
    if (found) return valid(Number(found[1]), Number(found[2]) - 1, Number(found[3]));
    found = /^(\d{1,2})[./](\d{1,2})[./](\d{4})$/.exec(plain);
    if (found) return valid(Number(found[3]), Number(found[2]) - 1, Number(found[1]));
    found = /^(\d{1,2})\.?\s+(?:de\s+)?([\p{L}.]+)(?:,?\s+(?:de\s+)?(\d{4}))?$/u.exec(plain);
    const [number, name, year] = found ? [found[1], found[2], found[3]] : flipped(plain);
    if (!number || !name) return null;
    const month = monthOf(name, language);
    if (month < 0) return null;
    if (year) return valid(Number(year), month, Number(number));
    // Without a year: the last such day that has come.
    const thisYear = valid(Number(today.slice(0, 4)), month, Number(number));
    return thisYear !== null && thisYear > today ? valid(Number(today.slice(0, 4)) - 1, month, Number(number)) : thisYear;
}

function flipped(plain: string): (string | undefined)[] {
    const found = /^([\p{L}.]+)\s+(\d{1,2})(?:,?\s+(\d{4}))?$/u.exec(plain);
    return found ? [found[2], found[1], found[3]] : [];
}

function valid(year: number, month: number, day: number): string | null {
    const date = new Date(Date.UTC(year, month, day));
    return date.getUTCMonth() === month && date.getUTCDate() === day ? iso(date.getTime()) : null;
}

function clockOf(text: string, half = ''): [number, number] | null {
    const found = TIMES.exec(text.trim());
    if (!found) return null;
    let hour = Number(found[1]);
    const minute = Number(found[2] ?? 0);
    const suffix = (found[3] ?? half).toLowerCase();
    if (suffix) hour = (hour % 12) + (suffix === 'pm' ? 12 : 0);
    return hour <= 24 && minute < 60 ? [hour, minute] : null;
}

/** What somebody typed, as a span: "yesterday", "1 Nov", "1 Nov – 5 Nov", "1 Nov 9:00–12:00", "2026-11-01 14:00". Null
 * for what is not understood. */
export function read(text: string, zone: string, now: Date, said: Said = ENGLISH): Span | null {
    const between = new RegExp(`\\s+(?:to|${said.to})\\s+`, 'i');
    const plain = text.trim().replaceAll('–', '-').replaceAll('—', '-').replace(between, ' - ').replace(/\s+/g, ' ');
    const preset = said.named[plain.toLowerCase()] ?? plain.toLowerCase().replaceAll(' ', '_');
    if (isPreset(preset)) return { start_date: preset, end_date: '' };
    const whole = dayOf(plain, zone, now, said);
    if (whole) return { start_date: whole, end_date: whole };

    // A day, or today, and times of it.
    const times = new RegExp(`^(.*?)\\s*\\b(${TIME})\\s*(?:-\\s*(${TIME}))?$`, 'i').exec(plain);
    if (times && (/[:]|am|pm/i.test(plain) || times[6])) {
        const given = times[1]!.trim().replace(/,$/, '');
        const day = given ? dayOf(given, zone, now, said) : isoDay(now, zone);
        const from = clockOf(times[2]!, /(am|pm)/i.exec(times[6] ?? '')?.[1] ?? '');
        const to = times[6] ? clockOf(times[6]) : null;
        if (day && from && (to || !times[6])) {
            const end = to ?? [from[0] + 1, from[1]];
            return { start_date: instantOf(day, from[0], from[1], zone), end_date: instantOf(day, end[0]!, end[1]!, zone) };
        }
    }
    const halves = / - /.test(plain) ? plain.split(' - ') : plain.split(/(?<=[^\d]|\d{4})-(?=\d{1,2}\D)/);
    if (halves.length === 2) {
        const [from, to] = halves.map((half) => dayOf(half, zone, now, said));
        if (from && to && from <= to) return { start_date: from, end_date: to };
    }
    return null;
}

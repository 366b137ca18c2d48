// How values are written. Times are in the zone that is named on the page; lengths are m:ss.
import { locale as ours } from './i18n.svelte';

export type Clock = '24' | '12';
const made = new Map<string, Intl.DateTimeFormat>();

/** A formatter that is made once: making one takes longer than a row. */
export function formatter(zone: string, options: Intl.DateTimeFormatOptions, locale = ours()): Intl.DateTimeFormat {
    const name = `${locale} ${zone} ${JSON.stringify(options)}`;
    let found = made.get(name);
    if (!found) {
        if (made.size > 200) made.clear();
        found = new Intl.DateTimeFormat(locale, { timeZone: zone, ...options });
        made.set(name, found);
    }
    return found;
}

const hours = (clock: Clock): Intl.DateTimeFormatOptions => (clock === '24' ? { hourCycle: 'h23' } : { hourCycle: 'h12' });

export function time(at: string | number, zone: string, clock: Clock = '24'): string {
    return formatter(zone, { hour: clock === '24' ? '2-digit' : 'numeric', minute: '2-digit', second: '2-digit', ...hours(clock) }).format(new Date(at));
}

export function shortTime(at: string | number, zone: string, clock: Clock = '24'): string {
    return formatter(zone, { hour: clock === '24' ? '2-digit' : 'numeric', minute: '2-digit', ...hours(clock) }).format(new Date(at));
}

/** `29 Sep`, with the year where it is not this one. */
export function day(at: string | number, zone: string): string {
    const date = new Date(at);
    const thisYear = formatter(zone, { year: 'numeric' }).format(date) === formatter(zone, { year: 'numeric' }).format(new Date());
    return formatter(zone, { day: '2-digit', month: 'short', ...(thisYear ? {} : { year: 'numeric' }) }).format(date);
}

export function longDay(at: string | number, zone: string): string {
    return formatter(zone, { weekday: 'short', day: 'numeric', month: 'short', year: 'numeric' }).format(new Date(at));
}

/** The calendar day in a zone, as `YYYY-MM-DD`. */
export function isoDay(at: Date, zone: string): string {
    return formatter(zone, { year: 'numeric', month: '2-digit', day: '2-digit' }, 'en-CA').format(at);
}

/** `0:27`, `6:38`, `1:02:10`; empty where it is not known. */
export function length(seconds: number | null | undefined): string {
    if (seconds === null || seconds === undefined) return '';
    const whole = Math.round(seconds);
    const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
    const two = (n: number): string => String(n).padStart(2, '0');
    return h ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

export function count(n: number): string {
    return n.toLocaleString(ours());
}

export function percent(part: number, whole: number): string {
    return whole ? (part / whole).toLocaleString(ours(), { style: 'percent', maximumFractionDigits: 1 }) : '';
}

const MOST_WRITTEN = 20_000;
const writtenNumbers = new Map<string, string>();

/** Keep how the numbers of a page are written, as the server says. */
export function learn(numbers: Record<string, string> | undefined): void {
    if (writtenNumbers.size > MOST_WRITTEN) writtenNumbers.clear();
    for (const number in numbers) writtenNumbers.set(number, numbers[number]!);
}

/** A number of a record as its country writes it. What the server does not write another way (an extension, the id of a
    messenger, a masked number) stays as it is; a masked number of a country keeps its plus sign. */
export function phone(number: string | null): string {
    return number === null ? '' : (writtenNumbers.get(number) ?? (/^\d{1,3}\*+\d\d$/.test(number) ? `+${number}` : number));
}

/** A number of a record as it is copied: without what is only for the eye. */
export function copiedPhone(number: string | null): string {
    return number !== null && writtenNumbers.has(number) ? `+${number}` : (number ?? '');
}

/** A number that somebody typed: it may be in no record yet. */
export function typedPhone(number: string): string {
    return writtenNumbers.get(number) ?? (/^[1-9]\d{7,14}$/.test(number) ? `+${number}` : number);
}

const STEPS: [Intl.RelativeTimeFormatUnit, number][] = [
    ['day', 86_400],
    ['hour', 3600],
    ['minute', 60],
    ['second', 1],
];

/** `3 minutes ago`. */
export function ago(at: string, now: number): string {
    const seconds = (Date.parse(at) - now) / 1000;
    const [unit, size] = STEPS.find(([, size]) => Math.abs(seconds) >= size) ?? STEPS[3]!;
    return new Intl.RelativeTimeFormat(ours(), { numeric: 'auto', style: 'short' }).format(Math.round(seconds / size), unit);
}

/** The time zone that somebody typed: by its whole name, also an old or new one that browsers do not list, or by its place
    ("berlin"); null if there is none. */
export function zoneOf(typed: string, zones: string[]): string | null {
    const plain = typed.trim().replaceAll(' ', '_');
    const found = zones.find((name) => name.toLowerCase() === plain.toLowerCase()) ?? zones.find((name) => name.toLowerCase().endsWith(`/${plain.toLowerCase()}`));
    if (found || !/^[a-z]/i.test(plain)) return found ?? null;
    try {
        new Intl.DateTimeFormat('en', { timeZone: plain });
        return plain;
    } catch {
        return null;
    }
}

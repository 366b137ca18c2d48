// What an address asks for. Parameters have the API's own names, but for those that only say how the page shows it. Pure.
import { isPreset, spanOf } from './dates';

/** Parameters that are the page's own and are not sent. */
export const SHOWN = ['columns', 'widths', 'picture', 'clock', 'view', 'marked'] as const;
const TIMES = ['start_date', 'end_date', 'timezone'];

/** The filters of an address as the API takes them, days resolved. */
export function asked(params: URLSearchParams, zone: string, now: Date): URLSearchParams {
    const sent = new URLSearchParams();
    for (const [name, value] of params) if (!SHOWN.includes(name as never) && value !== '') sent.append(name, value);
    sent.set('timezone', zone);
    const start = sent.get('start_date');
    if (isPreset(start)) {
        const span = spanOf(start, zone, now);
        sent.set('start_date', span.start_date);
        if (span.end_date) sent.set('end_date', span.end_date);
        else sent.delete('end_date');
    }
    return sent;
}

/** The filters that are chips, in their order in the address; the days are one of them. */
export function chips(params: URLSearchParams): string[] {
    const names = [...new Set(params.keys())].filter((name) => params.get(name) && !SHOWN.includes(name as never) && !TIMES.includes(name));
    return params.get('start_date') || params.get('end_date') ? ['start_date', ...names] : names;
}

/** The address's parameters with others in place of some; empty ones are left out. */
export function changed(params: URLSearchParams, changes: Record<string, string | null>): URLSearchParams {
    const made = new URLSearchParams(params);
    for (const [name, value] of Object.entries(changes)) if (value) made.set(name, value);
        else made.delete(name);
    return made;
}

/** Without a chip. */
export function without(params: URLSearchParams, name: string): URLSearchParams {
    return changed(params, name === 'start_date' ? { start_date: null, end_date: null } : { [name]: null });
}

export const listed = (value: string | null): string[] => (value ? value.split(',').filter(Boolean) : []);

// --- the search box ---------------------------------------------------------------------------------------------------

const UUID = /^[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}$/i;

/** What a text in the search box is: a uuid, the digits of a number as they may stand in a record, or words. */
export function found(text: string): { uuid: string } | { digits: string } | { words: string } | null {
    const plain = text.trim();
    if (!plain) return null;
    const inAddress = /\/cdr\/([0-9a-f-]{32,36})/i.exec(plain)?.[1];
    if (inAddress || UUID.test(plain)) {
        const hex = (inAddress ?? plain).replaceAll('-', '').toLowerCase();
        return { uuid: `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}` };
    }
    if (/^[+\d\s().\-/\u00a0]+$/.test(plain) && /\d{3}/.test(plain.replace(/\D/g, ''))) {
        // `(0)` and a leading 0 or 00 are how a number is dialled, not part of it.
        const digits = plain.replace(/\(0\)/g, '').replace(/\D/g, '');
        return { digits: plain.trim().startsWith('+') ? digits : digits.replace(/^0{1,2}(?=\d{5})/, '') };
    }
    return { words: plain };
}

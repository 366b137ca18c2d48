// What went wrong, in the page's language. The server's sentences are English: other languages have one for each kind of failure,
// and what is particular about one, where that helps to mend it, stays in the server's words.
import type { ApiError } from './api';
import { language, t, type Key } from './i18n.svelte';

const BY_CODE: Record<string, Key> = { store_not_ready: 'error.rebuilding', query_timeout: 'error.too_slow', disk_full: 'error.disk_full' };
const BY_STATUS: Record<number, Key> = {
    0: 'error.unreachable',
    400: 'error.not_understood',
    401: 'error.session',
    403: 'error.no_right',
    404: 'error.not_found',
    409: 'error.conflict',
    410: 'error.gone',
    413: 'error.too_large',
    429: 'error.too_many',
    503: 'error.busy',
};
/** Of these the server's words say what to change, or whom to tell. */
const PARTICULAR = [400, 403, 404, 409, 410, 500];

export const kind = (problem: ApiError): string => t(BY_CODE[problem.code] ?? BY_STATUS[problem.status] ?? 'error.fault');

/** What the server says besides, as far as it tells more. */
export function particular(problem: ApiError): string {
    return !problem.unreachable && (language() === 'en' || PARTICULAR.includes(problem.status)) ? problem.message : '';
}

/** All of it in one line. */
export function told(problem: ApiError): string {
    return language() === 'en' && !problem.unreachable ? problem.message : [kind(problem), particular(problem)].filter(Boolean).join(' ');
}

/** What is wrong with one value that was given. */
export function wrong({ given, message, valid }: ApiError['problems'][number]): string {
    const english = [message, valid].filter(Boolean).join('; ');
    return language() === 'en' ? english : `${given ? t('error.value', { given }) : t('error.no_value')} (${english})`;
}

// The public API, asked as whoever is signed in. Everything the page knows comes through here.
import { learn } from './format';

export class ApiError extends Error {
    constructor(
        readonly status: number,
        readonly code: string,
        message: string,
        readonly retryAfter: number = 0,
        readonly requestId: string = '',
        readonly problems: { parameter: string; given: string; message: string; valid: string }[] = [],
    ) {
        super(message);
    }
    /** The server could not be reached at all. */
    get unreachable(): boolean {
        return this.status === 0;
    }
}

/** The code of the refusal of a walk whose asker may see something else by now. */
export const SCOPE_CHANGED = 'scope_changed';

type Told = () => void;
let ended: Told = () => undefined;
let refused: Told = () => undefined;

/** Be told when a request finds that nobody is signed in any more, and when one finds that somebody may not what they asked for. */
export function onRefused(over: Told, rights: Told): void {
    ended = over;
    refused = rights;
}

export async function ask<T>(path: string, options: RequestInit = {}): Promise<T> {
    const reply = await fetched(path, options);
    return (reply.status === 204 ? undefined : await reply.json()) as T;
}

export async function fetched(path: string, options: RequestInit = {}): Promise<Response> {
    let reply: Response;
    try {
        reply = await fetch(path, { credentials: 'same-origin', ...options });
    } catch (error) {
        if (options.signal?.aborted) throw error;
        throw new ApiError(0, 'unreachable', 'the server cannot be reached');
    }
    if (reply.ok) return reply;
    const error = await failure(reply);
    if (!path.startsWith('/api/session')) {
        if (reply.status === 401) ended();
        if (reply.status === 403 || error.code === SCOPE_CHANGED) refused();
    }
    throw error;
}

async function failure(reply: Response): Promise<ApiError> {
    const after = Number(reply.headers.get('retry-after')) || 0;
    let body: Record<string, unknown> = {};
    try {
        body = (await reply.json()) as Record<string, unknown>;
    } catch {
        // a proxy's page, or nothing: the status says it
    }
    return new ApiError(
        reply.status,
        String(body['type'] ?? '').split(':').at(-1) ?? '',
        String(body['error'] ?? reply.statusText),
        after,
        String(body['request_id'] ?? reply.headers.get('x-request-id') ?? ''),
        (body['problems'] as ApiError['problems']) ?? [],
    );
}

export function send<T>(method: string, path: string, body?: unknown): Promise<T> {
    return ask<T>(path, {
        method,
        ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { 'Content-Type': 'application/json' } }),
    });
}

/** A page of records, or of missed callers; how their numbers are written is known before they are shown. */
export async function page<T extends { numbers?: Record<string, string> } = Page>(path: string, options: RequestInit = {}): Promise<T> {
    const found = await ask<T>(`${path}&numbers=international`, options);
    learn(found.numbers);
    return found;
}

/** Replies may come in another order than they were asked for. Called with each request, it gives what tells whether that one is
    the newest still: of an older one nothing is shown. */
export function turns(): () => () => boolean {
    let last = 0;
    return () => {
        const own = ++last;
        return () => own === last;
    };
}

export const aborted = (error: unknown): boolean => error instanceof DOMException && error.name === 'AbortError';

// --- what it gives ----------------------------------------------------------------------------------------------------

export interface Event {
    type: string;
    at: string;
    agent?: string;
    queue?: string;
    number?: string;
    duration_s?: number;
    detail?: string;
    to_agent?: string;
}

export interface Leg {
    started_at: string;
    answered_at?: string;
    ended_at?: string;
    from?: string;
    to?: string;
    channel?: string;
    peer_channel?: string;
    agent?: string;
    application?: string;
    disposition?: string;
    duration_s?: number;
    talk_s?: number;
    recording?: string;
}

export interface Cdr {
    uuid: string;
    type: string;
    disposition: string;
    started_at: string;
    answered_at: string | null;
    ended_at: string | null;
    from: string | null;
    to: string | null;
    did: string | null;
    end_reason: string | null;
    agent: string | null;
    agent_id: number | null;
    queue: string | null;
    queue_id: number | null;
    teams: { id: number; name: string | null }[];
    campaign: string | null;
    campaign_id: number | null;
    wrapup_code: string | null;
    wrapup_description: string | null;
    duration_s: number;
    talk_s: number | null;
    ring_s: number | null;
    wait_s: number | null;
    hold_s: number | null;
    wrapup_s: number | null;
    events: Event[];
    legs: Leg[];
    linked_uuids: string[];
    recording: string | null;
    external_account_id: string | null;
    tags: string[];
    comment: string | null;
    score: number | null;
    custom: Record<string, string | number | boolean | null>;
    source: string | null;
    flags: string[];
}

export interface Page {
    records: Cdr[];
    total: number;
    page: number;
    search_token: string | null;
    numbers?: Record<string, string>;
}

export interface Named {
    id: number;
    name: string;
}

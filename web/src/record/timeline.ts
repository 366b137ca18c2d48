// One call as pieces of time to scale: menu, queue, ring, talk, hold, after-call work; recordings; marks. Pure.
import type { Cdr, Event } from '../app/api';

export type Kind = 'menu' | 'queue' | 'ring' | 'talk' | 'hold' | 'voicemail' | 'wrapup';
export interface Piece {
    kind: Kind;
    /** Milliseconds since the call began. */
    from: number;
    to: number;
    who: string;
}
export interface Mark {
    at: number;
    event: Event;
}
export interface Timeline {
    /** Milliseconds, after-call work included. */
    length: number;
    pieces: Piece[];
    recordings: { from: number; to: number; paused: boolean }[];
    marks: Mark[];
}

/** What is drawn as a piece or a band needs no mark. */
const DRAWN = ['queued', 'answered', 'hold', 'voicemail', 'recording_started', 'recording_paused', 'recording_resumed'];
const TRANSFERS = ['blind_transfer', 'attended_transfer', 'queue_transfer'];

export function timeline(record: Cdr): Timeline {
    const began = Date.parse(record.started_at);
    const over = Math.max(record.ended_at ? Date.parse(record.ended_at) - began : 0, record.duration_s * 1000);
    const since = (at: string): number => Math.min(Math.max(0, Date.parse(at) - began), over);
    const events = [...record.events].sort((a, b) => Date.parse(a.at) - Date.parse(b.at));
    const changes = changesOf(record, events, since);

    const pieces: Piece[] = [];
    for (const [at, change] of changes.entries()) {
        const to = changes[at + 1]?.from ?? over;
        if (to > change.from) pieces.push({ ...change, to });
    }
    cutHolds(pieces, events, since);
    const wrapup = (record.wrapup_s ?? 0) * 1000;
    if (wrapup) pieces.push({ kind: 'wrapup', from: over, to: over + wrapup, who: record.agent ?? '' });
    return {
        length: Math.max(1000, over + wrapup),
        pieces,
        recordings: recordingsOf(record, events, since, over),
        marks: events.filter((event) => !DRAWN.includes(event.type)).map((event) => ({ at: since(event.at), event })),
    };
}

type Change = Omit<Piece, 'to'>;

/** What the call becomes, and when; in order of time. */
function changesOf(record: Cdr, events: Event[], since: (at: string) => number): Change[] {
    const changes: Change[] = [];
    const answers = events.filter((event) => event.type === 'answered');
    const queued = events.some((event) => event.type === 'queued');
    const ring = (record.ring_s ?? 0) * 1000;
    const answered = record.answered_at ? since(record.answered_at) : null;
    for (const event of events) {
        const at = since(event.at);
        if (event.type === 'queued') changes.push({ kind: 'queue', from: at, who: event.queue ?? record.queue ?? '' });
        else if (event.type === 'queue_transfer') changes.push({ kind: 'queue', from: at, who: event.queue ?? '' });
        else if (event.type === 'answered') changes.push({ kind: 'talk', from: at, who: event.agent ?? record.agent ?? '' });
        else if (event.type === 'voicemail') changes.push({ kind: 'voicemail', from: at, who: '' });
        else if (TRANSFERS.includes(event.type) && !events.some((other) => other.type === 'answered' && since(other.at) >= at))
            changes.push({ kind: 'talk', from: at, who: event.agent ?? event.number ?? '' });
    }
    if (answered !== null && !answers.length) {
        if (!queued && record.wait_s) changes.push({ kind: 'queue', from: Math.max(0, answered - record.wait_s * 1000), who: record.queue ?? '' });
        changes.push({ kind: 'talk', from: answered, who: record.agent ?? '' });
    } else if (answered === null && !queued && record.wait_s) changes.push({ kind: 'queue', from: Math.max(0, record.duration_s - record.wait_s) * 1000, who: record.queue ?? '' });
    changes.sort((a, b) => a.from - b.from);
    // The telephone rang right before the answer.
    const talk = changes.findIndex((change) => change.kind === 'talk');
    if (talk >= 0 && ring) {
        const from = Math.max(changes[talk - 1]?.from ?? 0, changes[talk]!.from - ring);
        if (from < changes[talk]!.from) changes.splice(talk, 0, { kind: 'ring', from, who: changes[talk]!.who });
    } else if (talk < 0 && ring && !changes.length) changes.push({ kind: 'ring', from: Math.max(0, record.duration_s * 1000 - ring), who: record.agent ?? '' });
    if (!changes.length || changes[0]!.from > 0) {
        const kind = record.type === 'inbound' ? 'menu' : 'ring';
        changes.unshift({ kind: changes.length || record.type === 'inbound' ? kind : 'ring', from: 0, who: '' });
    }
    return changes;
}

/** Holds lie within talks and split them. */
function cutHolds(pieces: Piece[], events: Event[], since: (at: string) => number): void {
    for (const event of events) {
        if (event.type !== 'hold' || !event.duration_s) continue;
        const from = since(event.at);
        const at = pieces.findIndex((piece) => piece.kind === 'talk' && piece.from <= from && from < piece.to);
        const piece = pieces[at];
        if (!piece) continue;
        const to = Math.min(piece.to, from + event.duration_s * 1000);
        const parts: Piece[] = [
            { ...piece, to: from },
            { kind: 'hold', from, to, who: piece.who },
            { ...piece, from: to },
        ];
        pieces.splice(at, 1, ...parts.filter((part) => part.to > part.from));
    }
}

function recordingsOf(record: Cdr, events: Event[], since: (at: string) => number, over: number): Timeline['recordings'] {
    const found: Timeline['recordings'] = [];
    let open: { from: number; paused: boolean } | null = null;
    for (const event of events) {
        const paused = event.type === 'recording_paused';
        if (!paused && event.type !== 'recording_started' && event.type !== 'recording_resumed') continue;
        const at = since(event.at);
        if (open && at > open.from) found.push({ ...open, to: at });
        open = { from: at, paused };
    }
    if (!open && record.recording) open = { from: record.answered_at ? since(record.answered_at) : 0, paused: false };
    if (open && over > open.from) found.push({ ...open, to: over });
    return found;
}

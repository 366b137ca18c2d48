import { describe, expect, test } from 'vitest';
import type { Cdr } from '../app/api';
import { timeline } from './timeline';

function call(members: Partial<Cdr>): Cdr {
    return {
        uuid: 'u', type: 'inbound', disposition: 'answered', started_at: '2026-09-29T10:00:00Z', answered_at: null, ended_at: null, from: null, to: null, did: null,
        end_reason: null, agent: null, agent_id: null, queue: null, queue_id: null, teams: [], campaign: null, campaign_id: null, wrapup_code: null, wrapup_description: null,
        duration_s: 60, talk_s: null, ring_s: null, wait_s: null, hold_s: null, wrapup_s: null, events: [], legs: [], linked_uuids: [], recording: null,
        external_account_id: null, tags: [], comment: null, score: null, custom: {}, source: null, flags: [], ...members,
    };
}
const at = (s: number): string => new Date(Date.parse('2026-09-29T10:00:00Z') + s * 1000).toISOString();
const drawn = (record: Cdr): string[] => timeline(record).pieces.map((piece) => `${piece.kind} ${piece.from / 1000}-${piece.to / 1000}${piece.who && ` ${piece.who}`}`);

describe('what a call is made of', () => {
    test('menu, queue, ring, talk, hold, a second person, after-call work', () => {
        const record = call({
            duration_s: 100, answered_at: at(30), ring_s: 5, wrapup_s: 20, agent: 'Bob',
            events: [
                { type: 'queued', at: at(10), queue: 'Support' },
                { type: 'answered', at: at(30), agent: 'Priya' },
                { type: 'hold', at: at(50), duration_s: 10 },
                { type: 'attended_transfer', at: at(70), agent: 'Bob' },
            ],
        });
        expect(drawn(record)).toEqual(['menu 0-10', 'queue 10-25 Support', 'ring 25-30 Priya', 'talk 30-50 Priya', 'hold 50-60 Priya', 'talk 60-70 Priya', 'talk 70-100 Bob', 'wrapup 100-120 Bob']);
        expect(timeline(record).length).toBe(120_000);
    });
    test('without events, from the lengths', () => {
        expect(drawn(call({ answered_at: at(20), wait_s: 15, ring_s: 5, agent: 'A', queue: 'Q' }))).toEqual(['menu 0-5', 'queue 5-15 Q', 'ring 15-20 A', 'talk 20-60 A']);
    });
    test('nobody answered an outbound call', () => {
        expect(drawn(call({ type: 'outbound', disposition: 'no_answer' }))).toEqual(['ring 0-60']);
    });
    test('abandoned in the queue', () => {
        expect(drawn(call({ disposition: 'abandoned', events: [{ type: 'queued', at: at(5), queue: 'Q' }] }))).toEqual(['menu 0-5', 'queue 5-60 Q']);
    });
    test('a call of no length has a length to be drawn', () => {
        expect(timeline(call({ duration_s: 0 })).length).toBe(1000);
    });
    test('an event beyond the end stays within the call', () => {
        expect(timeline(call({ events: [{ type: 'dtmf', at: at(500) }] })).marks[0]!.at).toBe(60_000);
    });
});

test('pieces touch each other and cover the call', () => {
    const record = call({ answered_at: at(20), wait_s: 200, ring_s: 90, events: [{ type: 'hold', at: at(30), duration_s: 400 }] });
    const { pieces } = timeline(record);
    expect(pieces[0]!.from).toBe(0);
    expect(pieces.at(-1)!.to).toBe(60_000);
    for (const [index, piece] of pieces.entries()) if (index) expect(piece.from).toBe(pieces[index - 1]!.to);
});

test('a pause is its own band', () => {
    const record = call({
        answered_at: at(0), recording: 'x',
        events: ['recording_started', 'recording_paused', 'recording_resumed'].map((type, index) => ({ type, at: at(index * 10) })),
    });
    expect(timeline(record).recordings).toEqual([
        { from: 0, to: 10_000, paused: false },
        { from: 10_000, to: 20_000, paused: true },
        { from: 20_000, to: 60_000, paused: false },
    ]);
});

import { expect, test } from 'vitest';
import { bars } from './bars';

const DAY = 86_400_000;
const HOUR = 3_600_000;
const now = Date.UTC(2026, 10, 30);
const all = (made: { all: number }[]): number => made.reduce((sum, bar) => sum + bar.all, 0);

test('times without calls are there as well, and outcomes of one tone add up', () => {
    const made = bars([{ at: now, disposition: 'answered', calls: 3 }, { at: now - 3 * DAY, disposition: 'missed', calls: 1 }, { at: now - 3 * DAY, disposition: 'failed', calls: 1 }], DAY);
    expect(made.map((bar) => bar.all)).toEqual([2, 0, 0, 3]);
    expect(made[0]!.by).toEqual({ good: 0, warn: 0, bad: 2, rest: 0 });
    expect(bars([], DAY)).toEqual([]);
});

test('one call of long ago takes no other out of the picture', () => {
    for (const years of [7, 26, 56]) {
        const made = bars([{ at: now - years * 365 * DAY, disposition: 'answered', calls: 1 }, { at: now, disposition: 'answered', calls: 900 }], DAY);
        expect(made.length).toBeLessThanOrEqual(400);
        expect(all(made)).toBe(901);
        expect(made.at(-1)!.all).toBe(900);
        expect(made.at(-1)!.at).toBeLessThanOrEqual(now);
        expect(made.at(-1)!.end).toBeGreaterThan(now);
    }
});

test('a day of 23 or 25 hours is one bar', () => {
    for (const shift of [-HOUR, HOUR]) {
        const made = bars([{ at: now, disposition: 'answered', calls: 1 }, { at: now + 2 * DAY + shift, disposition: 'answered', calls: 1 }], DAY);
        expect(made.map((bar) => bar.all)).toEqual([1, 0, 1]);
    }
});

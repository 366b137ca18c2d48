// Counts of calls by time and outcome, as bars that leave no time out. Pure.
import { tone, type Tone } from './columns';

/** `at`: when it begins, in epoch milliseconds; of a day, give or take the hour by which a clock was changed. */
export interface Bar {
    at: number;
    end: number;
    by: Record<Tone, number>;
    all: number;
}
export interface Counted {
    at: number;
    disposition: string;
    calls: number;
}
/** More could not be told apart. One call that a telephone system dated years ago makes the axis as long. */
const MOST = 400;

export function bars(counted: Counted[], step: number): Bar[] {
    if (!counted.length) return [];
    const times = counted.map(({ at }) => at);
    const first = times.reduce((a, b) => Math.min(a, b));
    const steps = (at: number): number => Math.round((at - first) / step);
    const last = steps(times.reduce((a, b) => Math.max(a, b)));
    const joined = Math.ceil((last + 1) / MOST);
    const made = Array.from({ length: Math.floor(last / joined) + 1 }, (_, index): Bar => {
        const at = first + index * joined * step;
        return { at, end: at + joined * step, by: { good: 0, warn: 0, bad: 0, rest: 0 }, all: 0 };
    });
    for (const { at, disposition, calls } of counted) {
        const bar = made[Math.floor(steps(at) / joined)]!;
        bar.by[tone(disposition)] += calls;
        bar.all += calls;
    }
    return made;
}

// Calls of single hours, as the server counts them, put together by weekday and hour of a zone. Pure.
import { formatter, isoDay } from '../app/format';

export interface Hour {
    /** When it begins, in epoch milliseconds. */
    at: number;
    calls: number;
}
export interface Cell {
    /** From 0, Monday. */
    weekday: number;
    hour: number;
    calls: number;
    /** The hours that are in it, newest first. */
    hours: Hour[];
}

/** 7 × 24 cells, by weekday, then hour. */
export function week(hours: Hour[], zone: string): Cell[] {
    const cells = Array.from({ length: 168 }, (_, at): Cell => ({ weekday: Math.floor(at / 24), hour: at % 24, calls: 0, hours: [] }));
    const clock = formatter(zone, { hour: '2-digit', hourCycle: 'h23' }, 'en');
    for (const each of hours) {
        const date = new Date(each.at);
        const weekday = (new Date(`${isoDay(date, zone)}T00:00:00Z`).getUTCDay() + 6) % 7;
        const cell = cells[weekday * 24 + (Number(clock.format(date)) % 24)]!;
        cell.calls += each.calls;
        cell.hours.push(each);
    }
    for (const cell of cells) cell.hours.sort((a, b) => b.at - a.at);
    return cells;
}

export const WAITS = [5, 10, 20, 30, 60, 120, 300, 600];
export interface Bin {
    /** Longer than, in seconds; null: from 0. */
    from: number | null;
    /** Up to, included; null: any longer. */
    to: number | null;
    by: Record<string, number>;
    calls: number;
}

/** How many of each outcome waited how long, of counts of those who waited so long at the most. */
export function waits(groups: Record<string, string | number | null>[]): Bin[] {
    const edges = [...WAITS.map((seconds) => `waited_${seconds}_s`), 'waited'];
    return edges.map((edge, at): Bin => {
        const by: Record<string, number> = {};
        for (const group of groups) by[String(group['disposition'])] = Number(group[edge]) - (at ? Number(group[edges[at - 1]!]) : 0);
        return { from: at ? WAITS[at - 1]! : null, to: WAITS[at] ?? null, by, calls: Object.values(by).reduce((sum, each) => sum + each, 0) };
    });
}

import { expect, test } from 'vitest';
import { WAITS, waits, week } from './week';

test('an hour counts on the weekday and at the hour of the zone', () => {
    const at = Date.parse('2026-11-01T23:00:00Z'); // Sunday; in Tokyo Monday, 8:00
    const cells = week([{ at, calls: 3 }, { at: at + 7 * 86_400_000, calls: 2 }], 'Asia/Tokyo');
    expect(cells).toHaveLength(168);
    const found = cells.filter((cell) => cell.calls);
    expect(found).toEqual([{ weekday: 0, hour: 8, calls: 5, hours: [{ at: at + 7 * 86_400_000, calls: 2 }, { at, calls: 3 }] }]);
    expect(week([{ at, calls: 1 }], 'UTC').find((cell) => cell.calls)).toMatchObject({ weekday: 6, hour: 23 });
});

test('those who waited so long at the most become those who waited from here to there', () => {
    const upTo = Object.fromEntries([5, 10, 20, 30, 60, 120, 300, 600].map((seconds) => [`waited_${seconds}_s`, Math.min(seconds, 100)]));
    const bins = waits([{ disposition: 'answered', ...upTo, waited: 107 }]);
    expect(bins).toHaveLength(WAITS.length + 1);
    expect(bins.map((bin) => bin.calls)).toEqual([5, 5, 10, 10, 30, 40, 0, 0, 7]);
    expect([bins[0]!.from, bins[0]!.to, bins[8]!.from, bins[8]!.to]).toEqual([null, 5, 600, null]);
});

import { describe, expect, test, vi } from 'vitest';
import de from '../lang/de';
import es from '../lang/es';
import { PRESETS, instantOf, read, spanOf } from './dates';

const NOW = new Date('2026-11-29T10:20:30Z'); // a Sunday
const LONDON = 'Europe/London';

const named = (words: Record<string, unknown>): Record<string, string> => Object.fromEntries(PRESETS.map((preset) => [String(words[`preset.${preset}`]).toLowerCase(), preset]));
const german = { language: 'de', named: named(de), to: de['date.to'] };
const spanish = { language: 'es', named: named(es), to: es['date.to'] };

describe('presets', () => {
    test.each([
        ['today', '2026-11-29', '2026-11-29'],
        ['yesterday', '2026-11-28', '2026-11-28'],
        ['last_7_days', '2026-11-23', '2026-11-29'],
        ['this_week', '2026-11-23', '2026-11-29'],
        ['last_week', '2026-11-16', '2026-11-22'],
        ['this_month', '2026-11-01', '2026-11-29'],
        ['last_month', '2026-10-01', '2026-10-31'],
    ] as const)('%s', (preset, start_date, end_date) => {
        expect(spanOf(preset, LONDON, NOW)).toEqual({ start_date, end_date });
    });
    test('a day is that of the zone', () => {
        expect(spanOf('today', 'Pacific/Auckland', new Date('2026-11-29T12:00:00Z')).start_date).toBe('2026-11-30');
    });
});

describe('typed', () => {
    test.each([
        ['yesterday', 'yesterday', ''],
        ['Last 7 days', 'last_7_days', ''],
        ['1 Nov', '2026-11-01', '2026-11-01'],
        ['Nov 1', '2026-11-01', '2026-11-01'],
        ['24 December', '2025-12-24', '2025-12-24'],
        ['2026-11-01', '2026-11-01', '2026-11-01'],
        ['1.11.2026', '2026-11-01', '2026-11-01'],
        ['1 Nov – 5 Nov', '2026-11-01', '2026-11-05'],
        ['1 Nov - 5 Nov 2026', '2026-11-01', '2026-11-05'],
        ['2026-11-01 to 2026-11-05', '2026-11-01', '2026-11-05'],
        ['1 Nov 9:00–12:00', '2026-11-01T09:00:00Z', '2026-11-01T12:00:00Z'],
        ['1 Jul 9-12', '2026-07-01T08:00:00Z', '2026-07-01T11:00:00Z'],
        ['9-11pm', '2026-11-29T21:00:00Z', '2026-11-29T23:00:00Z'],
        ['yesterday 14:30', '2026-11-28T14:30:00Z', '2026-11-28T15:30:00Z'],
    ])('%s', (text, start_date, end_date) => {
        expect(read(text, LONDON, NOW)).toEqual({ start_date, end_date });
    });
    test.each(['', 'soon', '31 Feb', '2026-13-01', '5 Nov - 1 Nov', '25:00-26:00'])('%j is not understood', (text) => {
        expect(read(text, LONDON, NOW)).toBeNull();
    });
    test('months in the language of the page', () => {
        expect(read('3. März', 'Europe/Berlin', NOW, german)).toEqual({ start_date: '2026-03-03', end_date: '2026-03-03' });
    });
    test.each([
        ['Gestern', german, 'yesterday', ''],
        ['letzte 7 Tage', german, 'last_7_days', ''],
        ['gestern 9:00-12:00', german, '2026-11-28T09:00:00Z', '2026-11-28T12:00:00Z'],
        ['1. Nov bis 5. Nov', german, '2026-11-01', '2026-11-05'],
        ['yesterday', german, 'yesterday', ''],
        ['ayer', spanish, 'yesterday', ''],
        ['1 de noviembre a 5 de noviembre de 2026', spanish, '2026-11-01', '2026-11-05'],
    ])('%s', (text, said, start_date, end_date) => {
        expect(read(text, LONDON, NOW, said)).toEqual({ start_date, end_date });
    });
});

describe('clock changes', () => {
    test('a time that is skipped is the one after', () => {
        expect(instantOf('2026-03-29', 1, 30, LONDON)).toBe('2026-03-29T01:30:00Z');
    });
    test('of a time that comes twice, the first', () => {
        expect(instantOf('2026-10-25', 1, 30, LONDON)).toBe('2026-10-25T00:30:00Z');
    });
    test('a year of days needs a formatter of the zone once', () => {
        const made = vi.spyOn(Intl, 'DateTimeFormat');
        for (let day = 0; day < 365; day++) instantOf(new Date(Date.UTC(2026, 0, 1 + day)).toISOString().slice(0, 10), 0, 0, 'Asia/Tokyo');
        expect(made.mock.calls.length).toBe(1);
        made.mockRestore();
    });
});

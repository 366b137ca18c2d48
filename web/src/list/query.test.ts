import { expect, test } from 'vitest';
import { asked, changed, chips, found, without } from './query';

const of = (text: string): URLSearchParams => new URLSearchParams(text);
const NOW = new Date('2026-11-29T10:20:30Z');

test('what only the page knows is not sent, and words of time become days', () => {
    const sent = asked(of('start_date=yesterday&columns=started_at,from&type=inbound'), 'Europe/London', NOW);
    expect(sent.toString()).toBe('start_date=2026-11-28&type=inbound&timezone=Europe%2FLondon&end_date=2026-11-28');
});

test('what nobody knows is sent, so that the API says so', () => {
    expect(asked(of('quee_ids=5'), 'UTC', NOW).get('quee_ids')).toBe('5');
});

test('the days are one chip', () => {
    expect(chips(of('type=inbound&start_date=a&end_date=b&timezone=UTC&columns=x'))).toEqual(['start_date', 'type']);
    expect(without(of('start_date=a&end_date=b&type=inbound'), 'start_date').toString()).toBe('type=inbound');
});

test('an empty value takes a parameter away', () => {
    expect(changed(of('type=inbound&from=1'), { type: '', to: '2' }).toString()).toBe('from=1&to=2');
});

test.each([
    ['+44 7700 900412', { digits: '447700900412' }],
    ['07700 900412', { digits: '7700900412' }],
    ['0044 7700 900412', { digits: '447700900412' }],
    ['+49 (0)30 1234567', { digits: '49301234567' }],
    ['2010', { digits: '2010' }],
    ['01A0F15B38AD89C29D43AEF423494526', { uuid: '01a0f15b-38ad-89c2-9d43-aef423494526' }],
    ['http://host/cdr/01a0f15b-38ad-89c2-9d43-aef423494526?timezone=UTC', { uuid: '01a0f15b-38ad-89c2-9d43-aef423494526' }],
    ['Priya', { words: 'Priya' }],
    ['  ', null],
])('in the search box, %j is %j', (text, expected) => {
    expect(found(text)).toEqual(expected);
});

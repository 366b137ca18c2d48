import { expect, test } from 'vitest';
import { zoneOf } from './format';

const ZONES = ['UTC', 'America/New_York', 'Asia/Calcutta', 'Europe/Berlin'];

test.each([
    ['Europe/Berlin', 'Europe/Berlin'],
    ['europe/berlin', 'Europe/Berlin'],
    ['berlin', 'Europe/Berlin'],
    [' new york ', 'America/New_York'],
    ['utc', 'UTC'],
    ['Asia/Kolkata', 'Asia/Kolkata'],
    ['Atlantis', null],
    ['+02:00', null],
    ['', null],
])('%s is the zone %s', (typed, zone) => {
    expect(zoneOf(typed, ZONES)).toBe(zone);
});

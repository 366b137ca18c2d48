import { expect, test } from 'vitest';
import type { Cdr } from '../app/api';
import { learn } from '../app/format';
import { COLUMNS, customer, party } from './columns';

const record = (type: string, from: string | null, to: string | null): Cdr => ({ type, from, to }) as Cdr;

test('the id of a messenger is no number, though its digits could be one', () => {
    learn({ '447700900123': '+44 7700 900123' });
    const told = record('telegram', '447700900123', '100442079460191');
    const from = COLUMNS.find((column) => column.id === 'from')!;
    expect(from.text(told)).toBe('ID 447700900123');
    expect(from.copied!(told)).toBe('447700900123');
    expect(party(record('facebook', '24****12', null), '24****12')).toBe('ID 24****12');
    expect(from.text(record('whatsapp', '447700900123', null))).toBe('+44 7700 900123');
});

test('the customer is who was called where the centre called', () => {
    expect(customer(record('inbound', '1', '2'))).toBe('1');
    expect(customer(record('dialer', '1', '2'))).toBe('2');
    expect(customer(record('HLR_lookup', null, '2'))).toBe('2');
});

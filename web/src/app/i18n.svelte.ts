// What the page says. A language is one file in `lang/`; English comes with the page, others when they are chosen.
import en from '../lang/en';

export type Words = { [K in keyof typeof en]: (typeof en)[K] extends string ? string : Plural };
export type Key = keyof typeof en;
export type Plural = { one: string; other: string };

export const LANGUAGES = { en: 'English', es: 'Español', de: 'Deutsch' } as const;
export type Language = keyof typeof LANGUAGES;
const KEY = 'calldex.language';

const said = $state<{ language: Language; words: Words }>({ language: 'en', words: en });
let plurals = new Intl.PluralRules('en');

const LOAD: Record<Language, () => Promise<{ default: Words }>> = {
    en: async () => ({ default: en }),
    es: () => import('../lang/es'),
    de: () => import('../lang/de'),
};

function wanted(): Language {
    const kept = localStorage.getItem(KEY);
    for (const name of [kept, ...navigator.languages]) {
        const language = name?.slice(0, 2).toLowerCase();
        if (language && language in LANGUAGES) return language as Language;
    }
    return 'en';
}

/** Take the language the person chose on this machine, else the browser's first that there is. */
export async function speak(choice?: Language): Promise<void> {
    if (choice) localStorage.setItem(KEY, choice);
    const language = choice ?? wanted();
    said.words = (await LOAD[language]()).default;
    said.language = language;
    plurals = new Intl.PluralRules(language);
    document.documentElement.lang = language;
    document.documentElement.dir = said.words['language.direction'];
}

export function language(): Language {
    return said.language;
}

/** How dates and figures are written: the way of the person's own country where it speaks the page's language. */
export function locale(): string {
    return navigator.languages?.find((name) => name.startsWith(`${said.language}-`)) ?? (said.language === 'en' ? 'en-GB' : said.language);
}

/** A text with its `{places}` filled; of one with a plural, the form that `n` asks for. */
export function t(key: Key, values: Record<string, string | number> = {}): string {
    const entry: string | Plural = said.words[key];
    const text = typeof entry === 'string' ? entry : entry[plurals.select(Number(values['count'] ?? values['n'])) === 'one' ? 'one' : 'other'];
    return text.replace(/\{(\w+)\}/g, (place, name: string) => String(values[name] ?? place));
}

/** A text for a word of the API, where the language has one. */
export function known(kind: string, value: string): string | null {
    const entry = (said.words as Record<string, string | Plural>)[`${kind}.${value}`];
    return typeof entry === 'string' ? entry : null;
}

/** What a word of the API is called; the word itself, made readable, where the language has none. */
export function word(kind: string, value: string): string {
    const entry = known(kind, value);
    if (entry !== null) return entry;
    const plain = value.replaceAll('_', ' ');
    return plain.charAt(0).toUpperCase() + plain.slice(1);
}

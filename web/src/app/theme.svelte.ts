// Light or dark: what the person chose on this machine, else what the machine says.
export type Theme = 'system' | 'light' | 'dark';

const KEY = 'calldex.theme';
const dark = matchMedia('(prefers-color-scheme: dark)');

export const theme = $state<{ choice: Theme }>({ choice: read() });

function read(): Theme {
    const kept = localStorage.getItem(KEY);
    return kept === 'light' || kept === 'dark' ? kept : 'system';
}

function apply(): void {
    const chosen = theme.choice === 'system' ? (dark.matches ? 'dark' : 'light') : theme.choice;
    document.documentElement.dataset['theme'] = chosen;
}

export function dress(): void {
    apply();
    dark.addEventListener('change', apply);
}

export function wear(choice: Theme): void {
    theme.choice = choice;
    localStorage.setItem(KEY, choice);
    apply();
}

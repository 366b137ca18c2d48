// The page begins here: the theme, then what the address names.
import { mount } from 'svelte';
import './app/tokens.css';
import App from './app/App.svelte';
import { speak } from './app/i18n.svelte';
import { dress } from './app/theme.svelte';

// A part of the page that is not there any more: a newer version is served, so take that.
addEventListener('vite:preloadError', () => location.reload());

dress();
await speak();
mount(App, { target: document.getElementById('app')! });

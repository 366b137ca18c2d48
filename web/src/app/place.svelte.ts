// Where the person is. The address is the only state: filters, columns, widths, zone, open record.

class Place {
    path = $state(location.pathname);
    search = $state(location.search);
    params = $derived(new URLSearchParams(this.search));
    /** How often the address where one is was chosen once more, to look again. */
    again = $state(0);

    /** What has to be known when somebody comes back here: where they had scrolled to, and what had the focus. */
    keep: (() => unknown) | null = null;
    #kept: unknown = (history.state as { kept?: unknown } | null)?.kept ?? null;

    /** Go to an address of the page; `replace` leaves no step to come back to. */
    go(to: string, replace = false): void {
        if (to === location.pathname + location.search) return;
        this.leave();
        history[replace ? 'replaceState' : 'pushState'](null, '', to);
        this.#kept = null;
        this.read();
    }

    /** Note where the person is in the step that they leave. */
    leave(): void {
        if (this.keep) history.replaceState({ kept: this.keep() }, '');
    }

    /** What was kept of the step that somebody came back to, once. */
    takeKept(): unknown {
        const kept = this.#kept;
        this.#kept = null;
        return kept;
    }

    back(event: PopStateEvent): void {
        this.#kept = (event.state as { kept?: unknown } | null)?.kept ?? null;
        this.read();
    }

    read(): void {
        this.path = location.pathname;
        this.search = location.search;
    }
}

export const place = new Place();
addEventListener('popstate', (event) => place.back(event));
addEventListener('pagehide', () => place.leave());

/** Links within the page do not load it again; with a modifier key they open as the browser does. */
export function follow(event: MouseEvent): void {
    const link = (event.target as Element).closest?.('a');
    if (!link || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey) return;
    const href = link.getAttribute('href');
    if (!href?.startsWith('/') || link.target || link.hasAttribute('download') || /^\/(api|docs\/plain|openapi|openid|recordings)\b/.test(href)) return;
    event.preventDefault();
    if (href === location.pathname + location.search) place.again++;
    else place.go(href);
}

/** Parameters as an address writes them: commas and colons stay readable. */
export function written(params: URLSearchParams): string {
    const text = params.toString().replaceAll('%2C', ',').replaceAll('%3A', ':');
    return text ? `?${text}` : '';
}

// The rows of a walk: a bounded number of pages of it are kept, and any page can be asked for by the first page's token.
import { ApiError, SCOPE_CHANGED, aborted, page as fetchPage, type Cdr } from '../app/api';

export const PER_PAGE = 100;
const KEPT = 40;
const AT_ONCE = 2;
/** What may pass by itself. */
const PASSING = [0, 429, 502, 503, 504];
/** A walk ends when its asker may see something else by now, and after some days: another one takes its place. */
const OVER = [SCOPE_CHANGED, 'token_expired'];

export class Rows {
    /** Grows with each page that comes: what reads rows, reads this. */
    version = $state(0);
    /** Grows with each walk whose first page comes: what is told of the whole set is made anew then. */
    walk = $state(0);
    total = $state<number | null>(null);
    /** The last page has come, with no token behind it. */
    ended = $state(false);
    loading = $state(false);
    problem = $state<ApiError | null>(null);
    /** What the rows that are shown were asked with. */
    query = $state('');

    /** How many walks were begun. */
    begun = 0;

    #pages = new Map<number, Cdr[]>();
    #asking = new Map<number, AbortController>();
    #wanted: number[] = [];
    #token: string | null = null;
    #first: AbortController | null = null;
    #tries = 0;
    #later: ReturnType<typeof setTimeout> | undefined;

    /** Begin a walk. The rows of the one before stay until its first page has come. */
    async begin(query: string): Promise<void> {
        this.#stop();
        this.begun++;
        const asking = (this.#first = new AbortController());
        this.loading = true;
        try {
            const page = await fetchPage(`/api/v2/cdr?${query}&per_page=${PER_PAGE}`, { signal: asking.signal });
            this.#pages = new Map([[0, page.records]]);
            this.#token = page.search_token;
            this.total = page.total;
            this.ended = page.search_token === null;
            this.problem = null;
            this.query = query;
            this.#tries = 0;
            this.walk++;
            this.version++;
        } catch (error) {
            if (aborted(error)) return;
            if (!(error instanceof ApiError)) throw error;
            this.problem = error;
            if (error.status === 403) this.#forget();
            this.#again(error, () => this.begin(query));
        } finally {
            if (this.#first === asking) this.loading = false;
        }
    }

    row(index: number): Cdr | undefined {
        return this.#pages.get(Math.floor(index / PER_PAGE))?.[index % PER_PAGE];
    }

    /** Where a record is among the rows that are kept; -1 if it is not. */
    find(uuid: string): number {
        for (const [page, records] of this.#pages) {
            const at = records.findIndex((record) => record.uuid === uuid);
            if (at >= 0) return page * PER_PAGE + at;
        }
        return -1;
    }

    /** These rows are in sight: ask for what is missing, and no longer for what is not. */
    want(first: number, last: number): void {
        if (!this.total) return;
        const from = Math.floor(Math.max(0, first) / PER_PAGE);
        const to = Math.floor(Math.min(this.total - 1, last) / PER_PAGE);
        const ahead = to + 1 <= Math.floor((this.total - 1) / PER_PAGE) ? [to + 1] : [];
        const pages = [...Array.from({ length: to - from + 1 }, (_, at) => from + at), ...ahead];
        for (const page of pages) this.#touch(page);
        this.#wanted = pages.filter((page) => !this.#pages.has(page));
        for (const [page, asking] of this.#asking) {
            if (this.#wanted.includes(page)) continue;
            asking.abort();
            this.#asking.delete(page);
        }
        this.#next();
    }

    #touch(page: number): void {
        const kept = this.#pages.get(page);
        if (!kept) return;
        this.#pages.delete(page);
        this.#pages.set(page, kept);
    }

    #next(): void {
        for (const page of this.#wanted) {
            if (this.#asking.size >= AT_ONCE) return;
            if (!this.#asking.has(page)) void this.#get(page);
        }
    }

    async #get(page: number): Promise<void> {
        const asking = new AbortController();
        this.#asking.set(page, asking);
        try {
            const token = this.#token ? `&search_token=${encodeURIComponent(this.#token)}` : '';
            const path = `/api/v2/cdr?${this.query}&per_page=${PER_PAGE}&page=${page + 1}${token}`;
            const found = await fetchPage(path, { signal: asking.signal });
            if (asking.signal.aborted) return;
            this.#pages.set(page, found.records);
            if (found.search_token === null) this.ended = true;
            for (const old of this.#pages.keys()) {
                if (this.#pages.size <= KEPT) break;
                if (old !== 0) this.#pages.delete(old);
            }
            this.problem = null;
            this.#tries = 0;
            this.version++;
        } catch (error) {
            if (aborted(error)) return;
            if (!(error instanceof ApiError)) throw error;
            if (OVER.includes(error.code)) return void this.begin(this.query);
            this.problem = error;
            this.#again(error, () => this.#next());
            return;
        } finally {
            if (this.#asking.get(page) === asking) this.#asking.delete(page);
        }
        this.#wanted = this.#wanted.filter((each) => each !== page);
        this.#next();
    }

    /** What may pass by itself is tried again: after the time the server names, else ever later. */
    #again(error: ApiError, work: () => unknown): void {
        if (!PASSING.includes(error.status)) return;
        const seconds = Math.max(error.retryAfter, Math.min(30, 2 ** this.#tries++));
        this.#later = setTimeout(() => void work(), seconds * 1000);
    }

    /** Go on where it stopped: with the walk that is wanted, or with what is missing of it. */
    retry(query: string): void {
        const passes = PASSING.includes(this.problem?.status ?? 0);
        clearTimeout(this.#later);
        this.problem = null;
        if (this.total === null || this.query !== query || !passes) void this.begin(query);
        else this.#next();
    }

    /** What somebody may not see any more is not left on their screen. */
    #forget(): void {
        this.#pages.clear();
        this.total = null;
        this.version++;
    }

    #stop(): void {
        clearTimeout(this.#later);
        this.#first?.abort();
        for (const asking of this.#asking.values()) asking.abort();
        this.#asking.clear();
        this.#wanted = [];
    }
}

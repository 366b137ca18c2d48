// Exports that the server makes in the background.
export const EXPORTS = '/api/v2/cdr/exports';
/** From so many records on, a file is rather made there than read here: it would be held in this tab's memory. */
export const LARGE = 100_000;

export interface Export {
    id: string;
    state: 'queued' | 'running' | 'done' | 'failed';
    format: string;
    made_by: string;
    schedule: number | null;
    created_at: string;
    records: number;
    total: number | null;
    bytes: number;
    reason: string | null;
    link: string | null;
}

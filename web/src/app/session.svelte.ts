// Who is signed in, and what they may. The server decides on every request; this only saves asking for what it refuses.
import { ApiError, ask, onRefused, send } from './api';

export interface User {
    email: string;
    name: string;
    account: string;
    role: string | null;
    groups: string[];
    permissions: string[];
    timezone: string;
    expires_at: string;
    /** The e-mail address of the user as whom they see. */
    seen_as: string | null;
}

class Session {
    user = $state<User | null>(null);
    /** Somebody was signed in here, and is not any more: the page stays and asks for the password in place. */
    over = $state(false);
    /** Nobody is signed in. */
    none = $state(false);
    problem = $state<ApiError | null>(null);

    async find(): Promise<void> {
        this.problem = null;
        try {
            this.user = await ask<User>('/api/session');
            this.none = this.over = false;
        } catch (error) {
            if (error instanceof ApiError && error.status === 401) this.none = true;
            else if (error instanceof ApiError) this.problem = error;
            else throw error;
        }
    }

    /** Another tab, or whoever administers, may have changed who is signed in here and what they may. */
    async look(): Promise<void> {
        const before = this.user;
        if (!before) return;
        try {
            const found = await ask<User>('/api/session');
            if (found.email !== before.email || found.seen_as !== before.seen_as) return location.reload();
            if (String(found.permissions) !== String(before.permissions)) this.user = found;
            this.over = false;
        } catch (error) {
            if (!(error instanceof ApiError)) throw error;
            if (error.status === 401) this.over = true;
        }
    }

    /** Sign in by the code of a link that a demo printed. */
    async beginWith(code: string): Promise<void> {
        this.user = await send<User>('POST', '/api/session/code', { code });
        this.none = this.over = false;
    }

    async begin(email: string, password: string): Promise<void> {
        const before = this.user?.email;
        const user = await send<User>('POST', '/api/session', { email, password });
        if (before && before !== user.email) {
            // Somebody else: nothing of what the one before them saw stays in the tab.
            location.reload();
            return;
        }
        this.user = user;
        this.none = this.over = false;
    }

    /** See as another user; every tab begins anew: nothing of what was seen before may stay. */
    async seeAs(user: number): Promise<void> {
        await send('PUT', '/api/session/as', { user });
        location.assign('/');
    }
    async seeAsOneself(): Promise<void> {
        await send('DELETE', '/api/session/as');
        location.assign('/');
    }

    async end(): Promise<void> {
        await send('DELETE', '/api/session');
        location.assign('/signin');
    }
}

export const session = new Session();
onRefused(
    () => {
        if (session.user) session.over = true;
        else session.none = true;
    },
    () => void session.look(),
);
addEventListener('focus', () => void session.look());

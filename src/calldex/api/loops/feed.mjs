import { existsSync } from "node:fs";
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";

const { CALLDEX_URL: url, CALLDEX_KEY: key } = process.env;
await mkdir("changes", { recursive: true });
let [n, cursor] = existsSync("changes/next") ? JSON.parse(await readFile("changes/next", "utf8")) : [0, ""];
for (let more = true; more; ) {
    const query = new URLSearchParams({ type: "inbound", limit: "10000", cursor });
    const reply = await fetch(`${url}/api/v2/cdr/changes?${query}`, { headers: { Authorization: `Bearer ${key}` } });
    if (!reply.ok) throw new Error(await reply.text());
    const page = await reply.json();
    await writeFile("changes/half", JSON.stringify(page.changes));
    await rename("changes/half", `changes/${n}.json`);
    [n, cursor, more] = [n + 1, page.next_cursor, page.has_more];
    await writeFile("changes/next.half", JSON.stringify([n, cursor]));
    await rename("changes/next.half", "changes/next");
}

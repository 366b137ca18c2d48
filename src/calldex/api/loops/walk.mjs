import { open, rename } from "node:fs/promises";

const { CALLDEX_URL: url, CALLDEX_KEY: key } = process.env;
const file = await open("inbound.half", "w");
for (let token = ""; token !== null; ) {
    const query = new URLSearchParams({ type: "inbound", per_page: "1000", search_token: token });
    const reply = await fetch(`${url}/api/v2/cdr?${query}`, { headers: { Authorization: `Bearer ${key}` } });
    if (!reply.ok) throw new Error(await reply.text());
    const page = await reply.json();
    for (const record of page.records) await file.write(`${JSON.stringify(record)}\n`);
    token = page.search_token;
}
await file.close();
await rename("inbound.half", "inbound.jsonl");

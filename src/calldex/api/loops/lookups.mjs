import { rename, writeFile } from "node:fs/promises";

const { CALLDEX_URL: url, CALLDEX_KEY: key } = process.env;
const names = {};
for (const name of ["agents", "queues", "teams", "campaigns", "wrapup_codes"]) {
    const reply = await fetch(`${url}/api/v2/cdr/${name}`, { headers: { Authorization: `Bearer ${key}` } });
    if (!reply.ok) throw new Error(await reply.text());
    names[name] = await reply.json();
}
await writeFile("names.half", JSON.stringify(names));
await rename("names.half", "names.json");

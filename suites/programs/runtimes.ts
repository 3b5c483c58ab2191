/** Programs with runtimes of their own: esbuild (Go) bundles a project, node (with its JIT compiler) runs programs. */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { cvm, ensureImage, run } from "../machine.ts";
import { OUTPUT } from "../places.ts";
import type { Counts } from "../result.ts";

const TIMEOUT = 600;
/** Modules of the project that is bundled. */
const MODULES = { small: 20, whole: 300 } as const;

/** Writes modules that import each other, half of them TypeScript, and one that prints what all of them come to. */
function writeProject(folder: string, count: number): void {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(join(folder, "part"), { recursive: true });
  const kind = (index: number): string => (index % 2 === 0 ? "ts" : "js");
  for (let index = 0; index < count; index++) {
    const others = [index * 2 + 1, index * 2 + 2].filter((other) => other < count);
    const imports = others.map((other) => `import { value as v${other}, type as t${other} } from "./m${other}.${kind(other)}";\n`);
    const typed = index % 2 === 0;
    writeFileSync(
      join(folder, "part", `m${index}.${kind(index)}`),
      `${imports.join("")}${typed ? `interface Named { readonly name: string }\nconst own: Named = { name: "m${index}" };\n` : `const own = { name: "m${index}" };\n`}` +
        `export const value${typed ? ": number" : ""} = [${others.map((other) => `v${other}`).join(", ")}].reduce((a, b) => (a * 31 + b) % 1000003, ${index});\n` +
        `export const type = \`\${own.name}${others.map((other) => `,\${t${other}}`).join("")}\`;\n` +
        `export function nobodyUses${index}() { return "${"unused ".repeat(20)}"; }\n`,
    );
  }
  writeFileSync(join(folder, "main.ts"), `import { value, type } from "./part/m0.ts";\nconsole.log(value, type.length);\n`);
}

/** The value that main.ts prints first. */
function valueOf(index: number, count: number): number {
  const others = [index * 2 + 1, index * 2 + 2].filter((other) => other < count);
  return others.reduce((value, other) => (value * 31 + valueOf(other, count)) % 1_000_003, index);
}

export async function runEsbuild(small: boolean, say: (text: string) => void): Promise<Counts> {
  await ensureImage("esbuild", ["esbuild"], say);
  const folder = join(OUTPUT, "bundle");
  const count = small ? MODULES.small : MODULES.whole;
  writeProject(folder, count);
  const failed: string[] = [];
  const ways: Readonly<Record<string, readonly string[]>> = {
    plain: ["--format=esm"],
    minified: ["--minify", "--sourcemap"],
    "old language": ["--target=es2016", "--format=cjs"],
  };
  for (const [name, options] of Object.entries(ways)) {
    const out = `${name.replace(" ", "-")}.mjs`;
    const bundle = ["esbuild", "--bundle", "main.ts", "--log-level=warning", ...options, `--outfile=${out}`];
    const ended = await cvm(["run", "--rm", "-v", `${folder}:/project`, "-w", "/project", "esbuild", ...bundle], { timeout: TIMEOUT });
    say(`esbuild ${name}: ${count + 1} modules in ${ended.seconds.toFixed(1)} s`);
    if (ended.status !== 0 || ended.output !== "") failed.push(`${name}: ended with ${ended.status}: ${ended.output.trim().slice(0, 200)}`);
    else {
      const { output } = await run(process.execPath, [join(folder, out)], { timeout: 60 });
      if (Number(output.split(" ")[0]) !== valueOf(0, count)) failed.push(`${name}: the bundle prints ${output.trim().slice(0, 100)}`);
    }
  }
  return { run: Object.keys(ways).length, passed: Object.keys(ways).length - failed.length, skipped: 0, failed };
}

/** Programs for `node -e`, whose output must be this machine's. */
const NODE: Readonly<Record<string, string>> = {
  "numbers, hot": `let s = 0; for (let i = 1; i < 3e6; i++) s = (s + Math.sqrt(i) * (i % 7)) % 1e9; console.log(s, Math.sin(1e6), 0.1 + 0.2, 2 ** -1074);`,
  "objects and shapes": `class A { constructor(x) { this.x = x; } get y() { return this.x * 2; } } let t = 0;
    for (let i = 0; i < 3e5; i++) { const a = i % 3 ? new A(i) : { x: i, y: 1, z: 2 }; t = (t + a.y) | 0; } console.log(t);`,
  "strings and regular expressions": `const s = "the quick brown fox ".repeat(5000); console.log(s.replace(/(\\w+) (\\w+)/g, "$2 $1").length, s.match(/o\\w/g).length,
    [..."añ€😀"].map((c) => c.codePointAt(0)).join(), "ß".toUpperCase(), "b,a".split(",").sort().join());`,
  "big integers and maps": `let f = 1n; for (let i = 1n; i <= 300n; i++) f *= i; const m = new Map(); for (let i = 0; i < 1e5; i++) m.set("k" + (i * 7919) % 5003, i);
    console.log(String(f % 1000000007n), m.size, [...m.values()].reduce((a, b) => (a + b) % 1e9));`,
  "JSON, sorting, typed arrays": `const a = Array.from({ length: 2e4 }, (_, i) => ({ i, k: (i * 48271) % 65537 })); a.sort((x, y) => x.k - y.k || x.i - y.i);
    const t = JSON.parse(JSON.stringify(a)); const f = new Float32Array(t.map((o) => o.k / 3)); console.log(t[777].i, f.reduce((x, y) => x + y), JSON.stringify(t).length);`,
  "promises, timers, streams": `const { pipeline, Readable, Transform } = require("node:stream"); const wait = (ms) => new Promise((r) => setTimeout(r, ms, ms));
    (async () => { console.log(await Promise.all([wait(30), wait(10), wait(20)])); let n = 0; for await (const c of Readable.from(["a", "b"]).pipe(new Transform({ transform: (c, _, d) => d(null, String(c).toUpperCase()) }))) n += c.length;
    setImmediate(() => console.log("immediate", n)); process.nextTick(() => console.log("tick")); queueMicrotask(() => console.log("micro")); })();`,
  "crypto and compression": `const c = require("node:crypto"), z = require("node:zlib"); const b = Buffer.alloc(300000, "abcdefg"); console.log(c.createHash("sha256").update(b).digest("hex"),
    c.createHmac("md5", "k").update("x").digest("hex"), z.gunzipSync(z.gzipSync(b)).equals(b), z.inflateSync(z.deflateSync(b, { level: 9 })).length, c.pbkdf2Sync("p", "s", 1000, 16, "sha1").toString("hex"));`,
  "a server and its client": `const http = require("node:http"); const s = http.createServer((q, r) => { let n = 0; q.on("data", (d) => (n += d.length)); q.on("end", () => r.end(q.method + q.url + n)); });
    s.listen(0, "127.0.0.1", () => { const q = http.request({ port: s.address().port, method: "POST", path: "/x?y" }, (r) => { let t = ""; r.on("data", (d) => (t += d)); r.on("end", () => { console.log(r.statusCode, t); s.close(); }); }); q.end(Buffer.alloc(200000)); });`,
  "workers with shared memory": `const { Worker } = require("node:worker_threads"); const m = new SharedArrayBuffer(8), a = new Int32Array(m); let left = 3;
    for (let i = 0; i < 3; i++) new Worker("const { workerData } = require('node:worker_threads'); const a = new Int32Array(workerData); for (let i = 0; i < 20000; i++) Atomics.add(a, 0, 1); Atomics.notify(a, 1);", { eval: true, workerData: m }).on("exit", () => { if (--left === 0) console.log(a[0]); });`,
  "generators, proxies, destructuring": `function* g(n) { for (let i = 0; i < n; i++) yield i ** 2; } const p = new Proxy({}, { get: (_, k) => k.length, has: (_, k) => k === "yes" }); const [a, , ...r] = g(6); const { x = 5, ...o } = { y: 1, z: 2 };
    console.log(a, r, p.hello, "yes" in p, "no" in p, x, o, Object.entries(o), new Date(0).toISOString(), [3, 1, 2].toSorted?.() ?? [1, 2, 3]);`,
  "an error that nobody catches": `process.on("exit", (c) => console.log("exit", c)); process.on("uncaughtException", (e) => { console.log(e.name, e.message); process.exitCode = 3; }); setTimeout(() => null.x, 5);`,
};
const NODE_SMALL = 4;

export async function runNode(small: boolean, say: (text: string) => void): Promise<Counts> {
  await ensureImage("nodejs", ["nodejs"], say);
  const failed: string[] = [];
  const programs = Object.entries(NODE).slice(0, small ? NODE_SMALL : undefined);
  for (const [name, program] of programs) {
    const here = await run(process.execPath, ["-e", program], { timeout: TIMEOUT });
    const there = await cvm(["run", "--rm", "-m", "512m", "nodejs", "node", "-e", program], { timeout: TIMEOUT });
    say(`node ${name}: ${there.seconds.toFixed(1)} s`);
    if (there.output !== here.output || there.status !== here.status)
      failed.push(
        `${name}: ended with ${there.status} (${here.status}): ${there.output.trim().slice(0, 200)}, not ${here.output.trim().slice(0, 200)}`,
      );
  }
  return { run: programs.length, passed: programs.length - failed.length, skipped: 0, failed };
}

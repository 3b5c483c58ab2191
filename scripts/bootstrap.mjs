// Sets the checkout up and hands over: `node scripts/bootstrap.mjs start|test|cvm|setup [arguments]`.
// Runs on Node 20 or newer, with nothing installed: it brings Node 24 and pnpm from the npm registry, installs the
// packages and builds, each only when something changed since the last time.
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const node = join(root, "node_modules", "node", "bin", "node");
const stamps = join(root, "node_modules", ".cvm");
const [task = "setup", ...rest] = process.argv.slice(2);

const say = (text) => process.stderr.write(`${text}\n`);

/** Runs a command, showing what it does only when it fails or takes long. */
async function step(title, command, args, environment = {}) {
  const started = Date.now();
  const terminal = process.stderr.isTTY;
  let output = "";
  const child = spawn(command, args, { cwd: root, env: { ...process.env, ...environment }, stdio: ["ignore", "pipe", "pipe"] });
  child.stdout.on("data", (chunk) => (output += chunk));
  child.stderr.on("data", (chunk) => (output += chunk));
  if (!terminal) say(`${title} ...`);
  const timer = setInterval(() => {
    const seconds = Math.round((Date.now() - started) / 1000);
    if (terminal) process.stderr.write(`\r\x1b[2K${title} ... ${seconds} s`);
    else if (seconds % 10 === 0) say(`${title} ... ${seconds} s`);
  }, 1000);
  const status = await new Promise((resolve) => {
    child.on("error", (error) => {
      output += String(error);
      resolve(127);
    });
    child.on("close", resolve);
  });
  clearInterval(timer);
  if (terminal) process.stderr.write("\r\x1b[2K");
  if (status !== 0) {
    say(output);
    say(`[failed] ${title}: "${command} ${args.join(" ")}" ended with ${status}; what it printed stands above`);
    process.exit(1);
  }
  say(`${title}: done in ${((Date.now() - started) / 1000).toFixed(1)} s`);
}

/** A digest of everything that a step depends on: file names, sizes and times. */
function digest(paths) {
  const hash = createHash("sha256");
  const visit = (path) => {
    const info = statSync(path, { throwIfNoEntry: false });
    if (info === undefined) return;
    if (info.isDirectory()) {
      for (const name of readdirSync(path).sort()) if (name !== "node_modules" && name !== "dist") visit(join(path, name));
    } else hash.update(`${path}\0${info.size}\0${info.mtimeMs}\n`);
  };
  for (const path of paths) visit(join(root, path));
  return hash.digest("hex");
}

function upToDate(name, value) {
  const file = join(stamps, name);
  return existsSync(file) && readFileSync(file, "utf8") === value;
}
function remember(name, value) {
  mkdirSync(stamps, { recursive: true });
  writeFileSync(join(stamps, name), value);
}

async function setUp() {
  const packages = readdirSync(join(root, "packages"));
  const manifests = createHash("sha256");
  for (const file of ["package.json", "pnpm-lock.yaml", "pnpm-workspace.yaml", ...packages.map((name) => `packages/${name}/package.json`)])
    manifests.update(readFileSync(join(root, file)));
  const installed = manifests.digest("hex");
  if (!existsSync(node) || !upToDate("installed", installed)) {
    if (spawnSync("npx", ["--version"], { stdio: "ignore" }).status !== 0) {
      say("[unavailable] npx was not found: install Node.js 20 or newer with npm");
      process.exit(1);
    }
    await step("Installing Node 24 and packages", "npx", ["-y", "-p", "node@24", "-p", "pnpm@12", "-c", "pnpm install --frozen-lockfile"], {
      CI: "true",
      npm_config_update_notifier: "false",
    });
    remember("installed", installed);
  }
  const sources = digest([
    "tsconfig.json",
    "tsconfig.base.json",
    ...packages.flatMap((name) => [`packages/${name}/src`, `packages/${name}/tsconfig.json`, `packages/${name}/package.json`]),
  ]);
  const built = packages.every((name) => existsSync(join(root, "packages", name, "dist", "index.js")));
  if (!built || !upToDate("built", sources)) {
    await step("Building", join(root, "node_modules", ".bin", "tsc"), ["--build"]);
    remember("built", sources);
  }
}

await setUp();
const scripts = { start: ["scripts/start.ts"], test: ["scripts/test.ts"], cvm: ["packages/cli/bin/cvm.js"], setup: null };
if (!(task in scripts)) {
  say(`[usage] unknown task "${task}": start, test, cvm or setup`);
  process.exit(2);
}
if (scripts[task] !== null) {
  const child = spawn(node, [join(root, scripts[task][0]), ...rest], {
    stdio: "inherit",
    env: { ...process.env, PATH: `${join(root, "bin")}:${join(root, "node_modules", ".bin")}:${dirname(node)}:${process.env.PATH}` },
  });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
  child.on("close", (status, signal) => process.exit(signal === null ? (status ?? 1) : 128));
}

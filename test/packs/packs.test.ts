import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";

const root = join(import.meta.dirname, "..", "..");
const folder = mkdtempSync(join(tmpdir(), "cvm-pack-"));
const NAMES = ["cpu", "monitor", "libos", "net", "cli"] as const;
/** Their public types name types of Node.js, so their users need @types/node, as any TypeScript project for Node.js does. */
const NODE_TYPED: readonly string[] = ["net", "cli"];

function run(command: string, args: readonly string[], cwd: string): { readonly status: number | null; readonly output: string } {
  const result = spawnSync(command, args, { cwd, encoding: "utf8", timeout: 120_000, env: { ...process.env, CI: "true" } });
  return { status: result.status, output: result.stdout + result.stderr };
}

beforeAll(() => {
  mkdirSync(join(folder, "packs"));
  for (const name of NAMES) {
    const packed = run("pnpm", ["pack", "--pack-destination", join(folder, "packs")], join(root, "packages", name));
    if (packed.status !== 0) throw new Error(`pnpm pack of ${name} failed:\n${packed.output}`);
  }
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Path of a package's tarball. */
function tarball(name: string): string {
  const file = readdirSync(join(folder, "packs")).find((one) => one.startsWith(`cvm-${name}-`));
  if (file === undefined) throw new Error(`no tarball of ${name}`);
  return join(folder, "packs", file);
}

test.each(NAMES)("%s installs alone: types are found, the executable runs", (name) => {
  const project = join(folder, name);
  mkdirSync(project);
  // Other packages of this project come from their own tarballs, as they would from a registry.
  const overrides = Object.fromEntries(NAMES.map((one) => [`@cvm/${one}`, `file:${tarball(one)}`]));
  writeFileSync(
    join(project, "package.json"),
    JSON.stringify({
      name: "empty",
      private: true,
      type: "module",
      dependencies: { [`@cvm/${name}`]: `file:${tarball(name)}` },
      ...(NODE_TYPED.includes(name) ? { devDependencies: { "@types/node": "^24.0.0" } } : {}),
    }),
  );
  writeFileSync(
    join(project, "pnpm-workspace.yaml"),
    `packages: []\noverrides:\n${Object.entries(overrides)
      .map(([key, value]) => `  "${key}": "${value}"\n`)
      .join("")}allowBuilds:\n  msgpackr-extract: false\n`,
  );
  const installed = run("pnpm", ["install", "--prefer-offline", "--ignore-scripts"], project);
  expect(installed.status, installed.output).toBe(0);

  writeFileSync(join(project, "use.ts"), `import * as all from "@cvm/${name}";\nexport const count: number = Object.keys(all).length;\n`);
  writeFileSync(
    join(project, "tsconfig.json"),
    JSON.stringify({
      compilerOptions: {
        module: "nodenext",
        target: "es2024",
        strict: true,
        noEmit: true,
        skipLibCheck: false,
        types: NODE_TYPED.includes(name) ? ["node"] : [],
        lib: ["es2024", "esnext.disposable", "dom"],
      },
      files: ["use.ts"],
    }),
  );
  const checked = run(join(root, "node_modules", ".bin", "tsc"), ["-p", "."], project);
  expect(checked.status, checked.output).toBe(0);

  const imported = run(process.execPath, ["-e", `import("@cvm/${name}").then((all) => console.log(Object.keys(all).length > 0))`], project);
  expect(imported.output.trim()).toBe("true");

  const bin = JSON.parse(readFileSync(join(project, "node_modules", "@cvm", name, "package.json"), "utf8")) as {
    bin: Record<string, string>;
  };
  const [command] = Object.keys(bin.bin);
  const executed = run(process.execPath, [join(project, "node_modules", "@cvm", name, bin.bin[command!]!), "--version"], project);
  expect(executed.status, executed.output).toBe(0);
  expect(executed.output).toMatch(/\d+\.\d+\.\d+/u);
});

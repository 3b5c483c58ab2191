/**
 * Holds the arrows between packages: who may import whom, and that a package's public border is used. `node scripts/arrows.ts`
 * exits 1 and names each import that is not allowed.
 */
import { globSync, readFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";

/** What one package may import: of other packages (whole, or only types), and of the outside. */
interface Rule {
  /** Packages of this project, by entry point. */
  readonly imports: readonly string[];
  /** Packages of which only types (or the named entry point's constants) may be used. */
  readonly typesOnly?: readonly string[];
  /** Runtime npm packages and node: modules; `node:*` allows all of Node. */
  readonly outside: readonly string[];
  /** Files (or folders, with a slash at the end) of src/ that only the package's executable uses, and which may use node: modules too. */
  readonly executable?: readonly string[];
  /** Folders of src/ (with a slash at the end) that are not published: they may use whatever development needs, and nothing else may import them. */
  readonly development?: readonly string[];
}

export const RULES: Readonly<Record<string, Rule>> = {
  cpu: {
    imports: [],
    outside: [],
    executable: ["command/", "recordings/lines.ts", "rvfi/client.ts", "rvfi/server.ts"],
    development: ["verify/"],
  },
  monitor: { imports: ["@cvm/cpu", "@cvm/cpu/abi"], outside: [] },
  libos: { imports: ["@cvm/monitor/abi", "@cvm/cpu/abi"], outside: ["node:*"] },
  net: { imports: [], outside: ["node:*", "ws", "msgpackr"] },
  cli: {
    imports: ["@cvm/cpu", "@cvm/cpu/abi", "@cvm/monitor", "@cvm/monitor/abi", "@cvm/libos", "@cvm/net"],
    outside: ["node:*", "commander", "modern-tar", "zod", "yaml", "pino", "ws", "msgpackr"],
  },
};

const IMPORT = /(?:^|[\s;}])(?:import|export)\s+(type\s+)?(?:[^"'`;]*?\sfrom\s+)?["']([^"']+)["']|\bimport\(\s*["']([^"']+)["']\s*\)/gmu;

/** Import specifiers of a source text; comments are left out. */
export function importsOf(source: string): { readonly specifier: string; readonly typeOnly: boolean }[] {
  const code = source.replaceAll(/\/\*[\s\S]*?\*\//gu, "").replaceAll(/^\s*\/\/.*$/gmu, "");
  return [...code.matchAll(IMPORT)].map((match) => ({ specifier: match[2] ?? match[3]!, typeOnly: match[1] !== undefined }));
}

/** Violations of one file, as sentences. */
export function violations(root: string, file: string, source: string): string[] {
  const packageName = relative(join(root, "packages"), file).split("/")[0]!;
  const rule = RULES[packageName];
  if (rule === undefined) return [`${relative(root, file)}: package "${packageName}" has no rule in scripts/arrows.ts`];
  const problems: string[] = [];
  const inPackage = relative(join(root, "packages", packageName, "src"), file);
  const executable = (rule.executable ?? []).some((part) => (part.endsWith("/") ? inPackage.startsWith(part) : inPackage === part));
  const development = (path: string): boolean => (rule.development ?? []).some((part) => path.startsWith(part));
  for (const { specifier, typeOnly } of importsOf(source)) {
    let problem: string | undefined;
    if (specifier.startsWith(".")) {
      const target = relative(join(root, "packages", packageName, "src"), resolve(file, "..", specifier));
      if (development(target) && !development(inPackage)) problem = "does not publish that";
      else if (!resolve(file, "..", specifier).startsWith(join(root, "packages", packageName) + "/"))
        problem = "leaves its package by a relative path";
    } else if (specifier.startsWith("@cvm/")) {
      if (!rule.imports.includes(specifier))
        problem = rule.imports.length === 0 ? "may import no other package" : `may import only ${rule.imports.join(", ")}`;
    } else {
      const allowed =
        rule.outside.includes(specifier) ||
        (specifier.startsWith("node:") && (executable || rule.outside.includes("node:*"))) ||
        rule.outside.some((name) => specifier.startsWith(`${name}/`));
      if (!allowed && !typeOnly && !development(inPackage))
        problem = rule.outside.length === 0 ? "has no runtime dependency" : `may use only ${rule.outside.join(", ")}`;
    }
    if (problem !== undefined) problems.push(`${relative(root, file)}: imports "${specifier}", but packages/${packageName} ${problem}`);
  }
  return problems;
}

/** All violations in a checkout. Tests and bin/ folders are not part of a package's arrows. */
export function check(root: string): string[] {
  const files = globSync("packages/*/src/**/*.ts", { cwd: root }).filter((file) => !/\.test(?:\.\w+)*\.ts$|\/test-support\//u.test(file));
  return files.flatMap((file) => violations(root, join(root, file), readFileSync(join(root, file), "utf8")));
}

if (process.argv[1] === import.meta.filename) {
  const problems = check(resolve(import.meta.dirname, ".."));
  for (const problem of problems) process.stderr.write(`[invalid] ${problem}\n`);
  process.stdout.write(
    problems.length === 0 ? "arrows between packages: fine\n" : `arrows between packages: ${problems.length} not allowed\n`,
  );
  process.exitCode = problems.length === 0 ? 0 : 1;
}

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, expect } from "vitest";
import type { Deployment } from "../deploy/deployment.ts";
import { loadDeployment } from "../deploy/load.ts";
import type { LoadOptions } from "../deploy/load.ts";
import { DeploymentError } from "../deploy/problems.ts";

/** A folder for the deployment files of each test. */
export interface ProjectFolder {
  readonly path: string;
  write(name: string, text: string): void;
  /** Loads `cvm.yaml` with this text, or the files named in `options`. */
  load(text?: string, options?: Partial<LoadOptions>): Deployment;
  /** What is wrong with it: `line:column message`, with the file's name when it is not cvm.yaml. */
  problems(text?: string, options?: Partial<LoadOptions>): string[];
}

export function useProjectFolder(): ProjectFolder {
  let path = "";
  const names = ["CVM_HOME", "COMPOSE_PROFILES", "COMPOSE_PROJECT_NAME"];
  const before = new Map(names.map((name) => [name, process.env[name]]));
  beforeEach(() => {
    path = join(mkdtempSync(join(tmpdir(), "cvm-project-")), "Shop 1");
    mkdirSync(path);
    for (const name of names) delete process.env[name];
    process.env["CVM_HOME"] = join(path, "home");
  });
  afterEach(() => {
    for (const [name, value] of before) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
    rmSync(dirname(path), { recursive: true, force: true });
  });
  const folder: ProjectFolder = {
    get path() {
      return path;
    },
    write(name, text) {
      mkdirSync(dirname(join(path, name)), { recursive: true });
      writeFileSync(join(path, name), text);
    },
    load(text, options = {}) {
      if (text !== undefined) folder.write("cvm.yaml", text);
      const files = (options.files ?? ["cvm.yaml"]).map((file) => join(path, file));
      return loadDeployment({ profiles: [], ...options, files });
    },
    problems(text, options) {
      try {
        folder.load(text, options);
      } catch (error) {
        if (!(error instanceof DeploymentError)) throw error;
        return error.problems.map(({ place, message }) => {
          const name = place.file.slice(path.length + 1);
          return `${name === "cvm.yaml" ? "" : `${name}:`}${place.line}:${place.column} ${message}`;
        });
      }
      return expect.fail("nothing is wrong with it");
    },
  };
  return folder;
}

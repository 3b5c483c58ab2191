import { defineConfig } from "vitest/config";

const shared = {
  resolve: { conditions: ["source"] },
  ssr: { resolve: { conditions: ["source"] } },
};

export default defineConfig({
  test: {
    projects: [
      {
        ...shared,
        test: {
          name: "unit",
          include: ["packages/*/src/**/*.test.ts", "scripts/**/*.test.ts", "bench/*.test.ts", "suites/**/*.test.ts"],
          exclude: ["packages/cpu/src/**"],
          testTimeout: 20_000,
        },
      },
      {
        ...shared,
        test: {
          name: "isa",
          // The interpreter that is generated from the clauses is made once for all files of a worker.
          isolate: false,
          include: ["packages/cpu/src/**/*.test.ts", "test/isa/**/*.test.ts"],
          testTimeout: 60_000,
        },
      },
      {
        ...shared,
        test: {
          name: "e2e",
          include: ["test/{e2e,attacks,guests,cluster,packs}/**/*.test.ts"],
          testTimeout: 120_000,
          hookTimeout: 300_000,
          fileParallelism: false,
        },
      },
    ],
  },
});

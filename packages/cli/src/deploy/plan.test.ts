import { expect, test } from "vitest";
import type { CvmState } from "../host/protocol.ts";
import type { Image } from "../images/store.ts";
import { useProjectFolder } from "../test-support/project.ts";
import type { Deployment } from "./deployment.ts";
import { configOf, Label, makePlan, startOrder, stopOrder } from "./plan.ts";
import type { Plan, PlanOptions } from "./plan.ts";

const folder = useProjectFolder();
const OPTIONS: PlanOptions = { chosen: [], alone: false, recreate: "changed", scale: new Map() };
const image = (id = "sha256:1"): Image =>
  ({
    reference: "x:latest",
    id,
    size: 1,
    config: { config: { Cmd: ["serve"], Entrypoint: ["/init"], Env: ["A=1"], WorkingDir: "/w" } },
  }) as unknown as Image;
const FILE = "services:\n  web: { image: x, depends_on: [db, job] }\n  db: { image: x }\n  job: { image: x, depends_on: [db] }\n";

/** The states that a plan leads to. */
function carriedOut(plan: Plan): CvmState[] {
  return plan.services.flatMap(({ cvms }) =>
    cvms.map(({ config }): CvmState => ({ id: config.name, config, status: "running", created: "" })),
  );
}
const actions = (plan: Plan): string[] => plan.services.flatMap(({ cvms }) => cvms.map(({ config, action }) => `${action} ${config.name}`));
const planOf = (deployment: Deployment, states: readonly CvmState[] = [], options: Partial<PlanOptions> = {}, id?: string): Plan =>
  makePlan(deployment, states, { ...OPTIONS, ...options }, () => image(id));

test("a new project is made in the order of its dependencies", () => {
  expect(actions(planOf(folder.load(FILE)))).toEqual(["create shop1-db-1", "create shop1-job-1", "create shop1-web-1"]);
});

test("what is unchanged is kept, what has changed is made anew", () => {
  const states = carriedOut(planOf(folder.load(FILE)));
  expect(actions(planOf(folder.load(`${FILE}# a comment\n`), states))).toEqual(["keep shop1-db-1", "keep shop1-job-1", "keep shop1-web-1"]);
  const changed = folder.load(FILE.replace("db: { image: x }", "db: { image: x, environment: { B: 2 } }"));
  expect(actions(planOf(changed, states))).toEqual(["recreate shop1-db-1", "keep shop1-job-1", "keep shop1-web-1"]);
  expect(actions(planOf(changed, states, { recreate: "none" }))).toEqual(["keep shop1-db-1", "keep shop1-job-1", "keep shop1-web-1"]);
  expect(new Set(actions(planOf(changed, states, { recreate: "all" })).map((one) => one.split(" ")[0]))).toEqual(new Set(["recreate"]));
  // The same name with other content.
  expect(actions(planOf(folder.load(FILE), states, {}, "sha256:2"))[0]).toBe("recreate shop1-db-1");
});

test("scaling adds and takes away the last", () => {
  const deployment = folder.load(FILE);
  const three = planOf(deployment, [], { scale: new Map([["db", 3]]) });
  expect(actions(three).slice(0, 3)).toEqual(["create shop1-db-1", "create shop1-db-2", "create shop1-db-3"]);
  const back = planOf(deployment, carriedOut(three));
  expect(actions(back)[0]).toBe("keep shop1-db-1");
  expect(back.services[0]!.surplus.map((state) => state.id)).toEqual(["shop1-db-2", "shop1-db-3"]);
  expect(planOf(deployment, carriedOut(three), { scale: new Map([["db", 0]]) }).services[0]!.surplus).toHaveLength(3);
});

test("services that the file has no more are orphans; those of other projects and profiles are not", () => {
  const states = carriedOut(planOf(folder.load(FILE)));
  const other = carriedOut(planOf(folder.load(FILE, { project: "other" })));
  const less = folder.load("services:\n  web: { image: x }\n  db: { image: x, profiles: [p] }\n");
  expect(planOf(less, [...states, ...other]).orphans.map((state) => state.id)).toEqual(["shop1-job-1"]);
});

test("chosen services come with what they depend on, or alone", () => {
  const deployment = folder.load(FILE);
  expect(actions(planOf(deployment, [], { chosen: ["job"] }))).toEqual(["create shop1-db-1", "create shop1-job-1"]);
  expect(actions(planOf(deployment, [], { chosen: ["job"], alone: true }))).toEqual(["create shop1-job-1"]);
});

test("dependents stop first, and what does not depend on each other together", () => {
  const states = carriedOut(planOf(folder.load(`${FILE}  other: { image: x }\n`)));
  expect(stopOrder(states).map((group) => group.map((state) => state.id))).toEqual([
    ["shop1-web-1", "shop1-other-1"],
    ["shop1-job-1"],
    ["shop1-db-1"],
  ]);
  const circle = states.map((state) => ({
    ...state,
    config: { ...state.config, labels: { ...state.config.labels, [Label.AFTER]: "web,db,job,other" } },
  }));
  expect(stopOrder(circle)).toHaveLength(1);
});

test("the file's order holds where nothing else says one", () => {
  const { services } = folder.load("services:\n  c: { image: x }\n  a: { image: x }\n  b: { image: x }\n");
  expect(startOrder(services).map((service) => service.name)).toEqual(["c", "a", "b"]);
});

test("a cVM has what the image says, and the service over it", () => {
  const argv = (text: string): readonly string[] => {
    const deployment = folder.load(`services:\n  a: { image: x${text} }\n`);
    return configOf(deployment, deployment.services.get("a")!, 1, image()).argv;
  };
  expect(argv("")).toEqual(["/init", "serve"]);
  expect(argv(", command: one two")).toEqual(["/init", "one", "two"]);
  expect(argv(", entrypoint: /other")).toEqual(["/other"]);
  expect(argv(", entrypoint: [], command: [sh]")).toEqual(["sh"]);
  expect(() => argv(", entrypoint: []")).toThrow("has no command of its own");
  const deployment = folder.load("services:\n  a: { image: x, environment: { B: 2 }, labels: { team: me } }\n");
  const config = configOf(deployment, deployment.services.get("a")!, 2, image());
  expect(config).toMatchObject({ name: "shop1-a-2", hostname: "shop1-a-2", env: ["A=1", "B=2"], cwd: "/w", imageId: "sha256:1" });
  expect(config.labels).toMatchObject({ team: "me", [Label.PROJECT]: "shop1", [Label.SERVICE]: "a", [Label.NUMBER]: "2" });
});

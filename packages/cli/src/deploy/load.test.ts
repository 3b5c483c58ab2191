import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { stringify } from "yaml";
import { useProjectFolder } from "../test-support/project.ts";
import { documentOf } from "./config.ts";
import type { Service } from "./deployment.ts";
import { projectOf } from "./load.ts";
import { NoFileError } from "./problems.ts";
import { up } from "./up.ts";

const folder = useProjectFolder();
const serviceOf = (yaml: string, name = "a"): Service => folder.load(yaml).services.get(name)!;

describe("a service", () => {
  test("in its shortest form", () => {
    const deployment = folder.load("services:\n  a: { image: busybox }\n");
    expect(deployment.name).toBe("shop1");
    expect(deployment.services.get("a")).toMatchObject({
      image: "busybox",
      command: undefined,
      entrypoint: undefined,
      env: [],
      ports: [],
      volumes: [],
      network: { mode: "bridge", hosts: [], dns: [], groups: [{ name: "shop1_default", aliases: ["a"] }] },
      dependsOn: [],
      health: undefined,
      restart: undefined,
      replicas: 1,
      memoryBytes: 256 * 1024 ** 2,
      cpus: 0,
    });
  });

  test("with everything", () => {
    mkdirSync(join(folder.path, "web"));
    folder.write("extra.env", "FROM=file\nOVER=file\n");
    const service = serviceOf(`
services:
  a:
    image: redis
    entrypoint: [redis-server]
    command: --port "80 80"
    environment: { OVER: 1.10, TRUE: true, NONE: }
    env_file: [extra.env, { path: missing.env, required: false }]
    working_dir: /data
    user: 999:999
    hostname: cache
    ports: ["127.0.0.1:6379:6379", 80, "53:53/udp", { target: 443, published: "8443", host_ip: "::1" }, "7000-7001:8000-8001"]
    volumes: ["./web:/web:ro", "data:/data/", { type: bind, source: ./new, target: /new, bind: { create_host_path: true } }]
    networks: { front: { aliases: [cache] }, back: }
    dns: 10.0.0.1
    extra_hosts: ["me:host-gateway", "other=10.1.1.1"]
    depends_on: { b: { condition: service_healthy, restart: true }, c: { condition: service_completed_successfully, required: false } }
    healthcheck: { test: redis-cli ping, interval: 1s, timeout: 500ms, retries: 5, start_period: 1m, start_interval: 100ms }
    restart: on-failure:3
    deploy: { replicas: 1, resources: { limits: { cpus: "0.5", memory: 64M } } }
    stop_signal: SIGQUIT
    stop_grace_period: 1m30s
    init: true
    tty: true
    stdin_open: true
    attach: false
    labels: [team=x, flag]
    x-anything: goes
  b: { image: b, healthcheck: { test: [CMD, "true"] } }
  c: { image: c }
networks: { front: , back: { internal: true } }
volumes: { data: }
`);
    expect(service).toMatchObject({
      command: ["--port", "80 80"],
      entrypoint: ["redis-server"],
      env: ["FROM=file", "OVER=1.10", "TRUE=true"],
      cwd: "/data",
      user: "999:999",
      hostname: "cache",
      ports: [
        { hostAddress: "127.0.0.1", hostPort: 6379, port: 6379 },
        { hostAddress: "0.0.0.0", hostPort: 0, port: 80 },
        { hostAddress: "0.0.0.0", hostPort: 53, port: 53, protocol: "udp" },
        { hostAddress: "::1", hostPort: 8443, port: 443 },
        { hostAddress: "0.0.0.0", hostPort: 7000, port: 8000 },
        { hostAddress: "0.0.0.0", hostPort: 7001, port: 8001 },
      ],
      volumes: [
        { source: join(folder.path, "web"), target: "/web", readOnly: true },
        { source: join(folder.path, "home/volumes/shop1_data"), target: "/data", readOnly: false },
        { source: join(folder.path, "new"), target: "/new", readOnly: false, make: true },
      ],
      network: {
        mode: "bridge",
        dns: ["10.0.0.1"],
        hosts: [
          { name: "me", address: "host-gateway" },
          { name: "other", address: "10.1.1.1" },
        ],
        groups: [
          { name: "shop1_front", aliases: ["a", "cache"] },
          { name: "shop1_back", aliases: ["a"] },
        ],
      },
      dependsOn: [
        { service: "b", condition: "service_healthy", restart: true, required: true },
        { service: "c", condition: "service_completed_successfully", restart: false, required: false },
      ],
      health: {
        argv: ["/bin/sh", "-c", "redis-cli ping"],
        intervalMs: 1000,
        timeoutMs: 500,
        retries: 5,
        startPeriodMs: 60_000,
        startIntervalMs: 100,
      },
      restart: { name: "on-failure", most: 3 },
      memoryBytes: 64 * 1024 ** 2,
      cpus: 0.5,
      stopSignal: 3,
      stopSeconds: 90,
      init: true,
      tty: true,
      stdin: true,
      attach: false,
      labels: { team: "x", flag: "" },
    });
  });

  test("in internal networks only does not reach the outside; without any, nothing", () => {
    const file = (service: string): string =>
      `services:\n  a: { image: x, ${service} }\nnetworks: { back: { internal: true }, out: { external: true, name: bridge } }\n`;
    expect(serviceOf(file("networks: [back]")).network.mode).toBe("internal");
    expect(serviceOf(file("networks: [back, out]")).network).toMatchObject({
      mode: "bridge",
      groups: [{ name: "shop1_back" }, { name: "bridge" }],
    });
    expect(serviceOf(file("network_mode: none")).network).toMatchObject({ mode: "none", groups: [] });
    expect(serviceOf(file("network_mode: bridge")).network).toMatchObject({ mode: "bridge", groups: [{ name: "bridge", aliases: [] }] });
  });

  test("takes its restart policy from deploy first", () => {
    const policy = (text: string): unknown => serviceOf(`services:\n  a: { image: x, ${text} }\n`).restart;
    expect(policy("restart: always")).toEqual({ name: "always", most: 0 });
    expect(policy("restart: always, deploy: { restart_policy: { condition: on-failure, max_attempts: 2 } }")).toEqual({
      name: "on-failure",
      most: 2,
    });
    expect(policy("deploy: { restart_policy: { condition: none } }")).toEqual({ name: "no", most: 0 });
    expect(policy("restart: no")).toEqual({ name: "no", most: 0 });
  });
});

describe("variables", () => {
  test("come from .env beside the file, the command's own over them", () => {
    folder.write(".env", "IMAGE=from-file\nCVM_TEST_PORT=1\nN=2\n");
    process.env["CVM_TEST_PORT"] = "8080";
    try {
      const { services, notes } = folder.load(
        'services:\n  a: { image: "${IMAGE:-none}", ports: ["${CVM_TEST_PORT}:80"], environment: [IMAGE, "X=$$Y$NOT"], deploy: { replicas: 1 }, healthcheck: { test: ok, retries: "${N}" } }\n',
      );
      expect(services.get("a")).toMatchObject({
        image: "from-file",
        env: ["IMAGE=from-file", "X=$Y"],
        ports: [{ hostPort: 8080 }],
        health: { retries: 2 },
      });
      expect(notes).toEqual(["the variable NOT is not set: it is empty"]);
    } finally {
      delete process.env["CVM_TEST_PORT"];
    }
  });

  test("that must be there are asked for at their place", () => {
    expect(folder.problems('services:\n  a:\n    image: "${IMG:?name an image}"\n')).toEqual([
      "3:12 the variable IMG is not set: name an image",
    ]);
  });
});

describe("the name of a project", () => {
  const named = "name: ${WHO:-inner}\nservices: { a: { image: x } }\n";
  test("is that given, that of the environment, that of the file, that of the folder", () => {
    expect(folder.load(named).name).toBe("inner");
    expect(folder.load(named, { project: "outer" }).name).toBe("outer");
    process.env["COMPOSE_PROJECT_NAME"] = "env";
    expect(folder.load(named).name).toBe("env");
    expect(projectOf({ files: [join(folder.path, "cvm.yaml")] })).toBe("env");
    delete process.env["COMPOSE_PROJECT_NAME"];
    expect(projectOf({ files: [join(folder.path, "cvm.yaml")] })).toBe("inner");
    folder.write("cvm.yaml", "services: { a: { wrong: x } }");
    expect(projectOf({ files: [join(folder.path, "cvm.yaml")] })).toBe("shop1");
  });
  test("that is none is refused", () => {
    expect(() => folder.load(named, { project: "A b" })).toThrow("is not a project's name");
  });
  test("a file that is not there has an error of its own", () => {
    expect(() => folder.load(undefined, { files: ["none.yaml"] })).toThrow(NoFileError);
  });
});

describe("profiles", () => {
  const yaml = "services:\n  a: { image: x }\n  b: { image: x, profiles: [debug, test] }\n";
  test("leave out services that nobody chose", () => {
    expect([...folder.load(yaml).services.keys()]).toEqual(["a"]);
    expect([...folder.load(yaml).inactive.keys()]).toEqual(["b"]);
    expect([...folder.load(yaml, { profiles: ["test"] }).services.keys()]).toEqual(["a", "b"]);
    expect([...folder.load(yaml, { profiles: ["*"] }).services.keys()]).toEqual(["a", "b"]);
    expect([...folder.load(yaml, { chosen: ["b"] }).services.keys()]).toEqual(["a", "b"]);
    process.env["COMPOSE_PROFILES"] = "other,debug";
    expect([...folder.load(yaml).services.keys()]).toEqual(["a", "b"]);
  });
  test("a service that is not active cannot be depended on", () => {
    expect(folder.problems(`${yaml}  c: { image: x, depends_on: [b] }\n`)).toEqual([
      '4:31 "b" is not active: choose a profile of it (debug, test), or say required: false',
    ]);
  });
});

describe("several files", () => {
  test("go over each other as Compose has it", () => {
    folder.write(
      "cvm.yaml",
      "services:\n  a:\n    image: x\n    command: [one, two]\n    environment: [A=1, B=1]\n    ports: ['80']\n    volumes: ['d:/d', 'd:/e']\n    depends_on: [b]\n  b: { image: y }\nvolumes: { d: , f: }\n",
    );
    folder.write(
      "over.yaml",
      "services:\n  a:\n    command: three\n    environment: { B: 2 }\n    ports: ['81']\n    volumes: ['f:/e:ro']\n    depends_on: { c: { condition: service_started } }\n  c: { image: z }\n",
    );
    const { services } = folder.load(undefined, { files: ["cvm.yaml", "over.yaml"] });
    expect([...services.keys()]).toEqual(["a", "b", "c"]);
    expect(services.get("a")).toMatchObject({
      image: "x",
      command: ["three"],
      env: ["A=1", "B=2"],
      ports: [{ port: 80 }, { port: 81 }],
      volumes: [
        { target: "/d", readOnly: false },
        { source: join(folder.path, "home/volumes/shop1_f"), target: "/e", readOnly: true },
      ],
    });
    expect(services.get("a")!.dependsOn.map((one) => one.service)).toEqual(["b", "c"]);
  });

  test("what is wrong is said of the file where it stands", () => {
    folder.write("cvm.yaml", "services:\n  a: { image: x }\n");
    folder.write("over.yaml", "services:\n  a:\n    prots: ['81']\n");
    expect(folder.problems(undefined, { files: ["cvm.yaml", "over.yaml"] })).toEqual([
      'over.yaml:3:5 unknown key "prots"; did you mean "ports"?',
    ]);
  });

  test("a service extends one of this file or another, whose paths start from there", () => {
    folder.write(
      "common/base.yaml",
      "services:\n  base: { image: x, environment: { A: 1 }, extends: { service: root } }\n  root: { user: me, volumes: ['./data:/data'] }\n",
    );
    folder.write(
      "cvm.yaml",
      "services:\n  a: { extends: { service: base, file: common/base.yaml }, environment: { B: 2 } }\n  b: { extends: a, image: y }\n",
    );
    const { services } = folder.load();
    expect(services.get("b")).toMatchObject({
      image: "y",
      user: "me",
      env: ["A=1", "B=2"],
      volumes: [{ source: join(folder.path, "common/data") }],
    });
    expect(folder.problems("services:\n  a: { extends: b }\n  b: { extends: { service: a } }\n")[0]).toContain("extends itself");
    expect(folder.problems("services:\n  abc: { image: x }\n  b: { extends: abd }\n")).toEqual([
      '3:8 there is no service "abd" to extend; did you mean "abc"?',
    ]);
  });
});

describe("what is wrong", () => {
  const service = (text: string): string => `services:\n  a:\n    image: x\n    ${text}\n`;
  test.each([
    ["imagee: y", '4:5 unknown key "imagee"; did you mean "image"?'],
    ["privileged: true", '4:5 "privileged" is not supported: root of a cVM'],
    ["build: .", '4:5 "build" is not supported: images are not built here'],
    ["tmpfs: /tmp", '4:5 "tmpfs" is not supported'],
    ["deploy: { update_config: {} }", '4:15 "update_config" is not supported'],
    ["deploy: { resources: { reservations: {} } }", '4:28 "reservations" is not supported'],
    ["deploy: { replica: 2 }", '4:15 unknown key "replica"; did you mean "replicas"?'],
    ["networks: { default: { ipv4_address: 10.88.0.9 } }", '4:28 "ipv4_address" is not supported: addresses are chosen by the monitor'],
    ["x-cwm: {}", '4:5 unknown key "x-cwm"; did you mean "x-cvm"?'],
    ["x-cvm: { x-more: 1 }", '4:14 unknown key "x-more"'],
    ["x-cvm: { begin: 4096 }", '4:14 "begin" is not supported: addresses are chosen by the monitor'],
    ["tty: maybe", '4:5 "tty" is "maybe": give true or false'],
    ["environment: { A: [1] }", '4:20 "A" is a list'],
    ["ports: [web]", '4:13 "web" is not a port'],
    ["ports: ['1-3:4-5']", "has 3 ports of this machine for 2 of the cVM"],
    ["ports: [{ published: 80 }]", '"target" is missing here'],
    ["ports: ['80:80'], deploy: { replicas: 2 }", ""],
    ["volumes: ['/data']", '4:15 "/data" has no source'],
    ["volumes: ['data:/data']", '4:15 the volume "data" is not declared under volumes at the top: add it there'],
    ["volumes: ['./cvm.yaml:/etc/x']", "is no folder: only folders can be mounted"],
    ["volumes: ['.:/x:z']", 'the mode "z" is not supported'],
    ["volumes: ['.:x']", "must be an absolute path"],
    ["volumes: ['.:/x', './y:/x/']", 'two volumes have the target "/x"'],
    ["volumes: [{ type: tmpfs, source: x, target: /x }]", '"type" is "tmpfs": choose volume or bind'],
    ["networks: [front]", '4:16 the network "front" is not declared'],
    ["depends_on: [b]", '4:18 there is no service "b"'],
    ["depends_on: [a]", "depends_on goes round in a circle: a -> a"],
    ["depends_on: { b: { condition: service_good } }", '"condition" is "service_good": choose'],
    ["healthcheck: { interval: 1s }", "a healthcheck needs a test"],
    ["healthcheck: { test: [curl, x] }", '4:20 a test begins with CMD, CMD-SHELL or NONE, not "curl"'],
    ["healthcheck: { test: ok, retries: 0 }", '"retries" must be 1 at least'],
    ["healthcheck: { test: ok, interval: soon }", "give a duration"],
    ["restart: sometimes", '"restart" is "sometimes": choose no, always'],
    ["cpus: 1\n    deploy: { resources: { limits: { cpus: 2 } } }", "4:5 cpus is 1, and deploy.resources.limits.cpus is 2: give one"],
    ["mem_limit: 1m", "a cVM needs at least 8m"],
    ["stop_signal: SIGNONE", '4:5 "SIGNONE" is not a signal'],
    ["labels: { cvm.project: x }", "are the command's own"],
    ["network_mode: none\n    ports: ['80']", "has no ports to publish"],
    ["env_file: none.env", 'none.env" does not exist'],
    ["working_dir: data", "must be an absolute path"],
    ["platform: linux/amd64", "cVMs run linux/riscv64 only"],
    ["container_name: one\n    deploy: { replicas: 2 }", "several cVMs cannot have one name"],
    ["command: sh -c 'x", "the quote ' does not end"],
  ])("%s", (text, message) => {
    if (message === "") message = "cannot publish the one port 80";
    const yaml = text.includes("], deploy") ? service(text.replace("], deploy", "]\n    deploy")) : service(text);
    expect(folder.problems(yaml).join("\n")).toContain(message);
  });

  test("all of it is said at once, in the order of the file", () => {
    expect(folder.problems("services:\n  a:\n    imag: x\n    prots: []\nservces: {}\nnetworks: { n: { ipam: {} } }\n")).toEqual([
      '3:5 unknown key "imag"; did you mean "image"?',
      '4:5 unknown key "prots"; did you mean "ports"?',
      '5:1 unknown key "servces"; did you mean "services"?',
      '6:18 "ipam" is not supported: addresses are chosen by the monitor',
    ]);
  });

  test.each([
    ["a: [", "1:"],
    ["services:\n  a: {image: x}\n  a: {image: y}\n", "Map keys must be unique"],
    ["services: !x {}\n", "Unresolved tag"],
    ["services:\n  a: *none\n", "none"],
    ["- x\n", "is a list"],
    ["", "is empty"],
    ["services: {}\n", "there are no services"],
    ["services: { 'a b': { image: x } }\n", "a name has letters"],
  ])("%j is no deployment", (text, message) => {
    expect(folder.problems(text).join("\n")).toContain(message);
  });

  test("aliases that expand without bound are refused", () => {
    const lines = ["x-0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"];
    for (let index = 1; index < 7; index++)
      lines.push(
        `x-${index}: &a${index} [${Array(10)
          .fill(`*a${index - 1}`)
          .join(", ")}]`,
      );
    expect(folder.problems(`${lines.join("\n")}\nservices: { a: { image: x } }\n`).join("")).toContain("more than 100000 values");
  });

  test("two services that publish one port; a circle of three; a health that never comes; one that never completes", () => {
    expect(folder.problems("services:\n  a: { image: x, ports: ['80:1'] }\n  b: { image: x, ports: ['80:2'] }\n")).toEqual([
      '3:18 port 80/tcp is published by "a" already',
    ]);
    const circle = folder.problems(
      "services:\n  a: { image: x, depends_on: [b] }\n  b: { image: x, depends_on: [c] }\n  c: { image: x, depends_on: [a] }\n",
    );
    expect(circle[0]).toBe("2:18 depends_on goes round in a circle: a -> b -> c -> a");
    expect(
      folder.problems(
        "services:\n  a: { image: x, depends_on: { b: { condition: service_healthy }, c: { condition: service_completed_successfully } } }\n  b: { image: x }\n  c: { image: x, restart: always }\n",
      ),
    ).toEqual([
      '2:32 "b" has no healthcheck, so it never becomes healthy',
      '2:67 "c" starts again whenever it ends (restart: always), so it never completes',
    ]);
  });
});

test("merge keys and anchors", () => {
  const service = serviceOf("x-base: &base { image: x, user: me }\nservices:\n  a: { <<: *base, user: you }\n");
  expect(service).toMatchObject({ image: "x", user: "you" });
});

test("placement is said to have no effect", () => {
  expect(folder.load("services:\n  a: { image: x, deploy: { placement: { constraints: [node.role == manager] } } }\n").notes).toEqual([
    'service "a": deploy.placement has no effect: there is one host',
  ]);
});

test("what cvm config prints means the same", () => {
  mkdirSync(join(folder.path, "web"));
  const first = folder.load(`
services:
  a:
    image: redis
    command: ["sh", "-c", "echo $$HOME"]
    entrypoint: []
    environment: { A: "$$x" }
    ports: ["127.0.0.1:6379:6379", 80, "53:53/udp"]
    volumes: ["./web:/web:ro", "data:/data", "ext:/ext"]
    networks: { front: { aliases: [cache] }, out: }
    dns: 10.0.0.1
    extra_hosts: ["me:host-gateway"]
    depends_on: { b: { condition: service_healthy } }
    restart: on-failure:3
    cpus: 0.5
    stop_signal: SIGQUIT
    stop_grace_period: 1m30s
    tty: true
    labels: [team=x]
    x-cvm: { spawn: { most: 2 }, inside: b, grants: { files: { board: [read] } } }
  b: { image: b, network_mode: none, healthcheck: { test: [CMD, "true"] }, init: true }
networks: { front: { internal: true }, out: { external: true, name: bridge } }
volumes: { data: , ext: { external: true } }
x-cvm:
  files: { board: { size: 1k, content: "hi $$x", owner: b } }
  streams: { s: { messages: true, owner: a } }
  calls: { c: { owner: b, argument: 4k } }
  grants: [{ service: b, stream: s, rights: [connect] }]
`);
  const second = folder.load(stringify(documentOf(first)));
  const withoutPlaces = (value: typeof first): unknown => ({
    ...value,
    services: new Map([...value.services].map(([name, one]) => [name, { ...one, place: null }])),
  });
  expect(withoutPlaces(second)).toEqual(withoutPlaces(first));
});

test("the files that the documentation shows are right", () => {
  const text = readFileSync(join(import.meta.dirname, "../../../../docs/deployment.md"), "utf8");
  const files = [...text.matchAll(/^```yaml\n(.*?)^```/gmsu)].map((match) => match[1]!);
  expect(files).toHaveLength(2);
  for (const file of files) expect(folder.load(file).services.size).toBe(2);
});

test("more cVMs than one port or name allows are refused", async () => {
  const options = {
    chosen: [],
    alone: false,
    recreate: "changed",
    detach: true,
    wait: false,
    removeOrphans: false,
    seconds: undefined,
  } as const;
  const more = { colour: false, prefix: true, abortOnExit: false, exitCodeFrom: undefined };
  const deployment = folder.load("services:\n  a: { image: x, ports: ['80:80'] }\n  b: { image: x, container_name: one }\n");
  for (const [name, message] of [
    ["a", '"a" publishes port 80'],
    ["b", '"b" has a container_name'],
    ["c", 'no service "c"'],
  ] as const)
    await expect(up(deployment, { ...options, ...more, scale: new Map([[name, 2]]) })).rejects.toThrow(message);
});

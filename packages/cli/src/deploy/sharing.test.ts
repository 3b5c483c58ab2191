import { describe, expect, test } from "vitest";
import { useProjectFolder } from "../test-support/project.ts";
import type { Sharing } from "./sharing.ts";
import { missingFeatures } from "./sharing.ts";
import { refuseUnavailable } from "./start.ts";

const folder = useProjectFolder();

/** A file of services web, shop and (two of) worker, with `x-cvm` of the project and of some. */
const yaml = (project: string, services: Readonly<Record<string, string>> = {}): string => {
  const of = (name: string): string => (services[name] === undefined ? "" : `, x-cvm: ${services[name]}`);
  return `services:
  web: { image: x${of("web")} }
  shop: { image: x${of("shop")} }
  worker: { image: x, scale: 2${of("worker")} }
x-cvm: ${project}
`;
};
const read = (project: string, services?: Readonly<Record<string, string>>): Sharing => folder.load(yaml(project, services)).sharing;
const wrong = (project: string, services?: Readonly<Record<string, string>>): string => folder.problems(yaml(project, services)).join("\n");

describe("objects and grants", () => {
  test("of the project, with owners and rights", () => {
    folder.write("board.bin", "from a file");
    const sharing = read(
      `{ files: { board: { size: 1k, content: hello }, raw: { content_base64: AAEC }, disk: { preset: ./board.bin, size: 4096, owner: shop } },
         streams: { orders: { owner: shop, messages: true, buffer: 64k }, news: },
         calls: { price: { owner: shop, argument: 4k, threads: 8 } },
         grants: [{ service: web, file: board, rights: [read, write] }, { service: worker, file: board, rights: [read] },
                  { service: web, stream: orders, rights: [connect] }, { service: web, stream: news, rights: [listen] },
                  { service: worker, call: price, rights: [call] }] }`,
    );
    expect(sharing.files.map(({ name, owner, bytes, content }) => [name, owner, bytes, Buffer.from(content).toString()])).toEqual([
      ["board", null, 1024, "hello"],
      ["raw", null, 3, "\0\x01\x02"],
      ["disk", "shop", 4096, "from a file"],
    ]);
    expect(sharing.streams).toEqual([
      { name: "orders", owner: "shop", messages: true, bufferBytes: 65_536 },
      { name: "news", owner: "web", messages: false, bufferBytes: undefined },
    ]);
    expect(sharing.calls).toEqual([{ name: "price", owner: "shop", argumentBytes: 4096, threads: 8 }]);
    expect(sharing.grants.map(({ service, name, rights }) => `${service} ${name} ${rights.join("+")}`)).toEqual([
      "shop disk read+write",
      "shop orders listen",
      "shop price publish",
      "web board read+write",
      "worker board read",
      "web orders connect",
      "web news listen",
      "worker price call",
    ]);
  });

  test("of services, who own what they declare", () => {
    const sharing = read("{}", {
      shop: "{ calls: { price: }, files: { stock: { size: 64k } } }",
      web: "{ grants: { calls: { price: [call] }, files: { stock: [read] } } }",
    });
    expect(sharing.calls).toEqual([{ name: "price", owner: "shop", argumentBytes: undefined, threads: undefined }]);
    expect(sharing.grants).toEqual([
      { service: "shop", kind: "files", name: "stock", rights: ["read", "write"] },
      { service: "shop", kind: "calls", name: "price", rights: ["publish"] },
      { service: "web", kind: "files", name: "stock", rights: ["read"] },
      { service: "web", kind: "calls", name: "price", rights: ["call"] },
    ]);
  });

  test("nothing is shared unless the file says so", () => {
    expect(folder.load("services: { a: { image: x } }\n").sharing).toEqual({
      files: [],
      streams: [],
      calls: [],
      grants: [],
      compartments: new Map(),
    });
  });

  const file = "files: { board: { size: 1k } }";
  test.each([
    [`{ ${file}, grants: [{ service: wbe, file: board, rights: [read] }] }`, '5:53 there is no service "wbe"; did you mean "web"?'],
    [`{ ${file}, grants: [{ service: web, file: bord, rights: [read] }] }`, 'there is no file "bord"; did you mean "board"?'],
    [`{ ${file}, grants: [{ service: web, stream: board, rights: [connect] }] }`, 'there is no stream "board"; "board" is a file'],
    [
      `{ ${file}, grants: [{ service: web, file: board, rights: [call] }] }`,
      'a file has no right "call" (that is a right on a call): choose read or write',
    ],
    [`{ ${file}, grants: [{ service: web, file: board, rights: [raed] }] }`, 'a file has no right "raed"; did you mean "read"?'],
    [`{ ${file}, grants: [{ service: web, file: board, rights: [] }] }`, "give at least one right"],
    [`{ ${file}, grants: [{ service: web, rights: [read] }] }`, "a grant names one file, one stream or one call"],
    [
      `{ ${file}, grants: [{ service: web, file: board, rights: [read] }, { service: web, file: board, rights: [write] }] }`,
      '"web" was granted the file "board" in line 5 already',
    ],
    ["{ files: { board: { size: 1k, owner: nobody } } }", 'there is no service "nobody"'],
    ["{ files: { board: {} } }", 'the file "board" needs a size, or content'],
    ["{ files: { board: { size: 2, content: abc } } }", 'the file "board" has 2 bytes, and its content 3'],
    ["{ files: { board: { content: abc, preset: x } } }", "content and preset exclude each other"],
    ["{ files: { board: { content_base64: '*' } } }", "this is not base64"],
    ["{ files: { board: { preset: none.bin } } }", "none.bin"],
    ["{ files: { board: { size: 2g } } }", "a file has at most 1g"],
    ["{ files: { board: { sise: 1 } } }", 'unknown key "sise"; did you mean "size"?'],
    ["{ capfiles: {} }", '"capfiles" is not supported: use files'],
    ["{ streams: { s: } }", '5:21 nobody may listen: give the stream "s" an owner'],
    ["{ calls: { c: }, grants: [{ service: web, call: c, rights: [call] }] }", 'nobody may publish: give the call "c" an owner'],
    ["{ streams: { s: { owner: worker } } }", 'two owners: "worker" has 2 cVMs, and the stream "s" can be of one only'],
    [
      "{ streams: { s: { owner: web } }, grants: [{ service: shop, stream: s, rights: [listen] }] }",
      'two owners: the stream "s" is "web"\'s, who alone may listen',
    ],
    [
      "{ calls: { c: }, grants: [{ service: shop, call: c, rights: [publish] }, { service: web, call: c, rights: [publish] }] }",
      'two owners: the call "c" is "shop"\'s, who alone may publish',
    ],
  ])("%s is refused", (project, message) => {
    expect(wrong(project)).toContain(message);
  });

  test("two services that declare one object are two owners", () => {
    expect(wrong("{}", { web: "{ calls: { c: } }", shop: "{ calls: { c: } }" })).toBe(
      '3:39 two owners: the call "c" is declared in line 2 and owned by "web" already',
    );
  });
});

describe("compartments", () => {
  test("nesting, call-backs, clean rooms, capabilities to store and cVMs to spawn", () => {
    const { compartments } = read("{}", {
      web: "{ inside: shop, callback_out: shop, clean_room: true }",
      shop: "{ store_cap: true, callback_out: monitor, spawn: { most: 4, memory: 64m, images: [busybox] } }",
      worker: "{ spawn: true }",
    });
    const none = { inside: null, callbackOut: null, cleanRoom: false, storeCap: false, spawn: null };
    expect(Object.fromEntries(compartments)).toEqual({
      web: { ...none, inside: "shop", callbackOut: "shop", cleanRoom: true },
      shop: { ...none, storeCap: true, spawn: { most: 4, memoryBytes: 64 * 1024 ** 2, images: ["busybox"] } },
      worker: { ...none, spawn: { most: undefined, memoryBytes: undefined, images: [] } },
    });
  });

  test.each([
    [{ web: "{ inside: web }" }, '"web" cannot be inside of itself'],
    [{ web: "{ callback_out: shp }" }, 'there is no service "shp"; did you mean "shop"?'],
    [{ web: "{ inside: worker }" }, '"worker" has 2 cVMs: it is not clear which of them is meant'],
    [{ web: "{ inside: shop }", shop: "{ inside: web }" }, "inside goes round in a circle: web -> shop -> web"],
    [{ web: "{ callback_out: shop }", shop: "{ callback_out: web }" }, "callback_out goes round in a circle"],
    [{ web: "{ clean_room: true, store_cap: true }" }, "leave out store_cap"],
    [{ web: "{ spawn: maybe }" }, "give true, false, or a mapping"],
    [{ web: "{ spawn: { least: 1 } }" }, 'unknown key "least"'],
    [{ web: "{ begin: 4096 }" }, "addresses are chosen by the monitor"],
  ])("%j is refused", (services, message) => {
    expect(wrong("{}", services)).toContain(message);
  });
});

test("what a host cannot do is named, and refused at a start", () => {
  const deployment = folder.load(yaml("{ files: { a: { size: 1 }, b: { size: 1 } } }", { web: "{ spawn: true }" }));
  expect(missingFeatures(deployment.sharing)).toEqual(["spawn (web)"]);
  expect(() => refuseUnavailable(deployment)).toThrow(/^\[unavailable\].*spawn \(web\)/u);
  expect(() => refuseUnavailable(folder.load(yaml("{}")))).not.toThrow();
});

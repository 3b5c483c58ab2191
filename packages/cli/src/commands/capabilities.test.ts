import { expect, test } from "vitest";
import { reachOf } from "./capabilities.ts";

test("who reaches whom follows from opposite rights", () => {
  const grants = [
    { cvm: "a", rights: ["write"] },
    { cvm: "b", rights: ["read"] },
    { cvm: "c", rights: ["read", "write"] },
    { cvm: "d", rights: [] },
  ];
  const [a, b, c, ...rest] = reachOf([{ project: "p", kind: "file", name: "board", size: 1, grants, holders: [{ cvm: "b", opened: 2 }] }]);
  expect(rest).toEqual([]);
  expect(a).toEqual({ project: "p", object: "file board", cvm: "a", rights: "write", with: "b, c", open: 0 });
  expect(b).toMatchObject({ with: "a, c", open: 2 });
  expect(c).toMatchObject({ rights: "read, write", with: "a, b" });
});

test("a listener without anybody who may connect reaches nobody", () => {
  const [line] = reachOf([
    { project: "p", kind: "stream", name: "line", size: 0, grants: [{ cvm: "a", rights: ["listen"] }], holders: [] },
  ]);
  expect(line!.with).toBe("-");
});

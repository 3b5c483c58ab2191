import { appendFileSync, existsSync, mkdirSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { Folder } from "../home.ts";
import { useTemporaryHome } from "../test-support/home.ts";
import type { CvmConfig, CvmState, Status } from "./protocol.ts";
import { appendLog, cvmFolder, deleteRecord, findState, loadStates, readLog, saveState, tailStart } from "./records.ts";

useTemporaryHome();

function state(digit: string, status: Status = "exited", extra: Partial<CvmState> = {}): CvmState {
  const config = { name: `name_${digit}` } as CvmConfig;
  return { id: digit.repeat(64), config, status, created: `2026-01-0${digit}T00:00:00.000Z`, ...extra };
}

describe("states", () => {
  test("come back as saved, oldest first", () => {
    const all = [state("2"), state("1", "created"), state("3", "exited", { exitCode: 7, error: "why" })];
    for (const one of all) saveState(one);
    expect(loadStates(true)).toEqual([all[1], all[0], all[2]]);
    expect(statSync(cvmFolder(all[0]!.id)).mode & 0o077).toBe(0);
    expect(readdirSync(cvmFolder(all[0]!.id))).toEqual(["state.json"]);
  });
  test("what ran has ended when its host is gone", () => {
    saveState(state("1", "running", { address: "10.0.0.2" }));
    saveState(state("2", "exited", { exitCode: 3 }));
    saveState(state("3", "created"));
    expect(loadStates(true)[0]?.status).toBe("running");
    const [ran, ended, made] = loadStates(false);
    expect(ran).toMatchObject({ status: "exited", exitCode: 255, error: expect.stringContaining("host process ended") as string });
    expect(ran).not.toHaveProperty("address");
    expect(ended).toMatchObject({ status: "exited", exitCode: 3 });
    expect(made?.status).toBe("created");
  });
  test("records that are not whole do not count", () => {
    saveState(state("1"));
    for (const [digit, text] of Object.entries({ 2: "", 3: "{", 4: "null", 5: "{}", 6: JSON.stringify(state("7")) })) {
      mkdirSync(join(Folder.cvms(), digit.repeat(64)));
      writeFileSync(join(Folder.cvms(), digit.repeat(64), "state.json"), text);
    }
    mkdirSync(join(Folder.cvms(), "8".repeat(64)));
    writeFileSync(join(Folder.cvms(), "file"), "");
    expect(loadStates(true).map((one) => one.id[0])).toEqual(["1"]);
  });
  test("removal takes the whole folder, and ids only", () => {
    saveState(state("1"));
    deleteRecord(state("1").id);
    deleteRecord(state("1").id);
    expect(readdirSync(Folder.cvms())).toEqual([]);
    for (const id of ["", "..", "../images", "A".repeat(64), "1".repeat(63)]) expect(() => deleteRecord(id), id).toThrow(/^\[invalid\]/u);
    expect(existsSync(Folder.cvms())).toBe(true);
  });
  test("are found by name, id and the beginning of an id", () => {
    const all = [state("1"), state("2"), { ...state("3"), id: `1${"2".repeat(63)}` }];
    expect(findState(all, "name_2")).toBe(all[1]);
    expect(findState(all, "22")).toBe(all[1]);
    expect(findState(all, "1".repeat(64))).toBe(all[0]);
    expect(findState(all, "11")).toBe(all[0]);
    expect(() => findState(all, "1")).toThrow(/^\[conflict\] .*2 cVMs/u);
    for (const key of ["3", "name", ""]) expect(() => findState(all, key), key).toThrow(/^\[not_found\]/u);
  });
  test("a name goes before an id that begins so", () => {
    const named = { ...state("1"), config: { name: "22" } as CvmConfig };
    expect(findState([state("2"), named], "22")).toBe(named);
  });
});

describe("logs", () => {
  const id = state("1").id;
  test("keep lines, parts of lines and their streams", () => {
    saveState(state("1"));
    expect(readLog(id)).toEqual([]);
    appendLog(id, 1, "a\nb\nc");
    appendLog(id, 2, "oh\r\n");
    appendLog(id, 1, "");
    expect(readLog(id).map(({ log, stream }) => [log, stream])).toEqual([
      ["a\n", "stdout"],
      ["b\n", "stdout"],
      ["c", "stdout"],
      ["oh\r\n", "stderr"],
    ]);
    expect(readLog(id).every((line) => !Number.isNaN(Date.parse(line.time)))).toBe(true);
  });
  test("a record that is being written, or was cut off, is left out", () => {
    saveState(state("1"));
    appendLog(id, 1, "whole\n");
    appendFileSync(join(cvmFolder(id), "log.jsonl"), '{"log":"hal');
    expect(readLog(id).map((line) => line.log)).toEqual(["whole\n"]);
  });
  test.each([
    [0, []],
    [1, ["c", "d"]],
    [2, ["b\n", "c", "d"]],
    [3, ["a\n", "b\n", "c", "d"]],
    [9, ["a\n", "b\n", "c", "d"]],
    [Infinity, ["a\n", "b\n", "c", "d"]],
  ])("the last %d lines, of several records each", (count, expected) => {
    const records = ["a\n", "b\n", "c", "d"].map((log) => ({ log, stream: "stdout" as const, time: "" }));
    expect(records.slice(tailStart(records, count)).map((one) => one.log)).toEqual(expected);
  });
});

import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { InvalidArgumentError } from "commander";
import { describe, expect, test } from "vitest";
import { useTemporaryHome } from "../test-support/home.ts";
import {
  parseCpus,
  parseDns,
  parseEnv,
  parseHost,
  parseMemory,
  parseNetwork,
  parsePort,
  parseRestart,
  parseSignal,
  parseVolume,
} from "./parse.ts";

const home = useTemporaryHome();

describe("memory", () => {
  test.each([
    ["8m", 8 * 2 ** 20],
    ["256M", 2 ** 28],
    ["256mb", 2 ** 28],
    ["1.5g", 1.5 * 2 ** 30],
    ["16384k", 2 ** 24],
    ["8388608", 2 ** 23],
    ["8388608b", 2 ** 23],
    ["3g", 3 * 2 ** 30],
  ])("%s", (text, bytes) => expect(parseMemory(text)).toBe(bytes));
  test.each(["", "m", "-1g", "1t", "256 m", "256bb", "0x10m", "1e9", "7m", "8388607", "3.1g"])("not %j", (text) =>
    expect(() => parseMemory(text)).toThrow(InvalidArgumentError),
  );
});

describe("processors", () => {
  test.each([
    ["0.5", 0.5],
    [".5", 0.5],
    ["2", 2],
    ["0", 0],
  ])("%s", (text, value) => expect(parseCpus(text)).toBe(value));
  test.each(["", "-1", "x", "1025", "Infinity", "0x2", "1."])("not %j", (text) =>
    expect(() => parseCpus(text)).toThrow(InvalidArgumentError),
  );
});

describe("ports", () => {
  test.each([
    ["80", "0.0.0.0", 0, 80],
    ["8080:80", "0.0.0.0", 8080, 80],
    ["8080:80/tcp", "0.0.0.0", 8080, 80],
    ["0:80", "0.0.0.0", 0, 80],
    ["127.0.0.1:8080:80", "127.0.0.1", 8080, 80],
    ["127.0.0.1::80", "127.0.0.1", 0, 80],
  ])("%s", (text, hostAddress, hostPort, port) => expect(parsePort(text)).toEqual([{ hostAddress, hostPort, port }]));
  test.each([
    "",
    ":",
    "x",
    "80:",
    "0",
    "8080:0",
    "65536",
    "80:65536",
    "-1:80",
    "1.5:80",
    "80/sctp",
    "80/UDP",
    "80:80/tcp/udp",
    "127.0.0.1:80",
    "[::1]:80",
    "[::1]80:80",
    "[::1",
    "[]:80:80",
    "[127.0.0.1]:80:80",
    "[localhost]:80:80",
    "::1:80:80",
    "localhost:80:80",
    "8000-8010:80",
  ])("not %j", (text) => expect(() => parsePort(text)).toThrow(InvalidArgumentError));
  test.each([
    ["5353:53/udp", { hostAddress: "0.0.0.0", hostPort: 5353, port: 53, protocol: "udp" }],
    ["[::1]:8080:80", { hostAddress: "::1", hostPort: 8080, port: 80 }],
    ["[fd00::2]::53/udp", { hostAddress: "fd00::2", hostPort: 0, port: 53, protocol: "udp" }],
  ])("%s", (text, published) => expect(parsePort(text)).toEqual([published]));
  test("add up", () => expect(parsePort("2:2", parsePort("1:1")).map((one) => one.port)).toEqual([1, 2]));
});

describe("network", () => {
  test.each([
    ["bridge", "bridge"],
    ["default", "bridge"],
    ["internal", "internal"],
    ["none", "none"],
  ])("%s", (text, mode) => expect(parseNetwork(text)).toBe(mode));
  test.each(["", "host", "container:x", "Bridge"])("not %j", (text) => expect(() => parseNetwork(text)).toThrow(InvalidArgumentError));
  test("the network of this machine is refused with what to do instead", () => expect(() => parseNetwork("host")).toThrow("host-gateway"));

  test.each([
    ["box:host-gateway", "box", "host-gateway"],
    ["box=192.0.2.1", "box", "192.0.2.1"],
    ["a.b-c:2001:db8::1", "a.b-c", "2001:db8::1"],
    ["box:[::1]", "box", "::1"],
  ])("host %s", (text, name, address) => expect(parseHost(text)).toEqual([{ name, address }]));
  test.each(["", "box", "box:", ":192.0.2.1", "box:somewhere", "b x:192.0.2.1", "box:256.1.1.1", "-a:192.0.2.1"])("no host %j", (text) =>
    expect(() => parseHost(text)).toThrow(InvalidArgumentError),
  );

  test.each([
    ["192.0.2.1", "192.0.2.1"],
    ["192.0.2.1:5353", "192.0.2.1:5353"],
    ["2001:db8::1", "2001:db8::1"],
    ["[2001:db8::1]:53", "[2001:db8::1]:53"],
  ])("name server %s", (text, server) => expect(parseDns(text)).toEqual([server]));
  test.each(["", "dns.example", "192.0.2.1:0", "192.0.2.1:65536", "192.0.2", "[192.0.2.1", "192.0.2.1:"])("no name server %j", (text) =>
    expect(() => parseDns(text)).toThrow(InvalidArgumentError),
  );
});

describe("volumes", () => {
  test("a folder of this machine", () => {
    expect(parseVolume(`${home()}:/data`)).toEqual([{ source: home(), target: "/data", readOnly: false }]);
    expect(parseVolume(`${home()}:/data/:ro`)).toEqual([{ source: home(), target: "/data", readOnly: true }]);
    expect(parseVolume(`${home()}:/a/../b//c:rw`)).toEqual([{ source: home(), target: "/b/c", readOnly: false }]);
    expect(parseVolume("./:/data")[0]?.source).toBe(process.cwd());
  });
  test("a name stands for a folder in cVM's own, which is not made yet", () => {
    expect(parseVolume("data:/data")[0]?.source).toBe(join(home(), "volumes", "data"));
    expect(existsSync(join(home(), "volumes"))).toBe(false);
  });
  test("no name leads out of the folder of volumes", () => {
    for (const name of ["..", "../x", ".hidden", "a/../../b"]) {
      try {
        expect(parseVolume(`${name}:/x`)[0]?.source).not.toContain("volumes");
      } catch (error) {
        expect(error).toBeInstanceOf(InvalidArgumentError);
      }
    }
  });
  test("refusals", () => {
    writeFileSync(join(home(), "file"), "");
    mkdirSync(join(home(), "folder"));
    const bad = ["", "x", "/only", ":/data", "data:", "data:relative", "data:/x:z", "data:/x:ro:rw", "data:/", "data:/.."];
    for (const text of [...bad, `${home()}/missing:/x`, `${home()}/file:/x`])
      expect(() => parseVolume(text), text).toThrow(InvalidArgumentError);
    expect(() => parseVolume("b:/x/", parseVolume("a:/x"))).toThrow(/two volumes/u);
  });
});

describe("environment", () => {
  test("a value, an empty one, one with =, and that of this command", () => {
    process.env["CVM_TEST_VALUE"] = "here";
    expect(
      ["A=1", "B=", "C=a=b", "CVM_TEST_VALUE", "CVM_TEST_MISSING"].reduce<string[]>((before, one) => parseEnv(one, before), []),
    ).toEqual(["A=1", "B=", "C=a=b", "CVM_TEST_VALUE=here"]);
    delete process.env["CVM_TEST_VALUE"];
  });
  test.each(["", "=x"])("not %j", (text) => expect(() => parseEnv(text)).toThrow(InvalidArgumentError));
});

describe("restart policies", () => {
  test.each([
    ["no", { name: "no", most: 0 }],
    ["always", { name: "always", most: 0 }],
    ["unless-stopped", { name: "unless-stopped", most: 0 }],
    ["on-failure", { name: "on-failure", most: 0 }],
    ["on-failure:3", { name: "on-failure", most: 3 }],
  ])("%s", (text, policy) => expect(parseRestart(text)).toEqual(policy));
  test.each(["", "yes", "always:2", "on-failure:", "on-failure:-1", "on-failure:1000000000"])("not %j", (text) =>
    expect(() => parseRestart(text)).toThrow(InvalidArgumentError),
  );
});

describe("signals", () => {
  test.each([
    ["9", 9],
    ["KILL", 9],
    ["SIGKILL", 9],
    ["sigterm", 15],
    ["hup", 1],
    ["USR1", 10],
    ["CHLD", 17],
    ["SYS", 31],
    ["64", 64],
  ])("%s", (text, number) => expect(parseSignal(text)).toBe(number));
  test.each(["", "0", "65", "SIG", "SIG9", "NOPE", "-9", "9.5"])("not %j", (text) =>
    expect(() => parseSignal(text)).toThrow(InvalidArgumentError),
  );
});

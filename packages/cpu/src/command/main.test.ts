import { describe, expect, test } from "vitest";
import { choiceOption, integerOption, UsageError, type Command, type Input, type Io } from "./command.ts";
import { COMMANDS, main } from "./main.ts";

function capture(): { io: Io; out: () => string; err: () => string } {
  let [out, err] = ["", ""];
  const text = (data: string | Uint8Array): string => (typeof data === "string" ? data : new TextDecoder().decode(data));
  const io: Io = {
    out: (data) => void (out += text(data)),
    err: (data) => void (err += text(data)),
    readFile: () => {
      throw new Error("no file");
    },
  };
  return { io, out: () => out, err: () => err };
}

const probe: Command = {
  name: "probe",
  usage: "[--count N] FILE",
  summary: "for this test",
  options: { count: { type: "string" } },
  run: async (input, io) => {
    if (input.files.length === 0) throw new UsageError("no file given");
    io.out(`${input.files.join(" ")} ${integerOption(input, "count", 1, 9)}\n`);
    io.readFile("x");
    return 0;
  },
};

describe("the command line", () => {
  test("--help names every command, --version the package's", async () => {
    const help = capture();
    expect(await main(["--help"], help.io)).toBe(0);
    for (const { name, summary } of COMMANDS) {
      expect(help.out()).toContain(`cvm-cpu ${name}`);
      expect(help.out()).toContain(summary);
    }
    const version = capture();
    expect(await main(["--version"], version.io)).toBe(0);
    expect(version.out()).toMatch(/^\d+\.\d+\.\d+\n$/u);
    const one = capture();
    expect(await main(["probe", "--help"], one.io, [probe])).toBe(0);
    expect(one.out()).toBe("Usage: cvm-cpu probe [--count N] FILE\nfor this test\n");
  });
  test.each([
    [[], "no command given"],
    [["dance"], 'no command "dance"'],
    [["probe"], "no file given"],
    [["probe", "--speed", "3", "f"], "--speed"],
    [["probe", "--count", "10", "f"], '--count needs a whole number from 1 to 9, not "10"'],
    [["probe", "--count", "1.5", "f"], '--count needs a whole number from 1 to 9, not "1.5"'],
  ])("%j is a usage error", async (args, message) => {
    const { io, out, err } = capture();
    expect(await main(args, io, [probe])).toBe(2);
    expect(out()).toBe("");
    expect(err()).toContain(message);
    expect(err()).toContain("Usage:");
  });
  test("other failures exit 1 and name the command", async () => {
    const { io, out, err } = capture();
    expect(await main(["probe", "--count", "3", "a", "b"], io, [probe])).toBe(1);
    expect(out()).toBe("a b 3\n");
    expect(err()).toBe("cvm-cpu probe: no file\n");
  });
  test("a choice has a default and refuses others", () => {
    const input = (values: Input["values"]): Input => ({ values, files: [] });
    expect(choiceOption(input({}), "mode", ["a", "b"])).toBe("a");
    expect(choiceOption(input({ mode: "b" }), "mode", ["a", "b"])).toBe("b");
    expect(() => choiceOption(input({ mode: "c" }), "mode", ["a", "b"])).toThrow('--mode needs one of a, b, not "c"');
  });
});

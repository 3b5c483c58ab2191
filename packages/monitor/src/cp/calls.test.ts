/** CP_Call: what a call does, whose the callee's system calls, faults and interrupts are, and how it ends otherwise than by returning. */
import { afterEach, describe, expect, test } from "vitest";
import { buffer, call, Call, CallHost, exit, getBuffers, giveBack, open, Publish, serve, tell, wait } from "../test-support/calls.ts";

const hosts: CallHost[] = [];
function hostOf(...args: ConstructorParameters<typeof CallHost>): CallHost {
  const host = new CallHost(...args);
  hosts.push(host);
  return host;
}
afterEach(() => {
  for (const host of hosts.splice(0)) host.close();
});

/** A cVM that serves "one": what it does with each call, before it gives a0 back. */
const server = (body: string, name = 0): string => `
  ${open(name, Publish)}
  ${serve("entry")}
  ${tell()}
  ${exit(9)}
  entry:
  ${body}
  ${giveBack}`;
/** A cVM that calls "one", with its stack in order. */
const client = (body: string, name = 0): string => `${open(name, Call)}\n${body}\n${exit()}`;

describe.each(["interpreter", "translator", "eager"] as const)("%s:", (engine) => {
  test("a hot call makes no trap and calls no function in TypeScript", async () => {
    const host = hostOf(engine);
    const callee = await host.startServer("callee", server("add a0, a0, a1\nadd a0, a0, a2\nadd a0, a0, a3"));
    const counts: number[][] = [];
    const loop = (times: number): string => `
      li t0, ${times}
      sd t0, 40(sp)
      again${times}:
      ld a0, 40(sp)
      li a1, 10
      li a2, 100
      li a3, 1000
      ${call()}
      ld t1, 40(sp)
      addi t1, t1, -1
      sd t1, 40(sp)
      bnez t1, again${times}`;
    const caller = await host.start("caller", client(`${loop(100)}\nli a7, 510\necall\n${loop(1000)}\nli a7, 510\necall`), {
      calls: [
        {
          name: "count",
          number: 510,
          handler: () => {
            const [mine, theirs] = [caller.cvm.inspect(), callee.cvm.inspect()];
            counts.push([mine.syscalls, mine.faults, theirs.syscalls, theirs.faults, [...host.slow.values()].reduce((a, b) => a + b, 0)]);
            return 0;
          },
        },
      ],
    });
    await caller.heard.ended;
    const [before, after] = counts as [number[], number[]];
    // Only the system call that counts.
    expect(after.map((value, at) => value - before[at]!)).toEqual([1, 0, 0, 0, 0]);
    expect(callee.cvm.inspect().switches).toBeGreaterThan(0);
  });

  test("arguments go in, a result comes out, and stack and thread are the callee's", async () => {
    const host = hostOf(engine);
    await host.startServer("callee", server(`li t1, 3\nmul a0, a0, t1\nadd a0, a0, a3\nmv a1, sp`));
    await host.start(
      "caller",
      `li tp, 77\n${client(`li a0, 5\nli a3, 2\n${call()}\nsd a1, 40(sp)\n${tell()}\nmv a0, tp\n${tell()}\nld a0, 40(sp)\nsub a0, a0, sp\n${tell()}`)}`,
    );
    await host.until(() => host.told.length === 3);
    // Both programs have the same stack pointer in their own regions.
    expect(host.values("caller")).toEqual([17, 77, 0]);
  });

  test("system calls are the callee's in it and the caller's behind it, also when they wait", async () => {
    const host = hostOf(engine);
    const callee = await host.startServer("callee", server(`${tell(1)}${wait}${tell(2)}li a0, 3`));
    const caller = await host.start("caller", client(`${tell(10)}${call()}${tell()}${call()}${tell()}`));
    await host.until(() => host.waiting === 1);
    expect(host.told.map(({ who, value }) => `${who} ${value}`)).toEqual(["caller 10", "callee 1"]);
    host.answer();
    await host.until(() => host.waiting === 1);
    host.answer();
    await caller.heard.ended;
    expect(host.told.map(({ who, value }) => `${who} ${value}`)).toEqual([
      "caller 10",
      "callee 1",
      "callee 2",
      "caller 3",
      "callee 1",
      "callee 2",
      "caller 3",
    ]);
    expect([callee.cvm.inspect().faults, caller.heard.exits]).toEqual([0, [[0, 0, 0]]]);
  });
});

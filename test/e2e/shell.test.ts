/** A real bash with job control, on a pseudo-terminal that script(1) makes inside the cVM. */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { ensureImage, TEST_HOME } from "../support/cvm.ts";

const command = join(import.meta.dirname, "..", "..", "bin", "cvm");
beforeAll(() => ensureImage("shell", ["bash", "bsdutils", "coreutils", "procps"]), 600_000);

/** Types each text when what stands before it was shown. Gives all that was shown, and the exit code. */
function converse(
  steps: readonly (readonly [shown: RegExp, typed: string])[],
): Promise<{ readonly shown: string; readonly code: number | null }> {
  return new Promise((resolve, reject) => {
    const args = ["run", "--rm", "-i", "-e", "SHELL=/bin/bash", "shell", "script", "-qec", "bash --norc -i", "/dev/null"];
    const child = spawn(command, args, { env: { ...process.env, CVM_HOME: TEST_HOME } });
    const timer = setTimeout(() => child.kill("SIGTERM"), 60_000);
    let shown = "";
    let from = 0;
    let step = 0;
    child.stdout.on("data", (chunk: Buffer) => {
      shown += chunk.toString();
      for (let next = steps[step]; next !== undefined; next = steps[step]) {
        const match = next[0].exec(shown.slice(from));
        if (match === null) return;
        from += match.index + match[0].length;
        step++;
        child.stdin.write(next[1]);
      }
    });
    child.on("error", reject);
    child.on("close", (code) => {
      clearTimeout(timer);
      resolve({ shown, code });
    });
  });
}

test("jobs of bash: ^Z, bg, fg, a background cat that reads, a stopped pipeline, ^C", async () => {
  const { shown, code } = await converse([
    [/bash-\S+# /u, "(echo begun; sleep 100)\n"],
    [/\nbegun\r\n/u, "\x1a"],
    [/\[1\]\+ {2}Stopped +\( echo begun; sleep 100 \)\r\nbash-\S+# /u, "bg\n"],
    [/\[1\]\+ \( echo begun; sleep 100 \) &\r\nbash-\S+# /u, "jobs\n"],
    [/\[1\]\+ {2}Running +\( echo begun; sleep 100 \) &\r\nbash-\S+# /u, "kill %1; wait %1; echo ended $?\n"],
    [/\nended 143\r\nbash-\S+# /u, "cat & sleep 0.3; jobs -l\n"],
    [/Stopped \(tty input\) +cat\r\nbash-\S+# /u, "fg\n"],
    [/fg\r\ncat\r\n/u, "typed\n"],
    [/typed\r\ntyped\r\n/u, "\x04"],
    [/bash-\S+# /u, "cat | cat | cat\n"],
    [/cat \| cat \| cat\r\n/u, "through\n"],
    [/through\r\nthrough\r\n/u, "\x1a"],
    [/Stopped +cat \| cat \| cat\r\nbash-\S+# /u, "fg\n"],
    [/fg\r\ncat \| cat \| cat\r\n/u, "again\n"],
    [/again\r\nagain\r\n/u, "\x03"],
    [/bash-\S+# /u, "echo status $?; exit 5\n"],
  ]);
  expect(shown).toContain("status 130");
  expect(code).toBe(5);
}, 120_000);

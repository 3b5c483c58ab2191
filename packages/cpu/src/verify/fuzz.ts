/** `pnpm fuzz:isa`: see campaign.ts. */
import { fuzz, settingsOf, USAGE, UsageError } from "./campaign.ts";

const print = (text: string): void => void process.stdout.write(`${text}\n`);
try {
  const settings = settingsOf(process.argv.slice(2));
  if (settings === undefined) print(USAGE);
  else process.exitCode = fuzz(settings, print);
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  process.stderr.write(`${error.message}\n\n${USAGE}\n`);
  process.exitCode = 2;
}

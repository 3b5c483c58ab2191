/** Folders of the suites: nothing of others stands in the repository. */
import { join } from "node:path";

const ROOT: string = join(import.meta.dirname, "..");
export const COMMAND: string = join(ROOT, "bin", "cvm");
const CACHE: string = join(ROOT, ".cache", "suites");
/** Images, cVMs and host of the suites; the user's own are not touched. */
export const HOME: string = process.env["CVM_SUITES_HOME"] ?? join(CACHE, "home");
/** Sources of suites that are downloaded. */
export const SOURCES: string = join(CACHE, "sources");
/** What each module printed. */
export const OUTPUT: string = join(CACHE, "output");

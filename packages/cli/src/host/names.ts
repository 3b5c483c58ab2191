import { randomInt } from "node:crypto";

const FIRST = [
  "brave",
  "calm",
  "clever",
  "eager",
  "gentle",
  "happy",
  "keen",
  "lucid",
  "mild",
  "noble",
  "proud",
  "quick",
  "quiet",
  "sharp",
  "steady",
  "swift",
  "tidy",
  "vivid",
  "warm",
  "wise",
];
const SECOND = [
  "ada",
  "boole",
  "church",
  "codd",
  "dijkstra",
  "floyd",
  "goldberg",
  "hamilton",
  "hoare",
  "hopper",
  "kay",
  "knuth",
  "lamport",
  "liskov",
  "lovelace",
  "mccarthy",
  "perlis",
  "ritchie",
  "shannon",
  "turing",
];

/** A name that no cVM of `taken` has. */
export function randomName(taken: ReadonlySet<string>): string {
  for (;;) {
    const name = `${FIRST[randomInt(FIRST.length)]!}_${SECOND[randomInt(SECOND.length)]!}${taken.size > 200 ? randomInt(10000) : ""}`;
    if (!taken.has(name)) return name;
  }
}

/** Writers whose every acknowledged write is looked for after a crash. */

export interface Verified {
  /** Writes that were acknowledged since the last look, all of which were looked for. */
  readonly writes: number;
  /** What is missing, too much or not whole; empty: all is well. */
  readonly problems: readonly string[];
}

export interface Load {
  readonly name: string;
  /** Where its database is on this machine. */
  readonly folder: string;
  /** One write after the other until the connections break; resolves then. */
  write(): Promise<void>;
  /** One write; resolves when it is acknowledged. */
  writeOne(): Promise<void>;
  /** Connects, within a minute, and compares what is there with what was written. */
  verify(): Promise<Verified>;
}

/**
 * Writes of one writer, numbered from 1. Its database must hold all up to some number: no less than the last that was acknowledged,
 * no more than the last that was sent.
 */
export class Ledger {
  #sent = 0;
  #acknowledged = 0;
  /** Of them: since the last {@link settle}. */
  #fresh = 0;

  /** The number of the next write. */
  next(): number {
    return ++this.#sent;
  }
  acknowledge(number: number): void {
    if (number > this.#acknowledged) this.#acknowledged = number;
    this.#fresh++;
  }
  /** What is wrong with a database whose last write is this; undefined: nothing. */
  problemOf(last: number): string | undefined {
    if (last < this.#acknowledged) return `ends with write ${last}, but ${this.#acknowledged} was acknowledged`;
    if (last > this.#sent) return `ends with write ${last}, but only ${this.#sent} were sent`;
    return undefined;
  }
  /** Goes on from what the database holds. @returns acknowledged writes since the last time */
  settle(last: number): number {
    const fresh = this.#fresh;
    this.#sent = this.#acknowledged = last;
    this.#fresh = 0;
    return fresh;
  }
}

/** What a write puts into a large value: told by its number. */
export function contentOf(number: number): string {
  const length = 20 + ((number * 7919) % 1500);
  return `${number}:`.padEnd(length, `${number}.`);
}

/** Tries until it succeeds. @throws the last error after so many milliseconds */
export async function untilDone<T>(milliseconds: number, action: () => Promise<T>): Promise<T> {
  const deadline = Date.now() + milliseconds;
  for (;;) {
    try {
      return await action();
    } catch (error) {
      if (Date.now() > deadline) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

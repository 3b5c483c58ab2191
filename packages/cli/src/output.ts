/** A column of a table: its heading and how to print a row's cell. */
export interface Column<Row> {
  readonly title: string;
  readonly cell: (row: Row) => string;
}

/** Text with columns padded to the widest cell, as docker prints tables. */
export function table<Row>(rows: readonly Row[], columns: readonly Column<Row>[]): string {
  const lines = [columns.map((column) => column.title), ...rows.map((row) => columns.map((column) => column.cell(row)))];
  const widths = columns.map((_, index) => Math.max(...lines.map((line) => line[index]!.length)));
  return lines
    .map((line) =>
      line
        .map((cell, index) => (index === line.length - 1 ? cell : cell.padEnd(widths[index]! + 3)))
        .join("")
        .trimEnd(),
    )
    .join("\n");
}

const UNITS = ["B", "kB", "MB", "GB", "TB"];

/** Bytes in decimal units with three digits: `15.2MB`. */
export function humanBytes(bytes: number): string {
  let unit = 0;
  let value = bytes;
  // What would round to 1000 takes the next unit.
  while (value >= (unit === 0 ? 1000 : 999.5) && unit < UNITS.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 ? value : value >= 999.5 ? Math.round(value) : value.toPrecision(3)}${UNITS[unit]!}`;
}

/** How long ago, in words: `3 minutes`. */
export function humanAge(from: string, now: number = Date.now()): string {
  const seconds = Math.max(0, Math.round((now - Date.parse(from)) / 1000));
  const units: readonly (readonly [number, string])[] = [
    [86400 * 365, "year"],
    [86400 * 7, "week"],
    [86400, "day"],
    [3600, "hour"],
    [60, "minute"],
    [1, "second"],
  ];
  for (const [size, name] of units) {
    if (seconds >= size) {
      const count = Math.floor(seconds / size);
      return `${count} ${name}${count === 1 ? "" : "s"}`;
    }
  }
  return "less than a second";
}

/**
 * Shows what a long step is doing: one line that changes on a terminal, a line a step elsewhere. Ends with {@link done}.
 */
export class ProgressLine {
  #last = "";
  readonly #terminal: boolean = process.stderr.isTTY;

  readonly show = (text: string): void => {
    if (text === this.#last) return;
    if (this.#terminal) process.stderr.write(`\r\x1b[2K${text}`);
    // Without a terminal each kind of step is said once, not each of its counts.
    else if (text.replace(/\d+/gu, "") !== this.#last.replace(/\d+/gu, "")) process.stderr.write(`${text}\n`);
    this.#last = text;
  };
  done(): void {
    if (this.#terminal && this.#last !== "") process.stderr.write("\r\x1b[2K");
    this.#last = "";
  }
}

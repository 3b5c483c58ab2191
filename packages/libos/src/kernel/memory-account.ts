/** Memory of all processes of a cVM against its limit: pages that hold content, not reserved ranges. */
export class MemoryAccount {
  readonly limit: number;
  used = 0;

  constructor(limit: number) {
    this.limit = limit;
  }
  /** Takes `bytes` if they are left. */
  take(bytes: number): boolean {
    if (this.used + bytes > this.limit) return false;
    this.used += bytes;
    return true;
  }
  give(bytes: number): void {
    this.used -= bytes;
  }
}

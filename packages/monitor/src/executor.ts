import type { Disassemble, Trap } from "@cvm/cpu";
import { Cause, Exit, GRANULE_SIZE } from "@cvm/cpu/abi";
import type { Awaitable, Fault } from "./abi.ts";
import { OUT_OF_MEMORY } from "./abi.ts";
import { isInteger, isPromise, isRecord, messageOf } from "./check.ts";
import type { Compartment } from "./compartment.ts";
import { isAway } from "./cp/calls.ts";
import { Errno } from "./errors.ts";
import type { FaultReport } from "./faults.ts";
import { reportFault } from "./faults.ts";
import type { Gate, GateEvents } from "./gate.ts";
import type { Operations } from "./operations.ts";
import type { Thread } from "./process.ts";
import { ThreadState } from "./process.ts";
import type { Clock } from "./scheduler.ts";

/** System calls between two looks at the clock. */
const CALLS_PER_LOOK = 8;
const SIGSEGV = 11;

export interface ExecutorEvents extends GateEvents {
  /** A fault ended a process; its library OS says by which signal. */
  faulted(compartment: Compartment, report: FaultReport, signal: number): void;
}

/** Runs threads, and does what is due between two instructions: system calls, faults, interrupts. */
export class Executor {
  readonly #clock: Clock;
  readonly #gate: Gate;
  readonly #operations: Operations;
  readonly #events: ExecutorEvents;
  readonly #disassemble: Disassemble | undefined;
  /** The thread that runs. */
  #runs: Thread | null = null;

  constructor(clock: Clock, gate: Gate, operations: Operations, events: ExecutorEvents, disassemble: Disassemble | undefined) {
    this.#clock = clock;
    this.#gate = gate;
    this.#operations = operations;
    this.#events = events;
    this.#disassemble = disassemble;
  }

  /** See {@link RunSlice}. A failure of the monitor itself ends the cVM, not the host. */
  run(thread: Thread, fuel: number, until: number): boolean {
    this.#runs = thread;
    try {
      const usedUp = this.#run(fuel, until);
      const last = this.#runs;
      if (last !== thread && last.state === ThreadState.Running) last.process.owner.makeRunnable(last);
      return usedUp;
    } catch (error) {
      this.#events.broken(this.#runs.process.owner, `running it failed: ${error instanceof Error ? error.stack : String(error)}`);
      return false;
    }
  }

  /** A call of another cVM, or its return, goes on in the same slice: {@link Calls.settle}. */
  #run(fuel: number, until: number): boolean {
    let thread = this.#runs!;
    let compartment = thread.process.owner;
    const { calls: crossing } = compartment.host;
    let calls = 0;
    const { seat } = thread.process;
    if (seat !== null) {
      // It may run as long as bringing its memory took: many that take turns in one region would do nothing else.
      const before = this.#clock.now();
      thread.process.enter();
      until += 2 * (this.#clock.now() - before);
    }
    for (;;) {
      if (thread.starved) {
        thread.starved = false;
        this.fault(compartment, thread, { cause: OUT_OF_MEMORY, value: 0 });
        if (thread.state !== ThreadState.Running) return false;
      }
      if (thread.interrupt) {
        if (isAway(thread)) {
          crossing.interrupt(thread);
          if (thread.state !== ThreadState.Running) return false;
        }
        this.#interrupt(compartment, thread);
        if (thread.state !== ThreadState.Running) return false;
      }
      thread.process.enter();
      if (thread.origin !== thread) thread.origin.process.enter();
      let exit = thread.hart.run(fuel);
      while (exit === Exit.Fuel && crossing.crosses(thread.hart)) exit = thread.hart.run(1);
      if (exit !== Exit.Fuel && isAway(thread)) {
        if (exit === Exit.Trap && thread.hart.trapCause === Cause.StorePage && crossing.use(thread, thread.hart.trapValue) > 0) continue;
        this.#runs = thread = crossing.settle(thread);
        compartment = thread.process.owner;
      }
      const { hart } = thread;
      if (exit === Exit.Ecall) {
        this.#gate.call(compartment, thread);
        if (thread.state !== ThreadState.Running) return false;
        if (++calls % CALLS_PER_LOOK === 0 && this.#clock.now() >= until) return false;
      } else if (exit === Exit.Trap) {
        const { trapCause: cause, trapValue: value } = hart;
        // The longest access may reach into the next page.
        const given = cause === Cause.StorePage ? thread.process.use(value, GRANULE_SIZE) : 0;
        if (crossing.crosses(hart)) crossing.lost(thread);
        if (given <= 0) this.fault(compartment, thread, given < 0 ? { cause: OUT_OF_MEMORY, value } : { cause, value });
        if (thread.state !== ThreadState.Running || this.#clock.now() >= until) return false;
      } else if (thread.origin !== thread && (this.#runs = crossing.rest(thread)) !== thread) return true;
      else if (exit !== Exit.Fuel || seat === null || this.#clock.now() >= until) return exit === Exit.Fuel && seat === null;
    }
  }

  /** Asks the library OS what becomes of a thread that it wanted to interrupt. */
  #interrupt(compartment: Compartment, thread: Thread): void {
    thread.interrupt = false;
    this.#ask(
      compartment,
      thread,
      () => compartment.libraryOs!.interrupted(thread.id, thread.hart.saveRegisters()),
      (ops) => {
        if (thread.state === ThreadState.Dead) return;
        const outcome = this.#operations.apply(compartment, ops, thread);
        if (outcome.error === -Errno.EINVAL) this.#events.broken(compartment, outcome.reason);
        else if (outcome.error !== 0)
          this.fault(compartment, thread, { cause: outcome.error === -Errno.ENOMEM ? OUT_OF_MEMORY : Cause.StoreAccess, value: 0 });
      },
    );
  }

  /** Tells the library OS about a fault; it delivers a signal or gives the process up. */
  fault(compartment: Compartment, thread: Thread, trap: Trap): void {
    const { hart, process } = thread;
    compartment.faultCount++;
    const report = reportFault(compartment, thread, this.#disassemble, trap);
    const fault: Fault = {
      process: process.id,
      thread: thread.id,
      cause: trap.cause,
      value: report.value,
      address: report.address,
      pc: hart.pc,
      registers: hart.saveRegisters(),
      report: report.text,
    };
    compartment.asking++;
    const asked = (act: () => void): void => {
      try {
        act();
      } finally {
        if (--compartment.asking === 0) for (const held of compartment.held.splice(0)) held();
      }
    };
    this.#ask(
      compartment,
      thread,
      () => compartment.libraryOs!.fault(fault),
      (answer: unknown) =>
        asked(() => {
          if (!isRecord(answer)) {
            this.#events.broken(compartment, "a fault was answered with something that is no answer");
            return;
          }
          const { ops, signal } = answer;
          if (ops === null || ops === undefined) {
            if (compartment.alive) this.#events.faulted(compartment, report, isInteger(signal, 1, 64) ? signal : SIGSEGV);
            compartment.endProcess(process);
            return;
          }
          if (thread.state === ThreadState.Dead) return;
          const outcome = this.#operations.apply(compartment, ops, thread);
          if (outcome.error === -Errno.ENOMEM && trap.cause !== OUT_OF_MEMORY)
            this.fault(compartment, thread, { cause: OUT_OF_MEMORY, value: 0 });
          else if (outcome.error !== 0)
            this.#events.broken(compartment, `${outcome.reason}; it was the answer to this fault:\n${report.text}`);
        }),
      asked,
    );
  }

  /**
   * Asks, and acts on the answer now or when it comes. The thread sleeps meanwhile, or dies. `around` is put around the action on a failure,
   * which ends the cVM.
   */
  #ask<T>(
    compartment: Compartment,
    thread: Thread,
    question: () => Awaitable<T>,
    act: (answer: T) => void,
    around: (act: () => void) => void = (act) => act(),
  ): void {
    const sync = thread.state === ThreadState.Running;
    const failed = (error: unknown): void =>
      around(() => {
        if (compartment.alive) this.#events.broken(compartment, `its library OS failed: ${messageOf(error)}`);
      });
    thread.state = ThreadState.Stopped;
    let answer: Awaitable<T>;
    try {
      answer = question();
    } catch (error) {
      failed(error);
      return;
    }
    const settle = (value: T, resume: () => void): void => {
      act(value);
      if ((thread.state as number) === ThreadState.Stopped) resume();
    };
    if (isPromise(answer)) answer.then((value) => settle(value, () => compartment.makeRunnable(thread))).then(undefined, failed);
    else settle(answer, () => (sync ? (thread.state = ThreadState.Running) : compartment.makeRunnable(thread)));
  }
}

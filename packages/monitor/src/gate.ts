import type { HartPort } from "@cvm/cpu/abi";
import type { MessageIn, MessageOut, OutValue, SyscallOutcome, SyscallReply, SyscallValue } from "./abi.ts";
import { Limits, PENDING } from "./abi.ts";
import { isBytes, isInteger, isRecord, messageOf } from "./check.ts";
import type { Compartment } from "./compartment.ts";
import type { Pair } from "./cp/calls.ts";
import type { CompiledArgument, CompiledSyscall } from "./declarations.ts";
import { Errno } from "./errors.ts";
import { GuestMemory, vectorLength } from "./guest-memory.ts";
import type { Operations } from "./operations.ts";
import { copyBetween } from "./cp/copy.ts";
import type { Thread } from "./process.ts";
import { ThreadState } from "./process.ts";

/** System call of the monitor itself: a0 becomes the capability with the number in a0 (see {@link Compartment.capability}), or -EBADF. */
export const CALL_CAPABILITY = 0x4356;
/**
 * The same. Waits for calls of the CP_Call with the number in a0, each of which begins at a1: see {@link Calls.serve}. Comes back with a negative errno only: EINTR after a signal, ECANCELED when the object is
 * gone, or why it could not.
 */
export const CALL_SERVE = 0x4358;
/** In the place of a number for {@link CALL_CAPABILITY}: the gates of {@link Calls.gates}. */
export const CALL_GATES = -2;
/** The same: copies between two capabilities ({@link copyBetween}). */
export const CALL_COPY = 0x4357;

const A0 = 10;
const A7 = 17;
/** struct sockaddr_storage; Linux cuts longer names. */
const NAME_MOST = 128;
/** Ancillary data of one message. */
const CONTROL_MOST = 65536;
const TWO64 = 2 ** 64;
const INPUTS: ReadonlySet<string> = new Set(["in", "iovIn", "msgIn"]);

/** What the gate needs to say when a library OS does what it must not. */
export interface GateEvents {
  /** The library OS threw, or answered with something that is no answer. Its guest got an error; it goes on. */
  problem(compartment: Compartment, text: string): void;
  /** The library OS asked for what it may not have: the cVM is over. */
  broken(compartment: Compartment, text: string): void;
}

/**
 * The way from an ecall into a library OS and back. The caller is found from the hart's own PCC, its pointers are resolved against its own
 * DDC, and outputs go through {@link GuestMemory.store} alone.
 */
export class Gate {
  readonly #memory: GuestMemory;
  readonly #operations: Operations;
  readonly #events: GateEvents;
  /** Why an argument could not be marshalled, negative; 0 while all could. */
  #error: number = 0;

  constructor(memory: GuestMemory, operations: Operations, events: GateEvents) {
    this.#memory = memory;
    this.#operations = operations;
    this.#events = events;
  }

  /** A running thread stands at an ecall. Afterwards it runs on, waits, or is dead. */
  call(compartment: Compartment, thread: Thread): void {
    const { hart, process } = thread;
    const { calls } = compartment.host;
    const memory = this.#memory;
    compartment.syscallCount++;
    memory.enter(thread);
    hart.pc += 4;
    // After a crossing the callee's calls are the callee's: they are not made in the name of the thread's own process.
    if (!memory.runsIn(process.region.base, process.region.length)) {
      if (calls.crosses(hart)) return calls.done(thread);
      compartment.refuse(`thread ${thread.id} made a system call from code of another compartment`);
      hart.setInt(A0, -Errno.ENOSYS);
      return;
    }
    const number = hart.getInt(A7);
    if (number === CALL_CAPABILITY) {
      const handle = hart.getInt(A0);
      const capability = compartment.capability(process, handle);
      if (capability !== undefined) hart.setCapability(A0, capability);
      else givePair(hart, handle === CALL_GATES ? calls.gates(compartment) : calls.pair(compartment, handle));
      return;
    }
    if (number === CALL_SERVE) {
      const error = calls.serve(thread, hart.getInt(A0), hart.getInt(A0 + 1));
      if (error !== 0) hart.setInt(A0, error);
      return;
    }
    if (number === CALL_COPY) {
      hart.setInt(A0, copyBetween(compartment.host.machine, thread));
      return;
    }
    const { call, libraryOs, syscalls } = compartment;
    const index = number | 0;
    const declaration = index === number && index >= 0 && index < syscalls.length ? syscalls[index] : undefined;
    thread.saved = null;
    if (declaration === undefined) {
      call.args = [];
      for (let i = 0; i < 6; i++) call.args.push(hart.getInt(A0 + i));
      call.registers = undefined;
    } else {
      const { arguments: declared, values } = declaration;
      for (let i = 0; i < declared.length; i++) {
        thread.raw[i] = hart.getInt(A0 + i);
        thread.room[i] = -1;
      }
      this.#error = 0;
      for (let i = 0; i < declared.length && this.#error === 0; i++) values[i] = this.#marshal(thread, declaration, i);
      if (this.#error !== 0) {
        hart.setInt(A0, this.#error);
        return;
      }
      call.args = values;
      call.registers = declaration.registers ? hart.saveRegisters() : undefined;
    }
    call.process = process.id;
    call.thread = thread.id;
    call.number = number;
    thread.call = declaration ?? null;
    thread.state = ThreadState.Calling;
    thread.early = undefined;
    let outcome: SyscallOutcome;
    try {
      outcome = libraryOs!.syscall(call);
    } catch (error) {
      this.#events.problem(
        compartment,
        `system call ${number} (${declaration?.name ?? "unknown"}) of the library OS failed: ${messageOf(error)}`,
      );
      outcome = -Errno.EIO;
    }
    // The handler may have ended the thread, or the whole cVM.
    if (thread.state !== ThreadState.Calling) return;
    if (typeof outcome === "number" && thread.early === undefined) {
      thread.state = ThreadState.Running;
      if (Number.isSafeInteger(outcome)) hart.setInt(A0, outcome);
      else this.#badAnswer(compartment, thread);
      return;
    }
    if (outcome === PENDING && thread.early === undefined) {
      thread.state = ThreadState.Pending;
      return;
    }
    const answer = outcome === PENDING ? thread.early! : outcome;
    if (thread.early !== undefined && outcome !== PENDING) compartment.refuse(`thread ${thread.id} was answered twice`);
    thread.early = undefined;
    if (!isAnswer(answer)) this.#badAnswer(compartment, thread);
    else this.#finish(compartment, thread, answer);
    if ((thread.state as number) === ThreadState.Calling) thread.state = ThreadState.Running;
  }

  /** Answers a call that waits. Refused, without any effect, when the thread waits for no answer or this is none. */
  complete(compartment: Compartment, thread: Thread | undefined, answer: unknown): void {
    if (!isAnswer(answer)) {
      compartment.refuse("an answer to a system call has not the form of one");
      return;
    }
    if (thread?.state === ThreadState.Calling && thread.early === undefined) {
      thread.early = answer;
      return;
    }
    if (thread?.state !== ThreadState.Pending) {
      compartment.refuse("an answer came for a thread that waits for none");
      return;
    }
    this.#memory.entered = null;
    this.#finish(compartment, thread, answer);
    if ((thread.state as number) === ThreadState.Pending) compartment.makeRunnable(thread);
  }

  /** What an input of a call that waits is now, as {@link SyscallCall.args} has it; null when it is none, or its memory is gone. */
  argument(thread: Thread | undefined, i: number): SyscallValue {
    const call = thread?.state === ThreadState.Pending ? thread.call : null;
    if (call === null || !INPUTS.has(call.arguments[i]?.kind ?? "")) return null;
    thread!.process.enter();
    this.#memory.enter(thread!);
    this.#error = 0;
    const value = this.#marshal(thread!, call, i);
    this.#memory.entered = null;
    return this.#error === 0 ? value : null;
  }

  /** A process's memory was moved: nothing that is known of pointers holds. */
  moved(): void {
    this.#memory.entered = null;
  }

  #badAnswer(compartment: Compartment, thread: Thread): void {
    this.#events.problem(compartment, `system call (${thread.call?.name ?? "unknown"}) was answered with something that is no answer`);
    thread.hart.setInt(A0, -Errno.EIO);
  }

  /** Operations, outputs, result: in this order. */
  #finish(compartment: Compartment, thread: Thread, answer: number | SyscallReply): void {
    const { hart } = thread;
    if (typeof answer === "number") {
      hart.setInt(A0, answer);
      return;
    }
    const process = thread.process;
    let { result } = answer;
    thread.replaced = false;
    if (answer.ops !== undefined && answer.ops.length > 0) {
      const outcome = this.#operations.apply(compartment, answer.ops, thread);
      if (outcome.error === -Errno.EINVAL) {
        this.#events.broken(compartment, outcome.reason);
        return;
      }
      if (outcome.error !== 0) {
        hart.setInt(A0, outcome.error);
        return;
      }
      if (thread.state === ThreadState.Dead) return;
      this.#memory.entered = null;
    }
    if (answer.out !== undefined && thread.process === process) {
      // Others may have called since.
      process.enter();
      if (this.#memory.entered !== thread) this.#memory.enter(thread);
      for (const output of answer.out) if (!this.#store(thread, output)) result = -Errno.EFAULT;
    }
    if (!thread.replaced) hart.setInt(A0, result);
  }

  /** What the handler gets for argument `i`; null with {@link Gate.#error} set when there is an error. */
  #marshal(thread: Thread, declaration: CompiledSyscall, i: number): SyscallValue {
    const memory = this.#memory;
    const argument = declaration.arguments[i]!;
    const raw = thread.raw[i]!;
    switch (argument.kind) {
      case "int":
      case "fd":
        return raw | 0;
      case "uint":
        return raw >>> 0;
      case "long":
        return raw;
      case "ulong":
      case "address":
      case "addressLength":
        return raw < 0 ? raw + TWO64 : raw;
      case "path":
      case "string": {
        const text = raw === 0 && argument.nullable ? null : memory.string(raw, Limits.stringBytes);
        return typeof text === "number" ? this.#fail(text) : text;
      }
      case "strings": {
        const strings = memory.strings(raw);
        return typeof strings === "number" ? this.#fail(strings) : strings;
      }
      case "in":
      case "inout":
      case "out":
        return this.#marshalBuffer(thread, declaration, argument, i);
      case "iovIn":
      case "iovOut": {
        const vector = memory.vector(raw, lengthOf(thread, declaration, argument));
        if (typeof vector === "number") return this.#fail(vector);
        if (argument.kind === "iovIn") return memory.gather(vector) ?? this.#fail(-Errno.EFAULT);
        save(thread, i, { kind: "vector", vector });
        return vectorLength(vector);
      }
      case "msgIn":
      case "msgOut":
        return this.#marshalMessage(thread, argument.kind === "msgIn", i);
      case "addressOut": {
        const lengthPointer = thread.raw[i + 1]!;
        if (raw === 0) return null;
        const capacity = memory.readU32(lengthPointer);
        if (capacity < 0 || capacity > 0x7fff_ffff) return this.#fail(capacity < 0 ? -Errno.EFAULT : -Errno.EINVAL);
        save(thread, i, { kind: "address", capacity, lengthPointer });
        return capacity;
      }
    }
  }

  #fail(errno: number): null {
    this.#error = errno;
    return null;
  }

  #marshalBuffer(thread: Thread, declaration: CompiledSyscall, argument: CompiledArgument, i: number): SyscallValue {
    const memory = this.#memory;
    const raw = thread.raw[i]!;
    if (raw === 0 && argument.nullable) return null;
    const length = Math.min(lengthOf(thread, declaration, argument), Limits.transferBytes);
    if (argument.kind !== "in") thread.room[i] = length;
    if (argument.kind === "in") return memory.lend(raw, length) ?? this.#fail(-Errno.EFAULT);
    if (argument.kind === "inout") return memory.copy(raw, length) ?? this.#fail(-Errno.EFAULT);
    // The first byte only: a program may pass a larger size than it has, as long as the answer is small.
    return length > 0 && memory.resolve(raw, 1, true) < 0 ? this.#fail(-Errno.EFAULT) : length;
  }

  /** struct msghdr: name 0, namelen 8, iov 16, iovlen 24, control 32, controllen 40, flags 48; 56 bytes. */
  #marshalMessage(thread: Thread, input: boolean, i: number): SyscallValue {
    const memory = this.#memory;
    const header = thread.raw[i]!;
    if (memory.resolve(header, 56, !input) < 0 || memory.resolve(header, 56, false) < 0) return this.#fail(-Errno.EFAULT);
    const name = memory.readU64(header);
    const nameLength = name === 0 ? 0 : memory.readU32(header + 8);
    if (nameLength > 0x7fff_ffff) return this.#fail(-Errno.EINVAL);
    const nameCapacity = Math.min(nameLength, NAME_MOST);
    const vector = memory.vector(memory.readU64(header + 16), memory.readU64(header + 24));
    if (typeof vector === "number") return this.#fail(vector);
    const control = memory.readU64(header + 32);
    const controlLength = control === 0 ? 0 : memory.readU64(header + 40);
    if (!input) {
      const controlCapacity = Math.min(controlLength, CONTROL_MOST);
      save(thread, i, { kind: "message", header, name, nameCapacity, control, controlCapacity, vector });
      return { nameCapacity, dataCapacity: vectorLength(vector), controlCapacity } satisfies MessageOut;
    }
    if (controlLength > CONTROL_MOST) return this.#fail(-Errno.ENOBUFS);
    const nameBytes = name === 0 ? null : memory.copy(name, nameCapacity);
    const data = memory.gather(vector);
    const controlBytes = memory.copy(control, controlLength);
    if (data === null || controlBytes === null || (name !== 0 && nameBytes === null)) return this.#fail(-Errno.EFAULT);
    return { name: nameBytes, data, control: controlBytes, flags: memory.readU32(header + 48) } satisfies MessageIn;
  }

  /** Writes one output, cut at what the caller has room for; false on a fault. Outputs for arguments that take none are dropped. */
  #store(thread: Thread, { arg, value }: OutValue): boolean {
    const memory = this.#memory;
    if (arg >= (thread.call?.arguments.length ?? 0)) return true;
    const pointer = thread.raw[arg]!;
    const room = thread.room[arg]!;
    if (room >= 0) return !isBytes(value) || memory.store(pointer, value.length > room ? value.subarray(0, room) : value);
    const saved = thread.saved?.[arg];
    if (saved === undefined) return true;
    switch (saved.kind) {
      case "vector":
        return !isBytes(value) || memory.scatter(saved.vector, value);
      case "address":
        if (!isBytes(value)) return true;
        return memory.store(pointer, value.subarray(0, saved.capacity)) && memory.storeU32(saved.lengthPointer, value.length);
      case "message": {
        if (isBytes(value)) return true;
        const { header, name, nameCapacity, control, controlCapacity, vector } = saved;
        const controlBytes = value.control.subarray(0, controlCapacity);
        return (
          memory.scatter(vector, value.data) &&
          (name === 0 ||
            (memory.store(name, (value.name ?? new Uint8Array(0)).subarray(0, nameCapacity)) &&
              memory.storeU32(header + 8, value.name?.length ?? 0))) &&
          memory.store(control, controlBytes) &&
          memory.storeU32(header + 40, controlBytes.length) &&
          memory.storeU32(header + 44, 0) &&
          memory.storeU32(header + 48, value.flags)
        );
      }
    }
  }
}

/** Two capabilities in ca0 and ca1, and in a2 and a3 the numbers under which the cVM's table has them. */
function givePair(hart: HartPort, pair: Pair | number): void {
  if (typeof pair === "number") return hart.setInt(A0, pair);
  for (const [i, capability] of pair.capabilities.entries()) hart.setCapability(A0 + i, capability);
  for (const [i, handle] of pair.handles.entries()) hart.setInt(A0 + 2 + i, handle);
}

/** A length as the guest gave it: 32-bit kinds as such, a negative 64-bit one as the huge number that it is. */
function lengthOf(thread: Thread, declaration: CompiledSyscall, argument: CompiledArgument): number {
  if (argument.lengthArg < 0) return argument.fixed;
  const raw = thread.raw[argument.lengthArg]!;
  const { kind } = declaration.arguments[argument.lengthArg]!;
  const value = kind === "int" ? raw | 0 : kind === "uint" ? raw >>> 0 : raw;
  const { times, multiple } = argument;
  return Math.ceil(((value < 0 ? value + TWO64 : value) * times) / multiple) * multiple;
}

function save(thread: Thread, i: number, output: NonNullable<NonNullable<Thread["saved"]>[number]>): void {
  thread.saved ??= [];
  thread.saved[i] = output;
}

function isOutValue(output: unknown): boolean {
  if (!isRecord(output) || !isInteger(output["arg"], 0, 5)) return false;
  const { value } = output;
  if (isBytes(value)) return true;
  return (
    isRecord(value) &&
    isBytes(value["data"]) &&
    isBytes(value["control"]) &&
    (value["name"] === null || isBytes(value["name"])) &&
    isInteger(value["flags"], -0x8000_0000, 0xffff_ffff)
  );
}

/** A safe integer, or a record with one and well-formed outputs. Operations are checked when they are applied. */
function isAnswer(answer: unknown): answer is number | SyscallReply {
  if (typeof answer === "number") return Number.isSafeInteger(answer);
  if (!isRecord(answer) || !Number.isSafeInteger(answer["result"])) return false;
  const { out, ops } = answer;
  return (
    (out === undefined || (Array.isArray(out) && out.length <= 6 && out.every(isOutValue))) && (ops === undefined || Array.isArray(ops))
  );
}

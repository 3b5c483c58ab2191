/** One client's conversation in RVFI-DII: bytes in, answers out, on any transport. */
import type { InjectionTarget } from "./target.ts";
import {
  ASK_VERSION,
  Cmd,
  COMMAND_BYTES,
  decodeCommand,
  encodePacket,
  encodeVersion,
  NO_EXECUTION,
  type DiiCommand,
  type Version,
} from "./wire.ts";

/**
 * - `unknown-command`: there is no such command
 * - `bad-version`: a version that is not spoken
 * - `truncated`: the client went away within a command
 */
export type SessionErrorCode = "unknown-command" | "bad-version" | "truncated";

/** The client does not keep to the protocol: its connection must end. */
export class SessionError extends Error {
  override readonly name = "SessionError";
  readonly code: SessionErrorCode;
  constructor(code: SessionErrorCode, message: string) {
    super(`[${code}] ${message}`);
    this.code = code;
  }
}

export class Session {
  readonly #target: InjectionTarget;
  readonly #send: (answer: Uint8Array) => void;
  /** Bytes of a command that is not complete. */
  readonly #partial: Uint8Array = new Uint8Array(COMMAND_BYTES);
  #have = 0;
  #version: Version = 1;
  #commands = 0;

  /** Resets the machine. `send` gets the answers, one for each command and in their order. */
  constructor(target: InjectionTarget, send: (answer: Uint8Array) => void) {
    this.#target = target;
    this.#send = send;
    target.reset();
  }

  /** Commands done. */
  get commands(): number {
    return this.#commands;
  }

  /** Does the commands that are complete with these bytes; keeps at most 7 bytes. SessionError after the answers to those before. */
  receive(bytes: Uint8Array): void {
    let at = 0;
    if (this.#have > 0) {
      at = Math.min(COMMAND_BYTES - this.#have, bytes.length);
      this.#partial.set(bytes.subarray(0, at), this.#have);
      this.#have += at;
      if (this.#have < COMMAND_BYTES) return;
      this.#have = 0;
      this.#command(decodeCommand(this.#partial));
    }
    for (; at + COMMAND_BYTES <= bytes.length; at += COMMAND_BYTES) this.#command(decodeCommand(bytes, at));
    this.#partial.set(bytes.subarray(at));
    this.#have = bytes.length - at;
  }

  /** The client will send no more. SessionError within a command. */
  end(): void {
    if (this.#have > 0) throw new SessionError("truncated", `the last command has ${this.#have} of ${COMMAND_BYTES} bytes`);
  }

  #command({ cmd, insn }: DiiCommand): void {
    switch (cmd) {
      case Cmd.Reset:
        this.#target.reset();
        this.#send(encodePacket(this.#version, NO_EXECUTION, insn === ASK_VERSION ? 3 : 1));
        break;
      case Cmd.Instruction:
        this.#send(encodePacket(this.#version, this.#target.execute(insn)));
        break;
      case Cmd.SetVersion:
        if (insn !== 1 && insn !== 2) throw new SessionError("bad-version", `version ${insn}; 1 and 2 are spoken`);
        this.#version = insn;
        this.#send(encodeVersion(insn));
        break;
      default:
        throw new SessionError("unknown-command", `command ${cmd} after ${this.#commands} commands`);
    }
    this.#commands++;
  }
}

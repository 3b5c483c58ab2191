/** The other end of RVFI-DII: drives any implementation over TCP. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import {
  ASK_VERSION,
  Cmd,
  decodeV1,
  decodeV2,
  decodeVersion,
  encodeCommand,
  sizeOfV2,
  V1_BYTES,
  VERSION_BYTES,
  type DiiCommand,
  type Packet,
  type Version,
} from "./wire.ts";

/** An implementation that says it has reset the machine has halted (1, or 3 where it speaks version 2). */
const SPEAKS_2 = 2;
const V2_HEAD = 16;
/** Bytes that may wait to be read: more than the answers to what is asked at once. */
const MAX_WAITING = 1 << 20;

/**
 * - `closed`: the connection ended before the answer
 * - `timeout`: no answer in time
 * - `unexpected`: an answer that does not belong to the command
 */
export type ClientErrorCode = "closed" | "timeout" | "unexpected";

export class ClientError extends Error {
  override readonly name = "ClientError";
  readonly code: ClientErrorCode;
  constructor(code: ClientErrorCode, message: string, options?: ErrorOptions) {
    super(`[${code}] ${message}`, options);
    this.code = code;
  }
}

export class DiiClient {
  readonly #socket: Socket;
  readonly #timeout: number;
  #version: Version = 1;

  /** What came and was not read. */
  #chunks: Uint8Array[] = [];
  #have = 0;
  /** How the connection ended. */
  #ended: string | undefined;
  #wake: () => void = () => undefined;

  private constructor(socket: Socket, timeout: number) {
    this.#socket = socket;
    this.#timeout = timeout;
    socket.on("data", (chunk) => {
      this.#chunks.push(chunk);
      this.#have += chunk.length;
      if (this.#have > MAX_WAITING) socket.pause();
      this.#wake();
    });
    const ended = (how: string): void => {
      this.#ended ??= how;
      this.#wake();
    };
    socket.on("end", () => ended(""));
    socket.on("close", () => ended(""));
    socket.on("error", (error) => ended(`: ${error.message}`));
  }

  /**
   * Connects, asks for the newest version (or `version`) and resets the machine. `timeout`: milliseconds for each answer; 10,000
   * unless given. ClientError, WireError, or the error of the connection.
   */
  static async connect(host: string, port: number, options: { timeout?: number; version?: Version } = {}): Promise<DiiClient> {
    const socket = connect({ host, port, noDelay: true });
    await once(socket, "connect");
    const client = new DiiClient(socket, options.timeout ?? 10_000);
    try {
      await client.#negotiate(options.version ?? 2);
    } catch (error) {
      client.close();
      throw error;
    }
    return client;
  }
  /** The version that answers have. */
  get version(): Version {
    return this.#version;
  }

  async #negotiate(wanted: Version): Promise<void> {
    this.#send({ cmd: Cmd.Reset, insn: ASK_VERSION, time: 0 });
    const { halt } = decodeV1(await this.#read(V1_BYTES));
    if (halt === 0) throw new ClientError("unexpected", "the answer to a reset does not halt");
    if (wanted === 1 || (halt & SPEAKS_2) === 0) return;
    this.#send({ cmd: Cmd.SetVersion, insn: wanted, time: 0 });
    this.#version = decodeVersion(await this.#read(VERSION_BYTES));
  }

  /** The machine as at the beginning. */
  async reset(): Promise<void> {
    this.#send({ cmd: Cmd.Reset, insn: 0, time: 0 });
    if ((await this.#packet()).halt === 0) throw new ClientError("unexpected", "the answer to a reset does not halt");
  }
  /** Runs instructions one after another; what they did, in their order. */
  async execute(instructions: readonly number[]): Promise<Packet[]> {
    // In pieces, so that neither side fills its buffers while the other one waits.
    const packets: Packet[] = [];
    for (let from = 0; from < instructions.length; from += 256) {
      const piece = instructions.slice(from, from + 256);
      for (const insn of piece) this.#send({ cmd: Cmd.Instruction, insn, time: 1 });
      for (let count = 0; count < piece.length; count++) {
        const packet = await this.#packet();
        if (packet.halt !== 0) throw new ClientError("unexpected", "the answer to an instruction halts");
        packets.push(packet);
      }
    }
    return packets;
  }
  close(): void {
    this.#socket.destroy();
  }

  #send(command: DiiCommand): void {
    this.#socket.write(encodeCommand(command));
  }
  async #packet(): Promise<Packet> {
    if (this.#version === 1) return decodeV1(await this.#read(V1_BYTES));
    const head = await this.#read(V2_HEAD);
    const size = sizeOfV2(head);
    const bytes = new Uint8Array(size);
    bytes.set(head);
    bytes.set(await this.#read(size - V2_HEAD), V2_HEAD);
    return decodeV2(bytes);
  }
  /** Exactly `size` bytes. */
  async #read(size: number): Promise<Uint8Array> {
    const deadline = performance.now() + this.#timeout;
    while (this.#have < size) {
      if (this.#ended !== undefined) {
        throw new ClientError("closed", `the connection ended after ${this.#have} of ${size} bytes of an answer${this.#ended}`);
      }
      const left = deadline - performance.now();
      if (left <= 0) throw new ClientError("timeout", `no answer within ${this.#timeout} ms`);
      this.#socket.resume();
      await this.#news(left);
    }
    const all = this.#chunks.length === 1 ? this.#chunks[0]! : new Uint8Array(Buffer.concat(this.#chunks));
    this.#have = all.length - size;
    this.#chunks = this.#have === 0 ? [] : [all.subarray(size)];
    return all.subarray(0, size);
  }
  /** Waits for bytes, the end, or so many milliseconds. */
  async #news(milliseconds: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

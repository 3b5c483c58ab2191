/** A cVM's end of the stream that carries its datagrams and its questions for names: see frames.ts. */
import { Limits } from "@cvm/monitor/abi";
import { formatAddress, parseAddress, type Address } from "./address.ts";
import { encodeFrame, FrameKind, FrameReader, RELAY, type Frame } from "./frames.ts";
import type { CvmNetwork, StreamOwner } from "./network.ts";

/** Consumed bytes are told to the sender in steps. */
const CREDIT_STEP = Limits.streamWindow / 4;
/** The port on which the connection stands here: of no program's choice, so that none is in its way. */
const LOCAL_PORT = 1;
/** Most bytes that wait for the connection. */
const EARLY_BYTES = Limits.streamWindow / 2;
/** Most questions without an answer. */
const MOST_QUESTIONS = 256;

/** What a datagram socket that found no room is told when there may be some. */
export interface Stalled {
  resume(): void;
}

export class RelayLink implements StreamOwner {
  readonly #network: CvmNetwork;
  readonly #stalled: Set<Stalled> = new Set();
  readonly #questions: Map<number, (answer: Uint8Array | null) => void> = new Map();
  #reader: FrameReader = new FrameReader();
  #nextQuestion = 1;
  /** 0: there is none. */
  #stream = 0;
  /** Frames that wait for the connection; null when it stands. */
  #early: Uint8Array[] | null = null;
  #credit = 0;
  #consumed = 0;

  constructor(network: CvmNetwork) {
    this.#network = network;
  }

  /** Makes the connection unless it is there: what is bound can then be reached. */
  open(): void {
    if (this.#stream !== 0) return;
    const { host } = this.#network;
    this.#stream = this.#network.allocate();
    this.#early = [];
    this.#credit = EARLY_BYTES;
    this.#consumed = 0;
    this.#reader = new FrameReader();
    this.#network.attach(this.#stream, this);
    host.connect(this.#stream, RELAY, LOCAL_PORT);
  }

  /** Sends; false when there is no room: `socket` is then told later. */
  send(socket: Stalled | null, kind: Frame["kind"], to: Address, remotePort: number, localPort: number, bytes: Uint8Array): boolean {
    this.open();
    const frame = encodeFrame({ kind, address: formatAddress(to), remotePort, localPort, bytes });
    if (frame.length > this.#credit) {
      if (socket !== null) this.#stalled.add(socket);
      return false;
    }
    this.#credit -= frame.length;
    if (this.#early !== null) this.#early.push(frame);
    else this.#network.host.send(this.#stream, frame);
    return true;
  }
  forget(socket: Stalled): void {
    this.#stalled.delete(socket);
  }

  /** Asks the host for names: the answer, or null when there is none to be had. */
  ask(question: Uint8Array, answered: (answer: Uint8Array | null) => void): void {
    if (this.#questions.size >= MOST_QUESTIONS) return answered(null);
    while (this.#questions.has(this.#nextQuestion)) this.#nextQuestion = (this.#nextQuestion % 65535) + 1;
    const number = this.#nextQuestion;
    this.#nextQuestion = (number % 65535) + 1;
    const put = (): boolean => this.send(null, FrameKind.QUERY, 0, 0, number, question);
    this.#questions.set(number, answered);
    if (put()) return;
    this.#stalled.add({
      resume: () => {
        if (this.#questions.has(number) && !put()) this.#answer(number, null);
      },
    });
  }
  #answer(number: number, answer: Uint8Array | null): void {
    const answered = this.#questions.get(number);
    this.#questions.delete(number);
    answered?.(answer);
  }

  connected(error: number): void {
    if (error !== 0) return this.peerReset();
    for (const frame of this.#early ?? []) this.#network.host.send(this.#stream, frame);
    this.#early = null;
    this.credited(Limits.streamWindow - EARLY_BYTES);
    return undefined;
  }
  received(bytes: Uint8Array): void {
    this.#consumed += bytes.length;
    if (this.#consumed >= CREDIT_STEP) {
      this.#network.host.credit(this.#stream, this.#consumed);
      this.#consumed = 0;
    }
    for (const frame of this.#reader.read(bytes) ?? []) {
      if (frame.kind === FrameKind.ANSWER) this.#answer(frame.localPort, frame.bytes);
      else if (frame.kind === FrameKind.DATA) this.#deliver(frame);
      else if (frame.kind === FrameKind.ERROR)
        this.#network.datagramFailed(parseAddress(frame.address), frame.remotePort, frame.localPort, frame.bytes[0] ?? 0);
    }
  }
  #deliver({ address, remotePort, localPort, bytes }: Frame): void {
    const from = parseAddress(address);
    if (this.#network.datagram(from, remotePort, localPort, bytes)) return;
    this.send(null, FrameKind.ERROR, from, remotePort, localPort, REFUSED);
  }
  credited(bytes: number): void {
    this.#credit += bytes;
    if (this.#credit < Limits.streamWindow / 2) return;
    const stalled = [...this.#stalled];
    this.#stalled.clear();
    for (const socket of stalled) socket.resume();
  }
  /** The host keeps it as long as the cVM runs. */
  peerEnded(): void {
    this.peerReset();
  }
  peerReset(): void {
    if (this.#stream === 0) return;
    this.#network.host.close(this.#stream, true);
    this.#network.detach(this.#stream);
    this.#stream = 0;
    this.#credit = 0;
    const stalled = [...this.#stalled];
    this.#stalled.clear();
    for (const number of this.#questions.keys()) this.#answer(number, null);
    for (const socket of stalled) socket.resume();
  }
}

/** ECONNREFUSED: nobody has the port. */
const REFUSED = Uint8Array.of(111);

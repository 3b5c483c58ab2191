import type { Socket } from "node:net";
import type { Stream, StreamEvents } from "@cvm/monitor";
import { Limits } from "@cvm/monitor/abi";

/**
 * Joins a socket of this machine with a stream of a cVM: data, back-pressure, half-close and reset of both sides. The socket is
 * half-open (`allowHalfOpen`).
 * @param open makes the stream, whose events are these; null when the cVM has gone away: the socket is reset
 * @param standing whether the stream is connected when `open` returns; else its event `connected` says so
 */
export function carry(socket: Socket, standing: boolean, open: (events: StreamEvents) => Stream | null): void {
  /** Bytes of the socket that the cVM's window has no room for yet. */
  let waiting: Uint8Array[] = [];
  let socketDone = false;
  /** The socket is closed; what came from it before may still wait. */
  let gone = false;
  let over = false;
  let connected = standing;

  const flush = (): void => {
    if (stream === null) return;
    while (waiting.length > 0 && stream.window > 0) {
      const chunk = waiting[0]!;
      const part = chunk.length <= stream.window ? chunk : chunk.subarray(0, stream.window);
      stream.send(part);
      if (part.length === chunk.length) waiting.shift();
      else waiting[0] = chunk.subarray(part.length);
    }
    if (waiting.length > 0) socket.pause();
    else {
      if (socketDone) stream.shutdown();
      if (gone) stream.close(false);
      else socket.resume();
    }
  };
  const end = (reset: boolean): void => {
    if (over) return;
    over = true;
    waiting = [];
    if (reset) socket.resetAndDestroy();
    else socket.destroy();
  };

  socket.pause();
  const stream = open({
    connected(error) {
      if (error !== 0) return end(true);
      connected = true;
      flush();
      return undefined;
    },
    received(bytes) {
      // Credit goes back when the socket has taken the bytes: a peer that does not read stops the guest, not the host.
      if (over) return;
      if (socket.writableLength < Limits.streamWindow) {
        socket.write(bytes);
        stream?.credit(bytes.length);
      } else socket.write(bytes, () => void (over || stream?.credit(bytes.length)));
    },
    credited: () => flush(),
    ended: () => void socket.end(),
    reset: () => end(true),
  });
  socket.on("error", () => {});
  if (stream === null) return end(true);
  socket.on("data", (chunk: Buffer) => {
    waiting.push(chunk);
    if (connected) flush();
  });
  socket.on("end", () => {
    socketDone = true;
    if (connected && waiting.length === 0) stream.shutdown();
  });
  socket.on("close", (hadError) => {
    if (stream.closed) return end(false);
    if (hadError || !connected) {
      stream.close(true);
      return end(false);
    }
    gone = socketDone = true;
    flush();
    return undefined;
  });
  if (standing) flush();
  return undefined;
}

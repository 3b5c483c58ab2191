import type { Port } from "./port.ts";
import { openPort } from "./port.ts";
import { defineProtocol } from "./protocol.ts";
import type { NoEntries, Protocol, Side } from "./protocol.ts";
import type { Transport } from "./transport.ts";
import type { Validator } from "./validators.ts";
import { bytes, integer, nothing, object, unknown } from "./validators.ts";

interface EchoClient extends Side {
  readonly requests: {
    /** Answers what it gets. */
    readonly echo: { readonly params: Validator<unknown>; readonly result: Validator<unknown> };
    /** Answers after some milliseconds, or when given up. */
    readonly wait: { readonly params: Validator<{ readonly ms: number }>; readonly result: Validator<null> };
    /** Refuses, with the code that it gets. */
    readonly refuse: { readonly params: Validator<unknown>; readonly result: Validator<null> };
  };
  readonly events: { readonly data: Validator<{ readonly bytes: Uint8Array }> };
}
interface EchoServer extends Side {
  readonly requests: NoEntries;
  readonly events: { readonly data: Validator<{ readonly bytes: Uint8Array }> };
}
interface EchoProtocol extends Protocol {
  readonly client: EchoClient;
  readonly server: EchoServer;
}

/** A protocol to try links with: `cvm-net echo` serves it and the compliance suite speaks it. */
export const echoProtocol: EchoProtocol = defineProtocol({
  name: "cvm-echo",
  version: 1,
  client: {
    requests: {
      echo: { params: unknown(), result: unknown() },
      wait: { params: object({ ms: integer(0, 3_600_000) }), result: nothing() },
      refuse: { params: unknown(), result: nothing() },
    },
    events: { data: object({ bytes: bytes() }) },
  },
  server: { requests: {}, events: { data: object({ bytes: bytes() }) } },
});

/** Serves {@link echoProtocol} on a link; events are sent back. */
export function serveEcho(transport: Transport): Port<EchoServer, EchoClient> {
  const port = openPort(transport, echoProtocol, "server", {
    echo: (params) => params,
    wait: ({ ms }, { signal }) =>
      new Promise((resolve) => {
        const timer = setTimeout(() => resolve(null), ms);
        signal.addEventListener("abort", () => {
          clearTimeout(timer);
          resolve(null);
        });
      }),
    refuse: (params) => {
      throw Object.assign(new Error("refused as asked"), typeof params === "string" ? { code: params } : {});
    },
  });
  port.on("data", (data) => void port.emit("data", data));
  return port;
}

import type { Protocol, Validator } from "@cvm/net";
import { requestSchemas } from "./protocol.ts";

/** The host is this program of the same version: its answers and events are taken as they are typed. */
const trusted: Validator<unknown> = { parse: (value: unknown): unknown => value };

/** Requests of the command and events of the host, as a protocol of @cvm/net. */
export const hostProtocol: Protocol = {
  name: "cvm-host",
  version: 1,
  client: {
    requests: Object.fromEntries(Object.entries(requestSchemas).map(([method, params]) => [method, { params, result: trusted }])),
    events: {},
  },
  server: { requests: {}, events: { output: trusted, exit: trusted, report: trusted } },
};

import { expect, test } from "vitest";
import { parseWrk } from "./web.ts";

const REPORT = `Running 10s test @ http://127.0.0.1:17080/1k.html
  1 threads and 16 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     2.62ms    2.88ms  52.27ms   92.18%
    Req/Sec     7.50k     2.70k   10.43k    66.00%
  74704 requests in 10.01s, 89.98MB read
`;

test("wrk's report", () => {
  expect(parseWrk(`${REPORT}Requests/sec:   7464.90\nTransfer/sec:      8.99MB\n`)).toEqual({
    requestsPerSecond: 7464.9,
    requests: 74_704,
    errors: 0,
  });
});

test("errors of sockets and of answers count", () => {
  const errors = "  Socket errors: connect 1, read 2, write 3, timeout 4\n  Non-2xx or 3xx responses: 20\n";
  expect(parseWrk(`${REPORT}${errors}Requests/sec:   7464.90\n`).errors).toBe(30);
});

test("what is no report is an error", () => {
  expect(() => parseWrk("unable to connect to 127.0.0.1:1 Connection refused\n")).toThrow("Connection refused");
});

import { expect, test } from "vitest";
import { parseReply } from "./redis-client.ts";

const REPLIES = Buffer.from("+OK\r\n:42\r\n$5\r\na\r\nbc\r\n$-1\r\n*3\r\n:1\r\n$1\r\nx\r\n*0\r\n-ERR no\r\n*-1\r\n");

test("replies of all kinds, one after the other", () => {
  const replies = [];
  for (let at = 0; at < REPLIES.length;) {
    const [reply, next] = parseReply(REPLIES, at)!;
    replies.push(reply);
    at = next;
  }
  expect(replies).toEqual(["OK", 42, "a\r\nbc", null, [1, "x", []], new Error("ERR no"), null]);
});

test("a cut reply waits for its rest", () => {
  const whole = Buffer.from("*2\r\n$3\r\nabc\r\n:7\r\n");
  for (let length = 0; length < whole.length; length++) expect(parseReply(whole.subarray(0, length)), String(length)).toBeUndefined();
  expect(parseReply(whole)).toEqual([["abc", 7], whole.length]);
});

test("what is no reply is an error", () => {
  expect(() => parseReply(Buffer.from("HTTP/1.1 200\r\n"))).toThrow("not a reply");
});

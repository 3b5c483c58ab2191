/** Which addresses a cVM may reach outside: what is this machine's own, or of its link only, is not among them. */
import { BlockList, isIPv4, isIPv6 } from "node:net";
import { HOST_ADDRESS, sixOf } from "@cvm/monitor";

/** Where an address of the outside leads. `refused`: nowhere, by policy; `nobody`: in the virtual network, but no cVM has it. */
export type Place =
  | { readonly kind: "refused" | "nobody" | "gateway" }
  /** As it is given to the operating system. */
  | { readonly kind: "outside"; readonly address: string; readonly family: 4 | 6 };

/** "This host", loopback, link-local, multicast, reserved, broadcast; servers of clouds that tell a machine's secrets to whoever asks from it. */
const refused = new BlockList();
for (const [net, prefix] of [
  ["0.0.0.0", 8],
  ["127.0.0.0", 8],
  ["169.254.0.0", 16],
  ["224.0.0.0", 4],
  ["240.0.0.0", 4],
  ["100.100.100.200", 32],
  ["168.63.129.16", 32],
  ["192.0.0.192", 32],
] as const)
  refused.addSubnet(net, prefix, "ipv4");
for (const [net, prefix] of [
  ["::", 127],
  ["fe80::", 10],
  ["fec0::", 10],
  ["ff00::", 8],
  ["fd00:ec2::254", 128],
  ["fd20:ce::254", 128],
] as const)
  refused.addSubnet(net, prefix, "ipv6");

/** Addresses of the virtual network. */
const inside = new BlockList();
inside.addSubnet("10.88.0.0", 16, "ipv4");
inside.addSubnet(sixOf("0.0.0.0"), 96, "ipv6");

/** The eight groups of an IPv6 address. */
function groupsOf(address: string): number[] {
  const [host = ""] = new URL(`http://[${address}]/`).hostname.slice(1, -1).split("%");
  const [before = "", after] = host.split("::");
  const parse = (text: string): number[] => (text === "" ? [] : text.split(":").map((group) => Number.parseInt(group, 16)));
  const first = parse(before);
  const last = after === undefined ? [] : parse(after);
  return [...first, ...Array<number>(8 - first.length - last.length).fill(0), ...last];
}
const fourOf = (high: number, low: number): string => `${high >> 8}.${high & 255}.${low >> 8}.${low & 255}`;

/** The IPv4 address that an IPv6 one stands for, on this machine (mapped) or behind a translator (compatible, NAT64, 6to4). */
function fourInside(groups: readonly number[]): { readonly address: string; readonly mapped: boolean } | null {
  const [a = 0, b = 0, c = 0, , , f = 0, g = 0, h = 0] = groups;
  const zeros = groups.slice(0, 5).every((group) => group === 0);
  if (zeros && f === 0xffff) return { address: fourOf(g, h), mapped: true };
  if ((zeros && f === 0) || (a === 0x64 && b === 0xff9b)) return { address: fourOf(g, h), mapped: false };
  return a === 0x2002 ? { address: fourOf(b, c), mapped: false } : null;
}

/** Where an address leads that no cVM has. Anything that is no address is refused. */
export function placeOf(address: string): Place {
  if (isIPv4(address)) {
    if (address === HOST_ADDRESS) return { kind: "gateway" };
    if (inside.check(address, "ipv4")) return { kind: "nobody" };
    return refused.check(address, "ipv4") ? { kind: "refused" } : { kind: "outside", address, family: 4 };
  }
  if (!isIPv6(address) || address.includes("%")) return { kind: "refused" };
  const groups = groupsOf(address);
  const four = fourInside(groups);
  if (four !== null && (refused.check(four.address, "ipv4") || inside.check(four.address, "ipv4"))) return { kind: "refused" };
  if (four?.mapped === true) return placeOf(four.address);
  const plain = groups.map((group) => group.toString(16)).join(":");
  if (plain === sixOf(HOST_ADDRESS)) return { kind: "gateway" };
  if (inside.check(plain, "ipv6")) return { kind: "nobody" };
  return refused.check(plain, "ipv6") ? { kind: "refused" } : { kind: "outside", address: plain, family: 6 };
}

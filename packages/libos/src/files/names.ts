/** Names of the virtual network as /etc/hosts shows them. */
import type { Kernel } from "../kernel/types.ts";

type Name = { readonly name: string; readonly address: string };
const known: WeakMap<Kernel, readonly Name[]> = new WeakMap();

/** Asks the host for the names; a late answer is used from then on. */
export function refreshNames(kernel: Kernel): readonly Name[] {
  const answer = kernel.host.names();
  if ("then" in answer) {
    answer.then(
      (names) => {
        known.set(kernel, names);
      },
      () => {
        // The host is going away; the last answer stays.
      },
    );
  } else known.set(kernel, answer);
  return known.get(kernel) ?? [];
}

/** Text of /etc/hosts. */
export function hostsText(kernel: Kernel): string {
  const { hostname, address, hosts = [], isolated = false } = kernel.options;
  const lines = ["127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback"];
  const names = refreshNames(kernel);
  for (const entry of hosts) lines.push(`${entry.address}\t${entry.name}`);
  if (isolated) return `${[...lines, `127.0.1.1\t${hostname}`].join("\n")}\n`;
  // IPv4 only: with both, programs would begin with IPv6, which fewer servers listen on. The name server knows both.
  const all = names.some((entry) => entry.name === hostname) ? names : [{ name: hostname, address }, ...names];
  for (const entry of all) lines.push(`${entry.address}\t${entry.name}`);
  return `${lines.join("\n")}\n`;
}

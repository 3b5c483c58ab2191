import type { CpAnswer, CpHandle, CpRequest } from "../abi.ts";
import { CP_KINDS, CP_RIGHTS, CpRight, Limits } from "../abi.ts";
import { isBytes, isInteger, isRecord, isString } from "../check.ts";
import type { Compartment } from "../compartment.ts";
import { Errno } from "../errors.ts";
import type { NetworkNode } from "../network.ts";
import type { CpObject, CpObjects } from "./objects.ts";

/** Answers what ONE library OS asks about objects: see {@link CpRequest}. What is not in order is refused, and changes nothing. */
export function createCpRequests(compartment: Compartment, node: NetworkNode, objects: CpObjects): (request: unknown) => CpAnswer {
  const { machine, pages } = compartment.host;
  return (request) => {
    const refused = (): number => {
      compartment.refuse("cp: the request is not in order");
      return -Errno.EINVAL;
    };
    if (!compartment.alive || !isRecord(request)) return refused();
    const opened = (right: number): CpObject | null => {
      const held = compartment.capabilities.opened(request["handle"] as CpHandle);
      return held !== undefined && (held.rights & right) === right ? held.object : null;
    };
    const fits = (object: CpObject, length: number): number =>
      Math.max(0, Math.min(length, object.size - (request["offset"] as number), Limits.transferBytes));
    const { cp } = request as Partial<CpRequest>;
    if ((cp === "read" || cp === "write") && !isInteger(request["offset"], 0)) return refused();
    switch (cp) {
      case "list":
        return objects.list(compartment.name);
      case "open": {
        const { kind, name, rights } = request as { kind?: unknown; name?: unknown; rights?: unknown };
        const known = CP_KINDS.find((each) => each === kind);
        if (known === undefined || !isString(name, Limits.cpName) || !isInteger(rights, 1) || (rights & ~CP_RIGHTS[known]) !== 0)
          return refused();
        return objects.open(compartment, known, name, rights);
      }
      case "close":
        return objects.close(compartment, request["handle"] as CpHandle) ? 0 : -Errno.EBADF;
      case "read": {
        const file = opened(CpRight.Read);
        if (!isInteger(request["length"], 0)) return refused();
        if (file?.region == null) return -Errno.EBADF;
        return machine.lendBytes(file.region.base + Math.min(request["offset"] as number, file.size), fits(file, request["length"]));
      }
      case "write": {
        const file = opened(CpRight.Write);
        if (!isBytes(request["bytes"])) return refused();
        if (file?.region == null) return -Errno.EBADF;
        const length = fits(file, request["bytes"].length);
        if (length === 0 && request["bytes"].length > 0) return -Errno.ENOSPC;
        pages.write(file.region.base + (request["offset"] as number), request["bytes"].subarray(0, length));
        return length;
      }
      case "changes":
        return opened(0)?.changes ?? -Errno.EBADF;
      case "notify": {
        const object = opened(0);
        return object === null ? -Errno.EBADF : objects.notify(object);
      }
      case "listen": {
        const object = opened(CpRight.Listen);
        if (object?.kind !== "stream") return -Errno.EBADF;
        if (object.server?.accepts(object) === true) return -Errno.EADDRINUSE;
        const result = node.listenAt(object, request["stream"], request["backlog"]);
        if (result === 0) object.server = node;
        return result;
      }
      case "connect": {
        const object = opened(CpRight.Connect);
        if (object?.kind !== "stream") return -Errno.EBADF;
        const stream = node.connectTo(object.server ?? node, object, request["stream"], (gone) => object.streams.delete(gone));
        if (stream === null) return -Errno.ENOBUFS;
        object.streams.set(stream, compartment.name);
        return 0;
      }
      default:
        return refused();
    }
  };
}

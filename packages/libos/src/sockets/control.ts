/** Control messages of sendmsg and recvmsg: cmsg(3), unix(7). */
import type { MessageResult } from "@cvm/monitor/abi";
import { retain, release } from "../files/open-file.ts";
import { E } from "../kernel/errno.ts";
import type { CallContext, OpenFile } from "../kernel/types.ts";
import { AF, IP, IPV6, MSG, SCM, SOL } from "./constants.ts";
import type { Ancillary, PeerCredentials, Received, SocketFile } from "./socket.ts";

/** struct cmsghdr: u64 length with the header, level, type. */
const HEADER_BYTES = 16;
/** Most descriptors of one message (SCM_MAX_FD). */
const MOST_RIGHTS = 253;

const align = (bytes: number): number => (bytes + 7) & ~7;

/** Who sends, as Linux puts it on each message. */
export function credentialsOf(context: CallContext): PeerCredentials {
  const { pid, credentials } = context.process;
  return { pid, uid: credentials.euid, gid: credentials.egid };
}

/** Gives back descriptors that nobody will receive. */
export function dropRights(ancillary: Ancillary | null): void {
  if (ancillary !== null) for (const file of ancillary.rights) release(file);
}

/**
 * Reads the control messages of sendmsg; null when there are none. Errors: -EINVAL (malformed, too many descriptors),
 * -EBADF, -EPERM (credentials of somebody else).
 */
export function parseControl(socket: SocketFile, control: Uint8Array, context: CallContext): Ancillary | number | null {
  if (control.length === 0) return null;
  const view = new DataView(control.buffer, control.byteOffset, control.length);
  const rights: OpenFile[] = [];
  let credentials = credentialsOf(context);
  let hops: number | undefined;
  let trafficClass: number | undefined;
  for (let at = 0; at + HEADER_BYTES <= control.length;) {
    const length = view.getUint32(at, true);
    if (view.getUint32(at + 4, true) !== 0 || length < HEADER_BYTES || at + length > control.length) return -E.INVAL;
    if (view.getInt32(at + 8, true) === SOL.SOCKET) {
      const type = view.getInt32(at + 12, true);
      if (type === SCM.RIGHTS) {
        const count = Math.floor((length - HEADER_BYTES) / 4);
        if (rights.length + count > MOST_RIGHTS) return -E.INVAL;
        for (let index = 0; index < count; index++) {
          const file = context.process.fds.get(view.getInt32(at + HEADER_BYTES + index * 4, true));
          if (file === undefined) return -E.BADF;
          rights.push(file);
        }
      } else if (type === SCM.CREDENTIALS) {
        if (length !== HEADER_BYTES + 12) return -E.INVAL;
        const given = { pid: view.getInt32(at + 16, true), uid: view.getInt32(at + 20, true), gid: view.getInt32(at + 24, true) };
        const own = context.process.credentials;
        const allowed =
          own.euid === 0 ||
          (given.pid === context.process.pid &&
            [own.uid, own.euid, own.suid].includes(given.uid) &&
            [own.gid, own.egid, own.sgid].includes(given.gid));
        if (!allowed) return -E.PERM;
        credentials = given;
      } else return -E.INVAL;
    } else if (socket.isInet) {
      const level = view.getInt32(at + 8, true);
      const type = view.getInt32(at + 12, true);
      const isHops = (level === SOL.IPV6 && type === IPV6.HOPLIMIT) || (level === SOL.IP && type === IP.TTL);
      if (isHops || (level === SOL.IPV6 && type === IPV6.TCLASS) || (level === SOL.IP && type === IP.TOS)) {
        const size = length - HEADER_BYTES;
        // IP_TOS may be one byte.
        const value =
          size === 4 ? view.getInt32(at + HEADER_BYTES, true) : size === 1 && type === IP.TOS ? control[at + HEADER_BYTES]! : -2;
        if (value < -1 || value > 255) return -E.INVAL;
        if (value >= 0 && isHops) hops = value;
        else if (value >= 0) trafficClass = value;
      } else if (level !== SOL.IPV6 && level !== SOL.IP) {
        at += align(length);
        continue;
      } else if (!(type === IPV6.PKTINFO && level === SOL.IPV6) && !(type === IP.PKTINFO && level === SOL.IP)) return -E.INVAL;
    }
    at += align(length);
  }
  for (const file of rights) retain(file);
  return { rights, credentials, ...(hops === undefined ? {} : { hops }), ...(trafficClass === undefined ? {} : { trafficClass }) };
}

/**
 * Control messages for recvmsg: installs descriptors in the caller's table. `flags` has MSG_CTRUNC when something did not
 * fit. Gives up the references of `ancillary`.
 */
function formatControl(
  socket: SocketFile,
  { ancillary, control: told = [] }: Received,
  capacity: number,
  flags: number,
  context: CallContext,
): { readonly control: Uint8Array; readonly flags: number } {
  const parts: Uint8Array[] = [];
  let left = capacity;
  let truncated = 0;
  // What does not fit is cut off, within a message too.
  const add = (level: number, type: number, body: Uint8Array): void => {
    const whole = HEADER_BYTES + body.length;
    const length = Math.min(whole, left);
    if (length < whole) truncated = MSG.CTRUNC;
    if (length < HEADER_BYTES) return;
    const bytes = new Uint8Array(Math.min(align(whole), left));
    const view = new DataView(bytes.buffer);
    view.setUint32(0, length, true);
    view.setInt32(8, level, true);
    view.setInt32(12, type, true);
    bytes.set(body.subarray(0, length - HEADER_BYTES), HEADER_BYTES);
    parts.push(bytes);
    left -= bytes.length;
  };
  const words = (...values: number[]): Uint8Array => new Uint8Array(Int32Array.from(values).buffer);
  for (const { level, type, bytes } of told) add(level, type, bytes);
  if (ancillary === null || socket.domain !== AF.UNIX) return { control: Buffer.concat(parts), flags: truncated };
  if (socket.passesCredentials) {
    const { pid, uid, gid } = ancillary.credentials;
    add(SOL.SOCKET, SCM.CREDENTIALS, words(pid, uid, gid));
  }
  if (ancillary.rights.length > 0) {
    const numbers: number[] = [];
    const fit = Math.max(0, Math.floor((left - HEADER_BYTES) / 4));
    for (const file of ancillary.rights.slice(0, fit)) {
      const fd = context.process.fds.add(file, (flags & MSG.CMSG_CLOEXEC) !== 0);
      if (fd < 0) break;
      retain(file);
      numbers.push(fd);
    }
    if (numbers.length < ancillary.rights.length) truncated = MSG.CTRUNC;
    if (numbers.length > 0) add(SOL.SOCKET, SCM.RIGHTS, words(...numbers));
  }
  dropRights(ancillary);
  return { control: parts.length === 1 ? parts[0]! : Buffer.concat(parts), flags: truncated };
}

/** What recvmsg gives back besides the count. */
export function messageResult(
  context: CallContext,
  socket: SocketFile,
  received: Received,
  nameCapacity: number,
  controlCapacity: number,
  flags: number,
): MessageResult {
  const { control, flags: controlFlags } = formatControl(socket, received, controlCapacity, flags, context);
  return {
    name: nameCapacity > 0 && received.name !== null ? received.name : null,
    data: received.bytes,
    control,
    flags: received.flags | controlFlags | (flags & MSG.CMSG_CLOEXEC),
  };
}

import type { Events, Method, Params, Results } from "./protocol.ts";

/** A command's link to the host process. */
export interface HostConnection {
  request<M extends Method>(method: M, params: Params[M]): Promise<Results[M]>;
  on<E extends keyof Events>(event: E, listener: (data: Events[E]) => void): void;
  /** Called once when the host goes away unasked. */
  onClose(listener: (reason: string) => void): void;
  close(): void;
}

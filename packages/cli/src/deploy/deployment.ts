/** A deployment as the rest of the command sees it: checked, complete, without files and variables. */
import type { HealthCheck, NetworkConfig, PublishedPort, RestartPolicy, Volume } from "../host/protocol.ts";
import type { ProjectNetwork } from "./networks.ts";
import type { Place } from "./problems.ts";
import type { Sharing } from "./sharing.ts";

export interface Dependency {
  readonly service: string;
  readonly condition: "service_started" | "service_healthy" | "service_completed_successfully";
  /** Start the dependent again when this one is made anew. */
  readonly restart: boolean;
  /** Without it, a failure of this one is only said. */
  readonly required: boolean;
}

/** A folder that a service mounts. */
export interface Mount extends Volume {
  /** Made when it is missing. */
  readonly make: boolean;
}

export interface Service {
  readonly name: string;
  /** Where it stands; of no meaning for what it does. */
  readonly place: Place;
  readonly image: string;
  /** Instead of the image's; an entry point drops the image's command too. */
  readonly command: readonly string[] | undefined;
  readonly entrypoint: readonly string[] | undefined;
  /** `NAME=value`, after the image's. */
  readonly env: readonly string[];
  readonly cwd: string | undefined;
  readonly user: string | undefined;
  readonly hostname: string | undefined;
  /** Name of its one cVM, when that is not made of project, service and number. */
  readonly cvmName: string | undefined;
  readonly ports: readonly PublishedPort[];
  readonly volumes: readonly Mount[];
  readonly network: NetworkConfig;
  readonly dependsOn: readonly Dependency[];
  readonly health: HealthCheck | undefined;
  readonly restart: RestartPolicy | undefined;
  readonly replicas: number;
  readonly memoryBytes: number;
  /** 0: no limit. */
  readonly cpus: number;
  readonly stopSignal: number | undefined;
  readonly stopSeconds: number | undefined;
  /** As if an init stood above its first program. */
  readonly init: boolean;
  readonly tty: boolean;
  readonly stdin: boolean;
  /** Whether `cvm up` shows its output. */
  readonly attach: boolean;
  readonly labels: Readonly<Record<string, string>>;
  readonly profiles: readonly string[];
}

/** A named volume of a project. */
export interface NamedVolume {
  readonly key: string;
  /** Name of its folder below CVM_HOME/volumes. */
  readonly name: string;
  readonly external: boolean;
}

export interface Deployment {
  readonly name: string;
  readonly files: readonly string[];
  readonly services: ReadonlyMap<string, Service>;
  /** Services that no active profile has. */
  readonly inactive: ReadonlyMap<string, Service>;
  /** By the keys that the file has for them. */
  readonly networks: ReadonlyMap<string, ProjectNetwork>;
  readonly volumes: readonly NamedVolume[];
  readonly sharing: Sharing;
  /** What its author should know: said when it is started. */
  readonly notes: readonly string[];
}

/** What Compose files may hold and cVM cannot do, or does in another way: each with what to say. */

const NO_BUILD = "images are not built here: make one with cvm image debian and name it under image";
const NO_FRAMES = "the network of cVMs is one of sockets, without interfaces of its own";
const ADDRESSES = "addresses are chosen by the monitor";
const NO_CONFIGS = "configs and secrets are not supported: put the files into a folder and mount it with volumes";
const NO_KERNEL = "a cVM has a library OS of its own and no Linux kernel whose limits and namespaces could be set";
const NO_DEVICES = "a cVM has no devices of this machine";
const NO_BLKIO = "disk traffic is not limited";
const NO_RESERVATION = "processor and memory are limited, not reserved: use limits";
const NO_SWAP = "there is no swap";
const NO_WEIGHTS = "use cpus for a limit of processor time";
const NO_PRIVILEGES = "root of a cVM has no rights on the host that could be given or taken: leave it out";
const NO_LOGGING = "all output goes to the log that cvm logs shows";
const NO_MODELS = "this is no service that cVMs could run";
const NO_VOLUME_OPTIONS = "a volume is a folder: bind options are not supported";

const SERVICE: Readonly<Record<string, string>> = {
  build: NO_BUILD,
  develop: "files are not watched",
  configs: NO_CONFIGS,
  secrets: NO_CONFIGS,
  credential_spec: NO_PRIVILEGES,
  provider: NO_MODELS,
  models: NO_MODELS,
  gpus: NO_DEVICES,
  devices: NO_DEVICES,
  device_cgroup_rules: NO_DEVICES,
  blkio_config: NO_BLKIO,
  cap_add: NO_PRIVILEGES,
  cap_drop: NO_PRIVILEGES,
  privileged: NO_PRIVILEGES,
  security_opt: NO_PRIVILEGES,
  group_add: "give the group with user: USER:GROUP",
  cgroup: NO_KERNEL,
  cgroup_parent: NO_KERNEL,
  ipc: "System V objects are a cVM's own",
  pid: "processes of a cVM are its own",
  uts: NO_KERNEL,
  userns_mode: NO_KERNEL,
  isolation: "every cVM is isolated by capabilities",
  runtime: "there is one runtime",
  sysctls: NO_KERNEL,
  ulimits: NO_KERNEL,
  storage_opt: "the disk of a cVM has no limit",
  pids_limit: "processes are limited by memory only",
  oom_kill_disable: "a cVM that needs more memory than its limit loses its largest process",
  oom_score_adj: NO_KERNEL,
  mem_reservation: NO_RESERVATION,
  mem_swappiness: NO_SWAP,
  memswap_limit: NO_SWAP,
  shm_size: "/dev/shm is limited by the memory of the cVM",
  cpu_count: NO_WEIGHTS,
  cpu_percent: NO_WEIGHTS,
  cpu_shares: NO_WEIGHTS,
  cpu_period: NO_WEIGHTS,
  cpu_quota: NO_WEIGHTS,
  cpu_rt_period: NO_WEIGHTS,
  cpu_rt_runtime: NO_WEIGHTS,
  cpuset: "a host has one processor",
  dns_opt: "use dns",
  dns_search: "names of services and full names are resolved, without a search list",
  domainname: "give the full name as hostname",
  links: "services of one network reach each other by name: use networks, and depends_on for the order",
  external_links: "use networks with external: true",
  mac_address: NO_FRAMES,
  logging: NO_LOGGING,
  log_driver: NO_LOGGING,
  log_opt: NO_LOGGING,
  annotations: "use labels",
  label_file: "use labels",
  read_only: "a cVM's own files can always be written; they are gone when it is made anew",
  tmpfs: "files outside of volumes last as long as the cVM: nothing has to be mounted for them",
  volumes_from: "mount the same named volume in both services",
  volume_driver: "volumes are folders of this machine",
  post_start: "hooks are not run",
  pre_stop: "hooks are not run",
  use_api_socket: "a cVM cannot start others by the host's socket",
  // Words of the CAP-VMs prototype.
  disk: "the files of a cVM come from image",
  args: "use command",
  wait: "use depends_on with a condition",
};

const DEPLOY: Readonly<Record<string, string>> = {
  endpoint_mode: "the name of a service has the addresses of all its replicas",
  update_config: "changed cVMs are stopped and made anew, all of them",
  rollback_config: "changed cVMs are stopped and made anew, all of them",
};

/** Reasons by path; `*` is any key or index. */
const TABLE: readonly (readonly [path: string, reasons: Readonly<Record<string, string>>])[] = [
  [
    "",
    {
      configs: NO_CONFIGS,
      secrets: NO_CONFIGS,
      models: NO_MODELS,
      include: "use several -f, or extends with a file",
      capfiles: "use files under x-cvm",
      cVMs: "use services",
    },
  ],
  ["services.*", SERVICE],
  ["services.*.deploy", DEPLOY],
  ["services.*.deploy.resources", { reservations: NO_RESERVATION }],
  ["services.*.deploy.resources.limits", { pids: SERVICE["pids_limit"]!, devices: NO_DEVICES }],
  [
    "services.*.deploy.restart_policy",
    { delay: "the delay grows from 0.1 s to a minute by itself", window: "what ran for 10 s counts as up" },
  ],
  [
    "services.*.networks.*",
    {
      ipv4_address: ADDRESSES,
      ipv6_address: ADDRESSES,
      link_local_ips: ADDRESSES,
      mac_address: NO_FRAMES,
      driver_opts: NO_FRAMES,
      gw_priority: NO_FRAMES,
      interface_name: NO_FRAMES,
      priority: NO_FRAMES,
    },
  ],
  [
    "services.*.volumes.*",
    {
      consistency: NO_VOLUME_OPTIONS,
      tmpfs: SERVICE["tmpfs"]!,
      image: "an image cannot be mounted",
      cluster: "volumes are folders of this machine",
    },
  ],
  ["services.*.volumes.*.bind", { propagation: NO_VOLUME_OPTIONS, selinux: NO_VOLUME_OPTIONS, recursive: NO_VOLUME_OPTIONS }],
  ["services.*.volumes.*.volume", { subpath: "a volume is mounted whole", labels: "give labels to the volume itself" }],
  [
    "networks.*",
    { driver_opts: NO_FRAMES, ipam: ADDRESSES, enable_ipv4: ADDRESSES, enable_ipv6: "every cVM has an address of both kinds" },
  ],
  ["volumes.*", { driver_opts: "a named volume is a folder in CVM_HOME/volumes: mount another folder by its path" }],
  [
    "services.*.x-cvm",
    {
      base: ADDRESSES,
      begin: ADDRESSES,
      end: ADDRESSES,
      isolation: ADDRESSES,
      size: "use deploy.resources.limits.memory",
      callback_in: "say inside: on the inner service",
      libvirt: "use spawn",
      capfiles: "use files",
      wait: "use depends_on with a condition",
    },
  ],
  ["x-cvm", { capfiles: "use files", services: "say it under x-cvm of each service" }],
];

function matches(pattern: string, path: readonly PropertyKey[]): boolean {
  const steps = pattern === "" ? [] : pattern.split(".");
  return steps.length === path.length && steps.every((step, index) => step === "*" || step === String(path[index]));
}

/** Why a key is refused that Compose, or the prototype, knows; undefined when nobody knows it. */
export function whyRefused(path: readonly PropertyKey[], key: string): string | undefined {
  for (const [pattern, reasons] of TABLE) if (matches(pattern, path) && Object.hasOwn(reasons, key)) return reasons[key];
  return undefined;
}

/** What is run unless modules are named. */

/** Of CPython's regression tests: those that ask most of an operating system. */
export const PYTHON_MODULES: readonly string[] = [
  "test_json",
  "test_hashlib",
  "test_threading",
  "test_subprocess",
  "test_os",
  "test_posix",
  "test_signal",
  "test_select",
  "test_epoll",
  "test_poll",
  "test_selectors",
  "test_socket",
  "test_mmap",
  "test_fcntl",
  "test_time",
  "test_sqlite3",
  "test_zlib",
  "test_pty",
  "test_resource",
  "test_tempfile",
  "test_shutil",
  "test_math",
  "test_float",
  "test_fork1",
  "test_queue",
  "test_ssl",
  "test_httpservers",
  "test_io",
  "test_fileio",
  "test_posixpath",
  "test_asyncio.test_events",
  "test_asyncio.test_subprocess",
  "test_concurrent_futures",
  "test_multiprocessing_fork",
];

/** Short ones that still reach processes, signals, files, terminals and events. */
export const PYTHON_SMALL: readonly string[] = ["test_epoll", "test_fileio", "test_pty", "test_select"];

export const REDIS_SMALL: readonly string[] = ["unit/keyspace", "unit/pubsub", "unit/type/incr"];

/** Programs whose output or service is compared with what this machine's own do. */
export const PROGRAMS = ["pipelines", "speedtest1", "esbuild", "node", "nginx"] as const;
export type ProgramName = (typeof PROGRAMS)[number];

/** Those without a long build; tests of their own run esbuild and node. */
export const PROGRAMS_SMALL: readonly ProgramName[] = ["pipelines", "nginx"];

/** Kills of the host, unless said otherwise. */
export const KILLS = 150;
export const KILLS_SMALL = 4;

/** Test cases that fail, with the cause: docs/compatibility.md says more. They do not count for the exit status. */
export const KNOWN: Readonly<Record<string, string>> = {
  "test.test_mmap.LargeMmapTests.test_around_2GB": "a file of 2 GiB does not fit into the cVM's memory",
  "test.test_mmap.LargeMmapTests.test_around_4GB": "a file of 4 GiB does not fit into an address space of 4 GiB",
};

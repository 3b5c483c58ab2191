import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { whyRefused } from "./refused.ts";
import type { JsonSchema } from "./schema.ts";
import { jsonSchema } from "./schema.ts";

const FILE = join(import.meta.dirname, "../../../../docs/deployment.schema.json");

/** Follows properties by their names; `*` is any. */
function at(path: string): JsonSchema {
  let schema = jsonSchema();
  const first = (one: JsonSchema): JsonSchema => {
    const choices = one["anyOf"] as JsonSchema[] | undefined;
    return choices === undefined ? one : first(choices.find((choice) => "properties" in first(choice)) ?? choices[0]!);
  };
  for (const step of path === "" ? [] : path.split(".")) {
    const from = first(schema);
    schema = (step === "*" ? from["additionalProperties"] : (from["properties"] as JsonSchema)[step]) as JsonSchema;
  }
  return first(schema);
}

test("the file for editors is what cvm config --schema prints", () => {
  expect(readFileSync(FILE, "utf8"), "write it anew: bin/cvm config --schema -o docs/deployment.schema.json").toBe(
    `${JSON.stringify(jsonSchema(), null, 2)}\n`,
  );
});

describe("keys", () => {
  test.each(["", "services.*", "services.*.deploy", "services.*.healthcheck", "networks.*", "volumes.*"])(
    "of %j are closed, but for those that begin with x-",
    (path) => {
      const schema = at(path);
      expect(schema["additionalProperties"]).toBe(false);
      expect(Object.keys(schema["patternProperties"] as JsonSchema)).toEqual(["^x-(?!cvm$)"]);
    },
  );

  test.each(["x-cvm", "services.*.x-cvm", "x-cvm.files.*", "services.*.x-cvm.grants"])("of %j are closed altogether", (path) => {
    const schema = at(path);
    expect(schema["additionalProperties"]).toBe(false);
    expect(schema).not.toHaveProperty("patternProperties");
  });

  test("of services are each supported or refused with a reason, as far as the Compose Specification knows them", () => {
    const compose =
      "annotations attach build blkio_config cap_add cap_drop cgroup cgroup_parent command configs container_name cpu_count cpu_percent cpu_period cpu_quota cpu_rt_period cpu_rt_runtime cpu_shares cpus cpuset credential_spec depends_on deploy develop device_cgroup_rules devices dns dns_opt dns_search domainname entrypoint env_file environment expose extends external_links extra_hosts gpus group_add healthcheck hostname image init ipc isolation label_file labels links logging mac_address mem_limit mem_reservation mem_swappiness memswap_limit models network_mode networks oom_kill_disable oom_score_adj pid pids_limit platform ports post_start pre_stop privileged profiles provider pull_policy read_only restart runtime scale secrets security_opt shm_size stdin_open stop_grace_period stop_signal storage_opt sysctls tmpfs tty ulimits use_api_socket user userns_mode uts volumes volumes_from working_dir";
    const known = Object.keys(at("services.*")["properties"] as JsonSchema);
    for (const key of compose.split(" ")) {
      const reason = whyRefused(["services", "a"], key);
      expect(known.includes(key) !== (reason !== undefined), key).toBe(true);
    }
  });
});

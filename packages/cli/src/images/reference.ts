import { CliError } from "../errors.ts";

/** Longest name of an image, as registries have it. */
const MAX_NAME = 255;
const NAME = /^[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*$/u;
const TAG = /^\w[\w.-]{0,127}$/u;

/**
 * Splits `name[:tag]`; the tag is `latest` unless given. Grammar: OCI distribution specification, "Pulling manifests".
 * @throws CliError `invalid` naming the part that is wrong.
 */
export function parseReference(reference: string): { readonly name: string; readonly tag: string } {
  const colon = reference.lastIndexOf(":");
  const hasTag = colon > reference.lastIndexOf("/");
  const name = hasTag ? reference.slice(0, colon) : reference;
  const tag = hasTag ? reference.slice(colon + 1) : "latest";
  if (name.length > MAX_NAME || !NAME.test(name)) {
    throw new CliError("invalid", `image name "${name}" is not valid: use lower-case letters, digits, and single . _ - / between them`);
  }
  if (!TAG.test(tag))
    throw new CliError("invalid", `tag "${tag}" of image "${name}" is not valid: use letters, digits, _ . -, at most 128`);
  return { name, tag };
}

/** The form in which a reference is stored and printed. */
export function formatReference(reference: string): string {
  const { name, tag } = parseReference(reference);
  return `${name}:${tag}`;
}

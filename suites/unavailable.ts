/** Something that a suite needs cannot be had here: a tool, a package, a mirror. */
export class UnavailableError extends Error {}

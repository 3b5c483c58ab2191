/** The `cvm` command as a library: images and the command line itself. */
export { main } from "./main.ts";
export { CliError, exitCodeOf } from "./errors.ts";
export type { CliCode } from "./errors.ts";
export { makeDebianImage } from "./images/debian.ts";
export type { DebianOptions } from "./images/debian.ts";
export { makeScratchImage } from "./images/scratch.ts";
export type { ScratchFile } from "./images/scratch.ts";
export { findImage, listImages, removeImage, requireImage } from "./images/store.ts";
export type { Descriptor, Image, ImageConfig, Manifest } from "./images/store.ts";
export { unpackImage } from "./images/layer.ts";

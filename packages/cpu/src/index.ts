export * as capability from "./capability/index.ts";

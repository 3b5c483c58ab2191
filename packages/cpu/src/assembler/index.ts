export { Assembler, type AssemblerOptions, type EmitOperands, type Label, type Target } from "./assembler.ts";
export { disassemble, disassembleBytes, type Line } from "./disassembler.ts";
export { AssemblerError, type AssemblerErrorCode } from "./error.ts";
export { capNames, floatNames, intNames, registerNumber, scrName, type RegisterFile } from "./registers.ts";
export { assembleInto, assembleText } from "./text.ts";

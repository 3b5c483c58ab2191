/** Opcode bytes of WebAssembly instructions without immediates, by text name (WebAssembly core specification, section 5.4). */
const LIST: readonly (readonly [first: number, names: string])[] = [
  [0x45, "i32.eqz i32.eq i32.ne i32.lt_s i32.lt_u i32.gt_s i32.gt_u i32.le_s i32.le_u i32.ge_s i32.ge_u"],
  [0x50, "i64.eqz i64.eq i64.ne i64.lt_s i64.lt_u i64.gt_s i64.gt_u i64.le_s i64.le_u i64.ge_s i64.ge_u"],
  [0x5b, "f32.eq f32.ne f32.lt f32.gt f32.le f32.ge f64.eq f64.ne f64.lt f64.gt f64.le f64.ge"],
  [
    0x67,
    "i32.clz i32.ctz i32.popcnt i32.add i32.sub i32.mul i32.div_s i32.div_u i32.rem_s i32.rem_u i32.and i32.or i32.xor i32.shl i32.shr_s i32.shr_u i32.rotl i32.rotr",
  ],
  [
    0x79,
    "i64.clz i64.ctz i64.popcnt i64.add i64.sub i64.mul i64.div_s i64.div_u i64.rem_s i64.rem_u i64.and i64.or i64.xor i64.shl i64.shr_s i64.shr_u i64.rotl i64.rotr",
  ],
  [0x8b, "f32.abs f32.neg f32.ceil f32.floor f32.trunc f32.nearest f32.sqrt f32.add f32.sub f32.mul f32.div f32.min f32.max f32.copysign"],
  [0x99, "f64.abs f64.neg f64.ceil f64.floor f64.trunc f64.nearest f64.sqrt f64.add f64.sub f64.mul f64.div f64.min f64.max f64.copysign"],
  [0xa7, "i32.wrap_i64"],
  [0xac, "i64.extend_i32_s i64.extend_i32_u"],
  [0xb2, "f32.convert_i32_s f32.convert_i32_u f32.convert_i64_s f32.convert_i64_u f32.demote_f64"],
  [0xb7, "f64.convert_i32_s f64.convert_i32_u f64.convert_i64_s f64.convert_i64_u f64.promote_f32"],
  [0xbc, "i32.reinterpret_f32 i64.reinterpret_f64 f32.reinterpret_i32 f64.reinterpret_i64"],
  [0xc0, "i32.extend8_s i32.extend16_s i64.extend8_s i64.extend16_s i64.extend32_s"],
];
/** Instructions behind the prefix 0xfc. */
const PREFIXED =
  "i32.trunc_sat_f32_s i32.trunc_sat_f32_u i32.trunc_sat_f64_s i32.trunc_sat_f64_u i64.trunc_sat_f32_s i64.trunc_sat_f32_u i64.trunc_sat_f64_s i64.trunc_sat_f64_u";

/** The bytes of each operator. */
export const OPERATORS: ReadonlyMap<string, readonly number[]> = new Map<string, readonly number[]>([
  ...LIST.flatMap(([first, names]) => names.split(" ").map((name, index): [string, number[]] => [name, [first + index]])),
  ...PREFIXED.split(" ").map((name, index): [string, number[]] => [name, [0xfc, index]]),
]);

/** Loads and stores: opcode and the alignment hint (log2 of the size). */
export const MEMORY_OPERATORS: ReadonlyMap<string, readonly [opcode: number, align: number]> = new Map<string, readonly [number, number]>([
  ["i32.load", [0x28, 2]],
  ["i64.load", [0x29, 3]],
  ["f32.load", [0x2a, 2]],
  ["f64.load", [0x2b, 3]],
  ["i32.load8_s", [0x2c, 0]],
  ["i32.load8_u", [0x2d, 0]],
  ["i32.load16_s", [0x2e, 1]],
  ["i32.load16_u", [0x2f, 1]],
  ["i64.load8_s", [0x30, 0]],
  ["i64.load8_u", [0x31, 0]],
  ["i64.load16_s", [0x32, 1]],
  ["i64.load16_u", [0x33, 1]],
  ["i64.load32_s", [0x34, 2]],
  ["i64.load32_u", [0x35, 2]],
  ["i32.store", [0x36, 2]],
  ["i64.store", [0x37, 3]],
  ["f32.store", [0x38, 2]],
  ["f64.store", [0x39, 3]],
  ["i32.store8", [0x3a, 0]],
  ["i32.store16", [0x3b, 1]],
  ["i64.store8", [0x3c, 0]],
  ["i64.store16", [0x3d, 1]],
  ["i64.store32", [0x3e, 2]],
]);

/** Generated from vdso.s by scripts/vdso.ts. */

/** Where the code stands in the object. */
export const TEXT_OFFSET = 1024;
/** Instructions. */
export const CODE: readonly number[] = [
  0x01053293, 0x04028863, 0xfffff317, 0xbf830313, 0x00351293, 0x00530333, 0x00033303, 0x02030c63, 0xc01022f3, 0x06400393, 0x027282b3,
  0x006282b3, 0x3b9ad3b7, 0xa003839b, 0x0272d333, 0x02730e33, 0x41c282b3, 0x0065b023, 0x0055b423, 0x00000513, 0x00008067, 0x07100893,
  0x00000073, 0x00008067, 0x04050463, 0xfffff317, 0xb9c30313, 0x00033303, 0x04030663, 0xc01022f3, 0x06400393, 0x027282b3, 0x006282b3,
  0x3b9ad3b7, 0xa003839b, 0x0272d333, 0x02730e33, 0x41c282b3, 0x3e800393, 0x0272d2b3, 0x00653023, 0x00553423, 0x00058663, 0x0005a023,
  0x0005a223, 0x00000513, 0x00008067, 0x0a900893, 0x00000073, 0x00008067, 0x01053293, 0x04028463, 0xfffff317, 0xb3030313, 0x00351293,
  0x00530333, 0x00033303, 0x02030863, 0x00100393, 0xffb50293, 0x0022b293, 0x00028663, 0x003d13b7, 0x9003839b, 0x00058663, 0x0005b023,
  0x0075b423, 0x00000513, 0x00008067, 0x07200893, 0x00000073, 0x00008067, 0x00050463, 0x00052023, 0x00058463, 0x0005a023, 0x00000513,
  0x00008067, 0xffe67293, 0x00029863, 0x0000100f, 0x00000513, 0x00008067, 0x10300893, 0x00000073, 0x00008067, 0x08b00893, 0x00000073,
];
/** Offsets in the object, and lengths in bytes. */
export const SYMBOLS: readonly { readonly name: string; readonly offset: number; readonly bytes: number }[] = [
  { name: "__vdso_clock_gettime", offset: 1024, bytes: 96 },
  { name: "__vdso_gettimeofday", offset: 1120, bytes: 104 },
  { name: "__vdso_clock_getres", offset: 1224, bytes: 88 },
  { name: "__vdso_getcpu", offset: 1312, bytes: 24 },
  { name: "__vdso_flush_icache", offset: 1336, bytes: 32 },
  { name: "__vdso_rt_sigreturn", offset: 1368, bytes: 8 },
];

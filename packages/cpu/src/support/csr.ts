/** WebAssembly forms of `csrRead` and `csrWrite` for what programs use often: the time and the floating-point status. */
import { TICKS_PER_MS } from "../abi.ts";
import type { Value } from "../wasm/function.ts";
import type { FastForm, Form } from "./form.ts";

const FFLAGS = 0x001;
const FRM = 0x002;
const FCSR = 0x003;
const TIME = 0xc01;

/** The value of `time` from the host's milliseconds. */
function time(f: Form): void {
  f.code.call(f.helpers.now);
  f.code.f64(TICKS_PER_MS);
  f.code.op("f64.mul");
  f.code.op("i64.trunc_sat_f64_u");
  f.code.return();
}

const csrRead: FastForm = {
  unprivileged: true,
  emit: (f) => {
    const [, csr, writes] = f.params;
    f.if(csr!.eq(TIME).and(writes!.eqz()), () => time(f));
    f.if(csr!.eq(FFLAGS), () => f.return(f.state("fflags").extend()));
    f.if(csr!.eq(FRM), () => f.return(f.state("frm").extend()));
    f.if(csr!.eq(FCSR), () => f.return(f.state("frm").shl(5).or(f.state("fflags")).extend()));
    f.slow();
  },
};

const csrWrite: FastForm = {
  unprivileged: true,
  emit: (f) => {
    const [, csr, value] = f.params as [Value, Value, Value];
    const flags = (): void => f.setState("fflags", value.and(31).wrap());
    const rounding = (shift: number): void => f.setState("frm", value.shr(shift).and(7).wrap());
    f.if(csr.eq(FFLAGS), () => {
      flags();
      f.return();
    });
    f.if(csr.eq(FRM), () => {
      rounding(0);
      f.return();
    });
    f.if(csr.eq(FCSR), () => {
      flags();
      rounding(5);
      f.return();
    });
    f.slow();
  },
};

export const csrForms: Readonly<Record<string, FastForm>> = { csrRead, csrWrite };

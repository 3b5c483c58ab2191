/** The frequent part of finding the records of an address: see `enter` of {@link RunImports}. */
import { PAGE_SIZE } from "../abi.ts";
import { ACTIVE_HART, Block, KEY_FIRST_SHIFT, KEY_MODE_SHIFT, PAGE_OTHERS, RECORD_BYTES } from "../machine/layout.ts";
import { Form, type Helpers } from "./form.ts";

/**
 * enter(target): looks for a block of the page that was made for PCC's mode and the parcels that it covers; `slow` makes one, and finds
 * exceptions. Where PCC covers a whole page in integer mode the interpreter has looked already.
 */
export function enter(helpers: Helpers, slow: number): Form {
  const f = new Form(["i64"], helpers, slow, ACTIVE_HART);
  const target = f.params[0]!;
  f.block((missing) => {
    const codeKey = f.let(f.state("codeKey"));
    f.leave(missing, codeKey.eqz());
    const { pcc } = f;
    const base = f.let(f.base(pcc));
    const top = f.let(f.top(pcc));
    f.leave(missing, target.lt(base).or(target.ge(f.machine("memoryBytes"))));
    // Below the end of memory sums have no carry.
    const large = f.let(f.topHi(pcc));
    f.leave(missing, target.add(2).gt(top).and(large.eqz()));
    const start = f.let(target.and(-PAGE_SIZE));
    const block = f.let(f.load32(start.shr(10).wrap(), PAGE_OTHERS));
    f.leave(missing, block.eqz());
    const first = base.gt(start).select(base.sub(start), 0).wrap().shr(1);
    const reach = f.let(top.sub(start));
    const end = large
      .or(reach.gt(PAGE_SIZE + 2))
      .select(f.i64(PAGE_SIZE + 2), reach)
      .wrap()
      .shr(1);
    const key = f.let(codeKey.shl(KEY_MODE_SHIFT).or(first.shl(KEY_FIRST_SHIFT)).or(end));
    f.loop((again) => {
      f.if(f.load32(block, Block.key).eq(key), () => {
        f.setState("recordBase", block);
        f.setState("pagePc", start.sub(f.state("pcBase")));
        const parcel = target
          .wrap()
          .and(PAGE_SIZE - 1)
          .shr(1);
        f.return(block.add(parcel.mul(RECORD_BYTES)));
      });
      f.set(block, f.load32(block, Block.next));
      f.leave(again, block);
    });
  });
  f.slow();
  return f;
}
